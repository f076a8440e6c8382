"""The record is never ahead of what happened, and never more than a step behind."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.events import AgentMessage, RunEnded, TextDelta, ToolCalled, ToolReturned
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import FLUSH_CHARS, Recorder
from orchestrator.store.claimed import RunDraft
from orchestrator.store.facts import PREVIEW_CHARS
from orchestrator.store.store import Store, open_store

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'record.db'}") as opened:
        yield opened


async def test_request_and_call_are_on_record_before_model_and_tool_begin(store: Store) -> None:
    """A crash must leave a call without a result, never an effect without a call.

    Of the first request the claim has written the prompt, which is all that it says.
    """
    run = await store.claim(DRAFT)
    seen: dict[str, list[str]] = {}

    async def look(at: str) -> None:
        events = [e.event.type async for e in store.sessions.all_events(run.session_id)]
        messages = await store.sessions.messages(run.session_id)
        seen[at] = events[1:] + [part.part_kind for m in messages for part in m.parts]

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        if isinstance(messages[-1], ModelResponse) or len(messages) == 1:
            await look("first request")
            yield {0: DeltaToolCall("tool", "{}", tool_call_id="c")}
        else:
            await look("second request")
            yield "done"

    async def tool() -> str:
        await look("tool")
        return "ok"

    agent = Agent(FunctionModel(stream_function=stream), tools=[tool])
    await agent.run("go", capabilities=[Recorder(store, run)])

    assert seen == {
        "first request": ["user_message"],
        "tool": ["user_message", "tool_called", "user-prompt", "tool-call"],
        "second request": [
            "user_message",
            "tool_called",
            "tool_returned",
            "user-prompt",
            "tool-call",
            "tool-return",
        ],
    }


async def test_answer_is_on_record_before_it_is_judged(store: Store) -> None:
    """It has been paid for; a crash right after it must not lose it."""
    run = await store.claim(DRAFT)
    seen: list[str] = []

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        yield {0: DeltaToolCall("final_result", '{"response": 1}', tool_call_id="c")}

    agent = Agent(FunctionModel(stream_function=stream), output_type=int)

    @agent.output_validator
    async def look(output: int) -> int:
        messages = await store.sessions.messages(run.session_id)
        seen.extend(part.part_kind for message in messages for part in message.parts)
        return output

    await agent.run("go", capabilities=[Recorder(store, run)])

    assert seen == ["user-prompt", "tool-call"]


async def test_write_that_is_cancelled_is_neither_lost_nor_done_twice(store: Store) -> None:
    run = await store.claim(DRAFT)
    recorder = Recorder(store, run)
    message = ModelRequest(parts=[UserPromptPart("go")])
    recorder._messages = [message]

    async with run.turn:  # the disk is slow
        writing = asyncio.create_task(recorder.flush())
        await asyncio.sleep(0.01)
        writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    await recorder.flush()

    assert await store.sessions.messages(run.session_id) == [message]


async def test_call_that_ends_while_the_end_of_its_run_waits_is_counted(store: Store) -> None:
    """A run that is cancelled can have a call under way that succeeds all the same."""
    run = await store.claim(DRAFT)
    recorder = Recorder(store, run)
    call = ToolCallPart("tool", "{}", "c")
    recorder._messages = [ModelRequest([UserPromptPart("go")]), ModelResponse([call])]
    recorder._noted.note_call(FunctionToolCallEvent(call))
    await recorder.flush()

    async with recorder._turn:  # something else is being written
        ending = asyncio.create_task(recorder.end(RunEnded(status=RunStatus.CANCELLED)))
        await asyncio.sleep(0.01)
        recorder._noted.note_result(ToolReturnPart("tool", "ok", "c"))
    ended = await ending

    (row,) = await store.sessions.runs(run.session_id)
    assert (ended.usage.tool_calls, row.tool_calls) == (1, 1)


async def test_events_of_a_write_that_failed_are_written_with_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await store.claim(DRAFT)
    recorder = Recorder(store, run)
    recorder.note(AgentMessage(content="kept"))

    with monkeypatch.context() as broken:
        broken.setattr(store, "_access", None)
        with pytest.raises(AttributeError):
            await recorder.flush()
    await recorder.flush()

    events = [recorded.event async for recorded in store.sessions.all_events(run.session_id)]
    assert events[2:] == [AgentMessage(content="kept")]


async def events_of(store: Store, chunks: list[str], result: str = "") -> list[object]:
    run = await store.claim(DRAFT)

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        if result and len(messages) == 1:
            yield {0: DeltaToolCall("tool", '{"not": "json', tool_call_id="c")}
        elif result and len(messages) == 3:
            yield {0: DeltaToolCall("tool", "{}", tool_call_id="d")}
        else:
            for chunk in chunks:
                yield chunk

    def tool() -> str:
        return result

    agent = Agent(FunctionModel(stream_function=stream), tools=[tool], retries=2)
    recorder = Recorder(store, run)
    await agent.run("go", capabilities=[recorder])
    await recorder.flush()
    events = [recorded.event async for recorded in store.sessions.all_events(run.session_id)]
    return list(events[2:])


async def test_tokens_are_not_written_one_by_one(store: Store) -> None:
    """A transaction for each token would starve every other writer."""
    events = await events_of(store, ["word "] * 5000)

    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(delta.content for delta in deltas) == "word " * 5000
    assert len(deltas) < 50
    assert events[-1] == AgentMessage(content="word " * 5000)


async def test_long_pieces_are_written_at_once(store: Store) -> None:
    events = await events_of(store, ["x" * FLUSH_CHARS, "y" * FLUSH_CHARS])

    assert [e.content[0] for e in events if isinstance(e, TextDelta)] == ["x", "y"]


async def test_result_is_previewed_and_broken_arguments_are_kept(store: Store) -> None:
    events = await events_of(store, ["ok"], result="r" * (PREVIEW_CHARS + 1))

    called = [event for event in events if isinstance(event, ToolCalled)]
    returned = [event for event in events if isinstance(event, ToolReturned)]
    assert called[0].arguments == {"INVALID_JSON": '{"not": "json'}
    assert [event.outcome for event in returned] == ["retried", "success"]
    assert returned[1].content == "r" * PREVIEW_CHARS + "…"


def test_spec_cannot_name_the_recorder() -> None:
    assert Recorder.get_serialization_name() is None
