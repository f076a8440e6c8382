"""What messages and calls can hold: each kind is read as it was written, or refused with a word."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic_ai import Agent, RunUsage
from pydantic_ai.messages import (
    BinaryContent,
    BinaryImage,
    ImageUrl,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturn,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from sqlalchemy import Connection, select

from orchestrator.events import RunEnded, RunStarted, ToolCalled, ToolReturned, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import Recorder
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.facts import PREVIEW_CHARS, shown
from orchestrator.store.store import Store
from orchestrator.store.tables import EVENT, MESSAGE, TOOL_CALL
from tests.orchestrator.generated import as_said

DONE = RunEnded(status=RunStatus.SUCCEEDED)
MB = 1_000_000


def draft(prompt: str = "go", session_id: str | None = None) -> RunDraft:
    return RunDraft(
        agent="a",
        spec_sha256="0" * 64,
        model="m",
        prompt=prompt,
        inputs={},
        root="/r",
        session_id=session_id,
    )


def call(part: ToolReturnPart) -> list[ToolCalled | ToolReturned]:
    called = ToolCalled(call_id=part.tool_call_id, tool="t", arguments={})
    returned = ToolReturned(
        call_id=part.tool_call_id, tool="t", outcome=part.outcome, content=shown(part)
    )
    return [called, returned]


async def answered(store: Store, *parts: ToolReturnPart) -> ClaimedRun:
    """Write a run as the recorder does: each result as it comes, then the message with them all."""
    run = await store.claim(draft())
    calls: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart("go")]),
        ModelResponse(parts=[ToolCallPart("t", "{}", part.tool_call_id) for part in parts]),
    ]
    await store.record(run, Additions(messages=calls))
    for part in parts:
        await store.record(run, Additions(events=call(part), results=[part]))
    await store.record(run, Additions(messages=[ModelRequest(parts=parts)]))
    await store.end(run, DONE, session_usage=None)
    return run


async def returned(store: Store, run: ClaimedRun) -> list[ToolReturnPart]:
    message = (await store.sessions.messages(run.session_id))[2]
    return [part for part in message.parts if isinstance(part, ToolReturnPart)]


CONTENTS: list[object] = [
    None,
    [],
    {"a": None, "at": [1, 0], "in_ledger": "c1"},
    "a \0 b \ud800 c",
    ["\ud800", BinaryContent(b"\xff\0", media_type="application/pdf")],
    BinaryContent(bytes(range(256)), media_type="application/octet-stream"),
    [BinaryImage(b"\x89PNG\xff", media_type="image/png"), "a picture"],
    ImageUrl("https://host/without-an-ending"),
    {"kind": "binary", "data": "no base64!", "media_type": "a/b"},
    {"kind": "image-url", "url": "https://host/x.png"},
]


@pytest.mark.parametrize("content", CONTENTS, ids=repr)
async def test_result_of_any_kind_is_read_as_it_was_returned(store: Store, content: object) -> None:
    part = ToolReturnPart("t", content, "c1")

    run = await answered(store, part)

    (found,) = await returned(store, run)
    assert found.content == content
    assert (found.timestamp, found.outcome) == (part.timestamp, part.outcome)
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    assert call(part)[1] in events
    assert (await store.claim(draft(session_id=run.session_id))).conversation.messages


async def test_bytes_of_a_result_come_to_a_model_alike_before_and_after(store: Store) -> None:
    """Pydantic AI gives a model bytes that are no file as base64; in the record they are that."""
    part = ToolReturnPart("t", b"\xff\xfe", "c1")

    (found,) = await returned(store, await answered(store, part))

    assert found.model_response_str() == part.model_response_str()


async def test_results_of_a_call_id_that_comes_twice_are_not_mixed_up(store: Store) -> None:
    """Some servers number the calls of each answer from 0 on."""
    parts = [ToolReturnPart("t", content, "call_0") for content in ("one", "two", "one", 1, True)]

    run = await answered(store, *parts)

    found = await returned(store, run)
    assert [repr(part.content) for part in found] == ["'one'", "'two'", "'one'", "1", "True"]
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    shown_ = [event.content for event in events if isinstance(event, ToolReturned)]
    assert shown_ == ["one", "two", "one", "1", "true"]


async def test_results_that_are_equal_each_keep_their_call(store: Store) -> None:
    parts = [ToolReturnPart("t", "the same", f"c{n}") for n in range(3)]

    found = await returned(store, await answered(store, *parts))

    assert found == parts


HOSTILE_IDS = ["", "c\0", "c\\x00", "\ud800", "'; DROP TABLE run; --", "x" * 5000, "x" * 5001]


async def test_call_ids_of_any_kind_are_kept_apart(store: Store) -> None:
    parts = [ToolReturnPart("t", f"result {n}", name) for n, name in enumerate(HOSTILE_IDS)]

    assert await returned(store, await answered(store, *parts)) == parts


LOOKALIKES = [
    '{"in_ledger":"c1"}',
    '{"at":[1,0]}',
    '{"in_run":true}',
    '{"parts":[{"in_run":true,"part_kind":"user-prompt"}]}',
    '"}],"kind":"request"},{"parts":[],"kind":"response"',
]


@pytest.mark.parametrize("text", LOOKALIKES)
async def test_text_that_looks_like_the_records_own_marks_is_text(store: Store, text: str) -> None:
    """A prompt can be the content of a file, and a file can be a record."""
    run = await store.claim(draft(prompt=text))
    part = ToolReturnPart("t", text, "c1")
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart(text), UserPromptPart(text)], instructions=text),
        ModelResponse(parts=[TextPart(text), ToolCallPart("t", {"a": text}, "c1")]),
        ModelRequest(parts=[part, UserPromptPart(text)], instructions=text),
    ]
    for message in messages:
        message.run_id, message.conversation_id = run.id, run.session_id
    await store.record(run, Additions(messages=messages[:2]))
    await store.record(run, Additions(messages=messages[2:], events=call(part), results=[part]))
    await store.end(run, DONE, session_usage=None)

    assert await store.sessions.messages(run.session_id) == messages
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    assert events[1].type == "user_message"
    assert events[1].content == text
    assert call(part)[1] in events


async def test_instructions_that_no_database_takes_come_back(store: Store) -> None:
    run = await store.claim(draft())
    message = ModelRequest(parts=[UserPromptPart("go")], instructions="a \0 \ud800 b")
    await store.record(run, Additions(messages=[message]))

    (found,) = await store.sessions.messages(run.session_id)

    assert isinstance(found, ModelRequest)
    assert found.instructions == "a \0 \ud800 b"


async def test_first_message_may_be_empty(store: Store) -> None:
    """As one that was being put together when its run broke off."""
    run = await store.claim(draft())
    await store.record(run, Additions(messages=[ModelRequest(parts=[], state="interrupted")]))

    (found,) = await store.sessions.messages(run.session_id)

    assert (found.parts, found.state) == ([], "interrupted")


def _texts(db: Connection) -> Iterator[str | None]:
    for column in (TOOL_CALL.c.result, MESSAGE.c.body, EVENT.c.body):
        yield from db.execute(select(column)).scalars()


async def test_result_of_5_mb_is_stored_once_and_told_by_its_beginning(store: Store) -> None:
    part = ToolReturnPart("t", "é" * (5 * MB // 2), "c1")

    run = await answered(store, part)

    assert await returned(store, run) == [part]
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    told = [event.content for event in events if isinstance(event, ToolReturned)]
    assert told == ["é" * PREVIEW_CHARS + "…"]
    texts = await store._write(lambda tx: [*_texts(tx.connection)])
    size = sum(len(text.encode()) for text in texts if text)
    assert 5 * MB < size < 5 * MB + 10_000


async def test_messages_of_megabytes_are_read_as_they_were(store: Store) -> None:
    prompt = "p" * MB
    run = await store.claim(draft(prompt=prompt))
    picture = BinaryImage(bytes(2 * MB), media_type="image/png")
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart(prompt), UserPromptPart([prompt, picture])]),
        ModelResponse(parts=[TextPart("t" * MB), ToolCallPart("t", {"a": "x" * MB}, "c1")]),
    ]
    await store.record(run, Additions(messages=messages))
    await store.end(run, DONE, session_usage=None)

    assert await store.sessions.messages(run.session_id) == messages


async def test_history_of_10_000_messages_goes_on(store: Store) -> None:
    run = await store.claim(draft())
    turn: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart("go")]),
        ModelResponse(parts=[TextPart("gone")]),
    ]
    await store.record(run, Additions(messages=turn * 5000))
    await store.end(run, DONE, session_usage=None)

    following = await store.claim(draft(session_id=run.session_id))
    await store.record(following, Additions(messages=turn))

    assert len(following.conversation.messages) == 10_000
    dumped = ModelMessagesTypeAdapter.dump_json(await store.sessions.messages(run.session_id))
    assert dumped == ModelMessagesTypeAdapter.dump_json(turn * 5001)


async def test_whatever_tools_return_a_run_is_on_record_as_it_was(store: Store) -> None:
    """From the tool to the record, as a run goes; each answer calls its one call the same."""
    values = [content for content in CONTENTS if not isinstance(content, str)]
    values += [b"\xff\0", BinaryContent(bytes(MB), media_type="a/b"), ToolReturn("a", content="b")]
    run = await store.claim(draft())

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        number = sum(isinstance(message, ModelResponse) for message in messages)
        if number == len(values):
            yield "done"
        else:
            yield {0: DeltaToolCall("tool", f'{{"number": {number}}}', tool_call_id="call_0")}

    def tool(number: int) -> object:
        return values[number]

    agent = Agent(FunctionModel(stream_function=stream), tools=[tool])
    recorder = Recorder(store, run)
    result = await agent.run("go", capabilities=[recorder], conversation=run.conversation)
    await recorder.end(DONE)

    assert result.output == "done"
    found = await store.sessions.messages(run.session_id)
    assert as_said(found) == as_said(result.all_messages())
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    assert sum(isinstance(event, ToolReturned) for event in events) == len(values)


async def test_numbers_that_no_run_can_have_used_end_it_all_the_same(store: Store) -> None:
    """A server can count wrongly, and a column has its limits."""
    run = await store.claim(draft())
    usage = Usage(requests=1, input_tokens=10**30, output_tokens=2**63, cost=Decimal("1e40"))
    ended = RunEnded(status=RunStatus.SUCCEEDED, usage=usage)

    await store.end(run, ended, session_usage=RunUsage(input_tokens=10**30))

    (row,) = await store.sessions.runs(run.session_id)
    assert (row.requests, row.input_tokens, row.output_tokens) == (1, 2**31 - 1, 2**31 - 1)
    assert row.cost is None
    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    assert events[-1] == ended
    (total,) = await store.sessions.usage()
    assert (total.cost, total.unpriced_runs) == (None, 1)


@pytest.mark.parametrize("model", ["m" * 5000, "a\0b", "\ud800", "é" * 201])
async def test_model_of_any_name_is_on_record(store: Store, model: str) -> None:
    run = await store.claim(replace(draft(), model=model))

    events = [e.event async for e in store.sessions.all_events(run.session_id)]
    assert isinstance(events[0], RunStarted)
    assert events[0].model == model
