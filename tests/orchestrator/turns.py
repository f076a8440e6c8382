"""Turns of a conversation as a runner writes them, without an agent."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any  # columns of several types

from pydantic_ai import RunUsage
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from sqlalchemy import Connection, Executable, Table, func, insert, select, update

from orchestrator.events import (
    AgentMessage,
    RunEnded,
    ToolCalled,
    ToolReturned,
    Usage,
)
from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import RUN, SESSION
from orchestrator.store.writer import Transaction


def draft(prompt: str, session_id: str | None = None, **changes: str) -> RunDraft:
    columns: dict[str, Any] = {
        "agent": "guide",
        "spec_sha256": "0" * 64,
        "model": "m",
        "root": "/r",
    }
    columns |= changes
    return RunDraft(session_id=session_id, prompt=prompt, inputs={}, **columns)


async def begin(
    store: Store, prompt: str = "hello", session_id: str | None = None, **changes: str
) -> ClaimedRun:
    return await store.claim(draft(prompt, session_id, **changes))


async def begun_by_the_dead(url: str) -> ClaimedRun:
    """Begin a run of which, as far as anybody can tell, the process has died."""
    async with open_store(url) as store:
        run = await begin(store)
        lapsed = (
            update(RUN)
            .where(RUN.c.pk == run.pk)
            .values(lease_until=datetime(2000, 1, 1, tzinfo=UTC))
        )
        await store._write(lambda tx: tx.connection.execute(lapsed))
    return run


async def turn(
    store: Store,
    prompt: str = "hello",
    answer: str = "hi",
    session_id: str | None = None,
    **changes: str,
) -> str:
    """Put a turn on record, a prompt and its answer; return the session's id."""
    run = await begin(store, prompt, session_id, **changes)
    await finish(store, run, prompt, answer)
    return run.session_id


async def finish(store: Store, run: ClaimedRun, prompt: str, answer: str) -> None:
    messages: Sequence[ModelMessage] = (
        ModelRequest(parts=[UserPromptPart(prompt)], instructions="Be brief."),
        ModelResponse(parts=[TextPart(answer)], model_name="m"),
    )
    ended = RunEnded(status=RunStatus.SUCCEEDED, output=answer, usage=Usage(requests=1))
    added = Additions(messages=messages, events=[AgentMessage(content=answer)])
    await store.end(run, ended, added, session_usage=RunUsage(requests=1))


async def turn_with_calls(
    store: Store, results: Sequence[str], session_id: str | None = None, **changes: str
) -> str:
    """Put a turn on record in which a tool is called for each result, one after the other.

    Its messages are a prompt, then a response with a call and a request with its result for each
    result, then an answer.
    """
    run = await begin(store, "look", session_id, **changes)
    request = ModelRequest(parts=[UserPromptPart("look")], instructions="Be brief.")
    for number, content in enumerate(results):
        call = ToolCallPart("grep", {"pattern": content[:3]}, f"c{number}")
        part = ToolReturnPart("grep", content, call.tool_call_id)
        called = ToolCalled(call_id=part.tool_call_id, tool="grep", arguments=call.args_as_dict())
        returned = ToolReturned(
            call_id=part.tool_call_id, tool="grep", outcome="success", content=content
        )
        response = ModelResponse(parts=[call], model_name="m")
        await store.record(run, Additions(messages=[request, response], events=[called]))
        await store.record(run, Additions(events=[returned], results=[part]))
        request = ModelRequest(parts=[part], instructions="Be brief.")
    answer = ModelResponse(parts=[TextPart("done")], model_name="m")
    ended = RunEnded(status=RunStatus.SUCCEEDED, output="done", usage=Usage(requests=2))
    added = Additions(messages=[request, answer], events=[AgentMessage(content="done")])
    await store.end(run, ended, added, session_usage=None)
    return run.session_id


async def forked(store: Store, session_id: str, *, at: int) -> str:
    """Fork a session after a message, as the tables have it; return the fork's id."""
    fork_id = new_id()

    def fork(tx: Transaction) -> None:
        origin = tx.connection.execute(select(SESSION).where(SESSION.c.id == session_id)).one()
        row = dict(origin._mapping) | {
            "id": fork_id,
            "external_id": None,
            "origin_pk": origin.pk,
            "origin_seq": at,
            "last_message_seq": at,
            "last_event_seq": 0,
        }
        del row["pk"]
        tx.connection.execute(insert(SESSION).values(row))

    await store._write(fork)
    return fork_id


async def by_hand(store: Store, statement: Executable) -> None:
    """Change the record as no part of the program does."""
    await store._write(lambda tx: tx.connection.execute(statement))


async def count(store: Store, table: Table) -> int:
    def read(db: Connection) -> int:
        return db.execute(select(func.count()).select_from(table)).scalar_one()

    return await store.sessions._access.read(read)
