"""Many sessions at work at once: runs of a scripted model, and what is true of their record."""

from collections.abc import AsyncIterator
from dataclasses import replace
from multiprocessing.connection import Connection

import anyio
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.errors import SessionBusyError
from orchestrator.events import (
    AgentMessage,
    RunEnded,
    RunStarted,
    TextDelta,
    ToolCalled,
    ToolReturned,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import Recorder
from orchestrator.store.claimed import RunDraft
from orchestrator.store.store import Store, open_store

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")
WORDS = [f"word{n} " for n in range(8)]
CALLS = 2


async def _stream(
    messages: list[ModelMessage], info: AgentInfo
) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
    if isinstance(messages[-2] if len(messages) > 1 else None, ModelResponse) and any(
        part.part_kind == "tool-return" for part in messages[-1].parts
    ):
        for word in WORDS:
            yield word
            await anyio.sleep(0)
    else:
        for number in range(CALLS):
            call_id = f"{len(messages)}.{number}"
            yield {number: DeltaToolCall("look", f'{{"at": {number}}}', tool_call_id=call_id)}


async def look(at: int) -> str:
    """Look at something."""
    await anyio.sleep(0)
    return f"{at}: " + "x" * 500


AGENT = Agent(FunctionModel(stream_function=_stream), tools=[look], instructions="Be brief. " * 50)


async def take_turn(store: Store, session_id: str | None = None) -> str:
    """Run the agent for a turn; return the session."""
    run = await store.claim(replace(DRAFT, session_id=session_id))
    recorder = Recorder(store, run)
    result = await AGENT.run("go", capabilities=[recorder], conversation=run.conversation)
    ended = RunEnded(status=RunStatus.SUCCEEDED, output=result.output)
    await recorder.end(ended)
    return run.session_id


async def check(store: Store, session_id: str, turns: int) -> None:
    """Hold that a session has so many turns: each event once, in order, without gaps."""
    record = [event async for event in store.sessions.all_events(session_id)]
    assert [recorded.seq for recorded in record] == list(range(1, len(record) + 1))
    runs = await store.sessions.runs(session_id)
    assert [run.status for run in runs] == ["succeeded"] * turns
    for run in runs:
        numbers = [recorded.seq for recorded in record if recorded.run_id == run.id]
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), "runs are mixed up"
        events = [recorded.event for recorded in record if recorded.run_id == run.id]
        text = "".join(event.content for event in events if isinstance(event, TextDelta))
        assert text in ("".join(WORDS), "")  # an answer that came at once is told once
        kinds = [event.type for event in events if not isinstance(event, TextDelta)]
        called, returned = (["tool_called"] * CALLS, ["tool_returned"] * CALLS)
        begun = ["run_started", "user_message"]
        assert kinds == [*begun, *called, *returned, "agent_message", "run_ended"]
        assert len({e.call_id for e in events if isinstance(e, ToolCalled)}) == CALLS
        assert len({e.call_id for e in events if isinstance(e, ToolReturned)}) == CALLS
        assert isinstance(events[0], RunStarted)
        assert isinstance(events[-2], AgentMessage)
    parts = [p.part_kind for m in await store.sessions.messages(session_id) for p in m.parts]
    one = ["user-prompt", *["tool-call"] * CALLS, *["tool-return"] * CALLS, "text"]
    assert parts == one * turns


def work(line: Connection, url: str, sessions: int, turns: int, shared: str) -> None:
    """Take turns in many sessions at once, and one in a session that others want too."""
    line.send(anyio.run(_work, url, sessions, turns, shared))


async def _work(url: str, sessions: int, turns: int, shared: str) -> tuple[list[str], int]:
    begun: list[str] = []
    won = 0

    async def one_session(store: Store) -> None:
        nonlocal won
        session_id = await take_turn(store)
        begun.append(session_id)
        for _ in range(turns - 1):
            await take_turn(store, session_id)
        try:
            await take_turn(store, shared)
            won += 1
        except SessionBusyError:
            pass

    async with open_store(url) as store, anyio.create_task_group() as tasks:
        for _ in range(sessions):
            tasks.start_soon(one_session, store)
    return begun, won
