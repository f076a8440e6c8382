"""Runs with many tool calls: what the record takes on disk, beside whole messages as JSON."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path

from pydantic_ai import RunUsage
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from benchmarks.stores.ours import MODEL, draft
from orchestrator.events import AgentMessage, Event, RunEnded, ToolCalled, ToolReturned, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.facts import shown
from orchestrator.store.store import Store, open_store

REQUESTS = 21
INSTRUCTIONS_BYTES = 8 * 1024
RESULT_BYTES = range(1024, 3 * 1024, 1024 * 2 // (REQUESTS - 1))
"""2 KB on average; of one size alone, either none or all of them would fit SQLite's pages."""
PROMPT, ANSWER = "Where are prices rounded?", "Once, at the end, in the till."

_INSTRUCTIONS = ("Read before you judge, and cite each line that you rely on. " * 200)[
    :INSTRUCTIONS_BYTES
]


async def measured(place: Path, count: int) -> float:
    """Return the bytes of the record of such runs, to those of their messages stored whole.

    Each run is in a session of its own. Of few, a part is tables and indexes that are empty.
    """
    file, runs = place / f"heavy-{count}.db", []
    async with open_store(f"sqlite+aiosqlite:///{file}") as store:
        for _ in range(count):
            run = await store.claim(draft(PROMPT, None))
            messages = list(_messages(run.id, run.session_id))
            await _write(store, run, messages)
            read = await store.sessions.messages(run.session_id)
            assert read == messages, "the record gives back what it was given"
            runs.append(messages)
    return _size(file) / _floor(place / f"floor-{count}.db", list(chain(*runs)))


def _messages(run_id: str, session_id: str) -> Iterator[ModelMessage]:
    """Yield what a run says: a question, call and result in turn, and an answer."""
    parts: list[UserPromptPart | ToolReturnPart] = [UserPromptPart(PROMPT)]
    for number in range(REQUESTS):
        yield ModelRequest(
            parts=parts, instructions=_INSTRUCTIONS, run_id=run_id, conversation_id=session_id
        )
        call = ToolCallPart("read_file", {"path": f"src/part_{number}.py"}, f"call-{number}")
        last = number == REQUESTS - 1
        yield ModelResponse(
            parts=[TextPart(ANSWER) if last else call],
            model_name=MODEL,
            run_id=run_id,
            conversation_id=session_id,
        )
        text = f"def round_{number}(price): return round(price, {number})\n" * 100
        parts = [ToolReturnPart(call.tool_name, text[: RESULT_BYTES[number]], call.tool_call_id)]


async def _write(store: Store, run: ClaimedRun, messages: Sequence[ModelMessage]) -> None:
    """Write the messages as the recorder does: before each request, each call, after each call."""
    for message in messages[:-1]:
        called: list[Event] = []
        if isinstance(message, ModelResponse):
            called = [_called(call) for call in message.tool_calls]
        for part in message.parts:
            if isinstance(part, ToolReturnPart):
                await store.record(run, Additions(events=[_returned(part)], results=[part]))
        await store.record(run, Additions(messages=[message], events=called))
    used = Usage(requests=REQUESTS, tool_calls=REQUESTS - 1)
    ended = RunEnded(status=RunStatus.SUCCEEDED, output=ANSWER, usage=used)
    said = Additions(messages=messages[-1:], events=[AgentMessage(content=ANSWER)])
    await store.end(run, ended, said, session_usage=RunUsage(requests=REQUESTS))


def _called(call: ToolCallPart) -> ToolCalled:
    return ToolCalled(call_id=call.tool_call_id, tool=call.tool_name, arguments=call.args_as_dict())


def _returned(part: ToolReturnPart) -> ToolReturned:
    return ToolReturned(
        call_id=part.tool_call_id,
        tool=part.tool_name,
        outcome=part.outcome,
        content=shown(part),
    )


def _floor(file: Path, messages: Sequence[ModelMessage]) -> int:
    """Store each message whole, a row each, and nothing besides."""
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("CREATE TABLE message (seq INTEGER PRIMARY KEY, body TEXT NOT NULL)")
        for message in messages:
            body = ModelMessagesTypeAdapter.dump_json([message], exclude_none=True).decode()
            database.execute("INSERT INTO message (body) VALUES (?)", (body,))
    return _size(file)


def _size(file: Path) -> int:
    files = (one for one in file.parent.glob(f"{file.name}*") if one.is_file())
    return sum(one.stat().st_size for one in files)
