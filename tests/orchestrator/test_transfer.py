"""Sessions taken out of a record and into another: complete, as they were, or not at all."""

import io
import json
import random
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any  # JSON

import pytest
from pydantic_ai import RequestUsage
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from sqlalchemy import Executable, delete, update

from orchestrator.errors import (
    HistoryUnreadableError,
    InvalidInputError,
    LimitError,
    NotFoundError,
)
from orchestrator.events import (
    AgentMessage,
    FileChanged,
    RunEnded,
    TextDelta,
    ToolCalled,
    ToolReturned,
    Usage,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.store.claimed import Additions, Compacted
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import Store
from orchestrator.store.tables import EVENT, MESSAGE, SESSION
from orchestrator.store.transfer import reading
from orchestrator.totals import By
from tests.orchestrator.turns import begin, by_hand, count, turn, turn_with_calls

INSTRUCTIONS = "Be brief. " * 50
HARD_TEXT = 'half \ud800, nul \0, quote ", é, \u2028, {"in_run": true}'


async def rich_session(store: Store) -> str:
    """Put a session on record that has something of everything."""
    sessions = store.sessions
    made = await sessions.create("guide", "/r", external_id="ticket-7", state={"a": {"b": [None]}})
    run = await begin(store, HARD_TEXT, made.id)
    call = ToolCallPart("grep", '{"pattern": "x", "n": 1.0}', "c1")
    result = ToolReturnPart("grep", {"rows": [True, 1, None], "text": HARD_TEXT}, "c1")
    picture = ToolReturnPart("look", BinaryContent(b"\x89PNG\xff", media_type="image/png"), "c2")
    lost = ToolCallPart("write_file", {"path": "a"}, "c3")
    await store.record(
        run,
        Additions(
            messages=[
                ModelRequest(parts=[UserPromptPart(HARD_TEXT)], instructions=INSTRUCTIONS),
                ModelResponse(
                    parts=[ThinkingPart("Hm."), call, ToolCallPart("look", {}, "c2")],
                    usage=RequestUsage(input_tokens=7, cost=Decimal("0.0000000001")),
                    model_name="m",
                ),
            ],
            events=[
                TextDelta(content="I lo"),
                ToolCalled(call_id="c1", tool="grep", arguments=call.args_as_dict()),
                ToolCalled(call_id="c2", tool="look", arguments={}),
            ],
        ),
    )
    await store.record(
        run,
        Additions(
            messages=[ModelRequest(parts=[result, picture], instructions=INSTRUCTIONS)],
            events=[
                ToolReturned(call_id="c1", tool="grep", outcome="success", content="rows"),
                FileChanged(call_id="c1", path="a", kind="modified", added=1, removed=0),
                ToolReturned(call_id="c2", tool="look", outcome="success", content="(a picture)"),
            ],
            results=[result, picture],
        ),
    )
    answer = ModelResponse(parts=[TextPart("So it is."), lost])
    called = ToolCalled(call_id="c3", tool="write_file", arguments={"path": "a"})
    said = AgentMessage(content="So it is.")
    await store.record(run, Additions(messages=[answer], events=[said, called]))
    failed = RunEnded(
        status=RunStatus.FAILED, usage=Usage(requests=2), error_code="limit", error_text="over"
    )
    await store.end(run, failed, session_usage=None)
    await compacted_turn(store, made.id)
    await turn(store, "and then?", "So it is.", made.id)
    return made.id


async def compacted_turn(store: Store, session_id: str) -> None:
    run = await begin(store, "go on", session_id)
    given = [ModelRequest(parts=[UserPromptPart("In short: " + HARD_TEXT)])]
    compacted = Compacted(upto=4, given=given, usage=Usage(requests=1, cost=Decimal("0.5")))
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart("go on")]),
        ModelResponse(parts=[ToolCallPart("final_result", {"verdict": "sound"}, "c1")]),
    ]
    ended = RunEnded(status=RunStatus.SUCCEEDED, output={"verdict": "sound"})
    added = Additions(compacted=compacted, messages=messages)
    await store.end(run, ended, added, session_usage=None)


async def exported(sessions: Sessions, session_id: str, form: str = "jsonl") -> str:
    pieces = sessions.export(session_id, form)  # type: ignore[arg-type]  # one of three
    return "".join([piece async for piece in pieces])


async def imported(sessions: Sessions, text: str, **where: str) -> str:
    return (await sessions.import_lines(io.BytesIO(text.encode()), **where)).id


async def everything(sessions: Sessions, session_id: str) -> dict[str, Any]:
    """Return what can be read of a session, without its ids."""
    session = await sessions.get(session_id)
    runs = await sessions.runs(session_id)
    ids = {"id", "pk", "session_pk", "lease_owner", "lease_until"}
    return {
        "session": (session.title, session.agent, session.root, session.usage, session.window_seq),
        "times": (session.created_at, session.updated_at),
        "state": await sessions.state(session_id),
        "messages": [m.parts for m in await sessions.messages(session_id)],
        "runs": [run.model_dump(exclude=ids) for run in runs],
        "events": [(e.seq, e.at, e.event) async for e in sessions.all_events(session_id)],
    }


async def test_export_that_is_imported_and_exported_again_is_the_same(store: Store) -> None:
    session_id = await rich_session(store)
    before = await everything(store.sessions, session_id)
    first = await exported(store.sessions, session_id)
    await store.sessions.delete(session_id)

    assert await imported(store.sessions, first) == session_id

    assert await exported(store.sessions, session_id) == first
    assert await everything(store.sessions, session_id) == before
    assert (await store.sessions.get(session_id)).external_id == "ticket-7"


async def test_export_is_complete_and_says_each_instruction_once(store: Store) -> None:
    session_id = await rich_session(store)

    lines = [json.loads(line) for line in (await exported(store.sessions, session_id)).splitlines()]

    session = await store.sessions.get(session_id)
    kinds = [line["type"] for line in lines]
    assert (kinds[0], lines[0]["version"]) == ("session", 1)
    assert kinds.count("run") == 3
    assert kinds.count("message") + kinds.count("compaction") == session.last_message_seq == 9
    assert kinds.count("event") == session.last_event_seq
    assert kinds.count("call") == 3
    assert [line["text"] for line in lines if line["type"] == "instructions"] == [
        INSTRUCTIONS,
        "Be brief.",
    ]
    assert "owner" not in lines[0]


async def test_session_whose_id_is_taken_is_imported_as_a_copy(store: Store) -> None:
    session_id = await rich_session(store)
    text = await exported(store.sessions, session_id)

    copy_id = await imported(store.sessions.of("bob"), text, root="/here")

    assert copy_id != session_id
    copy = await everything(store.sessions, copy_id)
    assert copy | {"session": None} == await everything(store.sessions, session_id) | {
        "session": None
    }
    session = await store.sessions.get(copy_id)
    assert (session.owner, session.external_id, session.root) == ("bob", "ticket-7", "/here")
    again = await store.sessions.get(await imported(store.sessions, text))
    assert (again.owner, again.external_id) == ("local", None)
    runs = [run.id for s in (session_id, copy_id) for run in await store.sessions.runs(s)]
    assert len(set(runs)) == 6


async def test_imported_session_goes_on(store: Store) -> None:
    session_id = await rich_session(store)
    given = (await begin(store, "next", session_id)).conversation.messages
    text = await exported(store.sessions, session_id)

    copy_id = await imported(store.sessions, text)

    run = await begin(store, "next", copy_id)
    assert [m.parts for m in run.conversation.messages] == [m.parts for m in given]
    assert [r.status for r in await store.sessions.runs(copy_id)][-2:] == ["interrupted", "running"]


async def test_imported_runs_are_counted_since_they_began_whatever_their_session_says(
    store: Store,
) -> None:
    lines = (await exported(store.sessions, await rich_session(store))).splitlines()
    head = json.loads(lines[0])
    head["updated_at"] = head["created_at"]
    began = next(run["started_at"] for run in map(json.loads, lines) if run["type"] == "run")

    copy = await imported(store.sessions, "\n".join([json.dumps(head), *lines[1:]]))

    runs = await store.sessions.runs(copy)
    since = datetime.fromisoformat(began)
    found = await store.sessions.usage(By.SESSION, session=copy, since=since)
    assert [total.runs for total in found] == [len(runs)]


async def test_fork_is_exported_with_what_it_shares(store: Store) -> None:
    origin = await turn_with_calls(store, ["one", "two"])
    fork = (await store.sessions.fork(origin, at=3)).id
    await turn(store, "other", "way", fork)
    messages = [m.parts for m in await store.sessions.messages(fork)]
    text = await exported(store.sessions, fork)
    await store.sessions.delete(fork)
    await store.sessions.delete(origin)

    assert await imported(store.sessions, text) == fork

    assert [m.parts for m in await store.sessions.messages(fork)] == messages
    assert await exported(store.sessions, fork) == text
    assert "two" not in text


Change = Callable[[list[dict[str, Any]]], object]


def of_type(lines: list[dict[str, Any]], kind: str, number: int = 0) -> dict[str, Any]:
    return [line for line in lines if line["type"] == kind][number]


def without(kind: str, number: int = 0) -> Change:
    return lambda lines: lines.remove(of_type(lines, kind, number))


def with_fields(kind: str, **fields: object) -> Change:
    return lambda lines: of_type(lines, kind).update(fields)


def twice(kind: str) -> Change:
    return lambda lines: lines.insert(lines.index(of_type(lines, kind)), dict(of_type(lines, kind)))


UNSOUND: list[tuple[Change, str]] = [
    (with_fields("session", version=7), "Line 1 .*its version is 7, and this Workyard knows 1"),
    (with_fields("session", version=True), "session.version"),
    (without("session"), "Line 1 .*begins with its session"),
    (twice("session"), "Line 2 .*one session"),
    (with_fields("session", id="../../x"), "Line 1 .*id"),
    (with_fields("session", root="\ud800"), "no database takes"),
    (with_fields("session", owner="alice"), "owner"),
    (with_fields("session", root="../../etc"), "no absolute path"),
    (with_fields("session", root=""), "no absolute path"),
    (with_fields("session", last_message_seq=8), "to have 8 messages and has 9"),
    (with_fields("session", usage={"requests": "many"}), "Line 1 "),
    (with_fields("session", usage={"requests": float("nan")}), "Line 1 "),
    (with_fields("session", window_seq=2), "window_seq is 2"),
    (with_fields("session", window_seq=-1), "window_seq"),
    (with_fields("session", created_at="2026-01-01T00:00:00"), "created_at"),
    (with_fields("session", created_at="yesterday"), "created_at"),
    (with_fields("session", state=[1]), "state"),
    (without("run"), "there is no run"),
    (twice("run"), "comes twice"),
    (with_fields("run", status="done"), "status"),
    (with_fields("run", cost="NaN"), "cost"),
    (with_fields("run", cost="-1"), "cost"),
    (with_fields("run", requests=2**31), "requests"),
    (with_fields("run", requests="1"), "requests"),
    (with_fields("run", output_at=[1, 0]), "in message 1, where no text is"),
    (with_fields("run", output_at=[99, 0]), "in message 99"),
    (with_fields("run", model="x" * 201), "model"),
    (with_fields("run", inputs={"a": float("inf")}), "inputs"),
    (without("message"), "message 1 is missing before message 2"),
    (without("message", 5), "message 7 is missing"),
    (twice("message"), "message 2 is missing before message 1"),
    (with_fields("message", message={"kind": "poem"}), "Line "),
    (with_fields("message", message={"kind": "request"}), "Line "),
    (with_fields("message", message={"kind": "request", "parts": [{}]}), "Line "),
    (with_fields("message", instructions="0" * 64), "instructions are not there"),
    (with_fields("message", run_id="nope"), "there is no run 'nope'"),
    (with_fields("message", seq=1.0), "seq"),
    (with_fields("instructions", text="other"), "another hash"),
    (with_fields("compaction", upto=99), "come after it"),
    (with_fields("compaction", given=[{"kind": "poem"}]), "Line "),
    (with_fields("compaction", usage={"requests": -1.5}), "Line "),
    (without("compaction"), "message 5 is missing"),
    (with_fields("call", result_seq=None, result={"x": 1}), "Line "),
    (with_fields("call", result_seq=1), "message 1 has no result"),
    (with_fields("call", outcome=None), "a result and no outcome"),
    (with_fields("call", call_id="x" * 201), "call_id"),
    (twice("call"), "comes twice"),
    (without("event", -1), "it may be cut"),
    (without("event"), "event 1 is missing before event 2"),
    (with_fields("event", event={"type": "poem"}), "Line "),
    (with_fields("event", event={"type": "run_ended", "status": "done"}), "Line "),
    (with_fields("event", type="party"), "Line "),
    (with_fields("event", at="now"), "Line "),
    (with_fields("event", at="0001-01-01T00:00:00+14:00"), "Line "),
    (with_fields("run", cost="9999999999"), "cost"),
]


async def test_unsound_file_gets_a_clear_error_and_nothing_is_written(store: Store) -> None:
    session_id = await rich_session(store)
    text = await exported(store.sessions, session_id)
    await store.sessions.delete(session_id)

    for change, problem in UNSOUND:
        lines = [json.loads(line) for line in text.splitlines()]
        change(lines)
        changed = "\n".join(map(json.dumps, lines))
        with pytest.raises(InvalidInputError, match=problem) as caught:
            await imported(store.sessions, changed)
        assert "othing was written" in str(caught.value)
        assert len(str(caught.value)) < 500

    assert [await count(store, table) for table in (SESSION, MESSAGE)] == [0, 0]
    assert await imported(store.sessions, text) == session_id


async def test_file_that_was_cut_is_refused_wherever_that_was(store: Store) -> None:
    lines = (await exported(store.sessions, await rich_session(store))).splitlines(keepends=True)

    for number in range(1, len(lines)):
        for cut in (lines[:number], [*lines[: number - 1], lines[number - 1][:-2]]):
            with pytest.raises(InvalidInputError, match="othing was written"):
                await imported(store.sessions, "".join(cut))

    assert await count(store, SESSION) == 1


async def test_title_of_any_prompt_is_exported_and_imported(store: Store) -> None:
    for prompt in ("\0" * 200, "\ud800" * 200, "\x1b[2J\u202e", "é\u2028" * 50):
        text = await exported(store.sessions, await turn(store, prompt))

        copy_id = await imported(store.sessions, text)

        assert await exported(store.sessions, copy_id) != ""
        dumped = json.dumps([{"kind": "request", "parts": [_prompt(prompt)]}])
        of_messages = await store.sessions.import_messages(dumped, agent="a", root="/r")
        assert (await store.sessions.get(copy_id)).title == of_messages.title


def _prompt(content: str) -> dict[str, str]:
    return {"part_kind": "user-prompt", "content": content}


@pytest.mark.parametrize("title", ["x" * 201, " ", "\n"])
async def test_title_for_messages_that_is_none_is_refused(store: Store, title: str) -> None:
    with pytest.raises(InvalidInputError, match="A title has 1 to 200 characters"):
        await store.sessions.import_messages(
            '[{"kind": "response", "parts": []}]', agent="a", root="/r", title=title
        )


STRANGE: list[object] = [
    *(None, True, 0, -1, 1.5, 2**70, "", "x" * 300, "\ud800", "\0", [], {}, [[]], {"a": None}),
    *("c1", [1, 0], {"kind": "binary", "data": "?"}, float("nan"), "2026-01-01T00:00:00Z"),
]


def changed_somewhere(value: Any, chance: random.Random) -> Any:
    """Return JSON with something in it replaced, left out or put twice."""
    if chance.random() < 0.15 or not isinstance(value, dict | list) or not value:
        return chance.choice(STRANGE)
    changed = value.copy()
    key = chance.choice([*changed]) if isinstance(changed, dict) else chance.randrange(len(changed))
    way = chance.random()
    if way < 0.1:
        del changed[key]
    elif way < 0.2 and isinstance(changed, list):
        changed.insert(key, changed[key])
    else:
        changed[key] = changed_somewhere(changed[key], chance)
    return changed


async def test_whatever_is_changed_in_a_file_it_is_refused_or_can_be_read(store: Store) -> None:
    session_id = await rich_session(store)
    lines = [json.loads(line) for line in (await exported(store.sessions, session_id)).splitlines()]
    await store.sessions.delete(session_id)
    chance = random.Random(7)
    refused = 0

    for _ in range(300):
        changed = changed_somewhere(lines, chance)
        text = "\n".join(map(json.dumps, changed)) if isinstance(changed, list) else ""
        try:
            new_id = await imported(store.sessions, text)
        except (InvalidInputError, LimitError):
            refused += 1
            continue
        await everything(store.sessions, new_id)
        for form in ("jsonl", "messages", "markdown"):
            await exported(store.sessions, new_id, form)
        await begin(store, "on", new_id)

    assert 100 < refused < 290


NO_EXPORT = [
    b"",
    b"\n",
    b"x",
    b"\xff\xfe",
    b"null",
    b"[]",
    b"{}",
    b'{"type": "session"}',
    b"[" * 100_000,
    b'{"type": "session", "version": 1' + b"1" * 10_000 + b"}",
    b"\x00" * 100,
    b"PK\x03\x04",
]


async def test_file_that_is_no_export_is_refused(store: Store) -> None:
    for content in NO_EXPORT:
        with pytest.raises(InvalidInputError, match=r"Line 1 |is empty"):
            await store.sessions.import_lines(io.BytesIO(content))


async def test_file_without_end_is_refused_before_it_is_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(reading, "MAX_BYTES", 5000)
    text = await exported(store.sessions, await turn(store, "x" * 500))

    for content in (b"x" * 1001, text.encode().splitlines(keepends=True)[0] * 20):
        file = io.BytesIO(content * 2)
        with pytest.raises(InvalidInputError):
            await store.sessions.import_lines(file)
        assert file.tell() <= 6000


async def test_state_above_its_size_is_refused_in_a_file_too(store: Store) -> None:
    text = await exported(store.sessions, await turn(store))
    lines = [json.loads(line) for line in text.splitlines()]
    lines[0]["state"] = {"a": "x" * 70_000}

    with pytest.raises(LimitError):
        await imported(store.sessions, "\n".join(map(json.dumps, lines)))


async def test_messages_are_what_pydantic_ai_loads(store: Store) -> None:
    session_id = await rich_session(store)

    text = await exported(store.sessions, session_id, "messages")

    loaded = ModelMessagesTypeAdapter.validate_json(text)
    messages = await store.sessions.messages(session_id)
    assert loaded[-2:] == messages[-2:]
    (prompt,) = loaded[0].parts
    assert isinstance(prompt, UserPromptPart)
    assert prompt.content == HARD_TEXT.replace("\ud800", "\ufffd")
    empty = await store.sessions.create("guide", "/r")
    assert json.loads(await exported(store.sessions, empty.id, "messages")) == []


async def test_messages_become_a_session_that_goes_on(store: Store) -> None:
    origin = await turn_with_calls(store, ["one", "two"])
    text = await exported(store.sessions, origin, "messages")

    session = await store.sessions.import_messages(text, agent="guide", root="/r")

    assert session.title == "look"
    assert [m.parts for m in await store.sessions.messages(session.id)] == [
        m.parts for m in await store.sessions.messages(origin)
    ]
    kinds = [e.event.type async for e in store.sessions.all_events(session.id)]
    assert kinds == [
        *("run_started", "user_message"),
        *("tool_called", "tool_returned", "tool_called", "tool_returned"),
        *("agent_message", "run_ended"),
    ]
    (run,) = await store.sessions.runs(session.id)
    assert (run.status, run.output, run.model, run.tool_calls) == ("succeeded", "done", "m", 2)
    await turn(store, session_id=session.id)
    assert len(await store.sessions.messages(session.id)) == 8
    lines = await exported(store.sessions, session.id)
    await store.sessions.delete(session.id)
    assert await imported(store.sessions, lines) == session.id


async def test_text_that_is_no_list_of_messages_is_refused(store: Store) -> None:
    for text in ("", "[]", "{}", "[1]", "x", "[" * 100_000, '[{"kind": "poem"}]'):
        with pytest.raises(InvalidInputError, match=r"message"):
            await store.sessions.import_messages(text, agent="guide", root="/r")
    huge = ModelResponse(parts=[TextPart("x")], usage=RequestUsage(input_tokens=2**40))
    text = ModelMessagesTypeAdapter.dump_json([huge]).decode()
    with pytest.raises(InvalidInputError, match="input_tokens"):
        await store.sessions.import_messages(text, agent="guide", root="/r")

    assert await store.sessions.latest() == []


async def test_markdown_shows_prompts_answers_and_calls(store: Store) -> None:
    session_id = await turn_with_calls(store, ["a ``` fence", "two"])
    await turn(store, "first\n# no heading", "*Answer*", session_id)

    text = await exported(store.sessions, session_id, "markdown")

    assert text.startswith("# look\n")
    assert "\n> look\n" in text
    assert '**grep** `{"pattern":"two"}`\n' in text
    assert "\n````\na ``` fence\n````\n" in text
    assert "\n> first\n> # no heading\n" in text
    assert "\n*Answer*\n" in text
    assert text.count("\n## guide with m, ") == 2


async def test_what_is_damaged_or_not_there_cannot_be_exported(store: Store) -> None:
    session_id = await turn(store)
    await by_hand(store, update(MESSAGE).where(MESSAGE.c.seq == 2).values(body="{"))

    for form in ("jsonl", "messages", "markdown"):
        with pytest.raises(HistoryUnreadableError):
            await exported(store.sessions, session_id, form)
        with pytest.raises(NotFoundError):
            await exported(store.sessions.of("bob"), session_id, form)


@pytest.mark.parametrize(
    "damage",
    [
        update(SESSION).values(last_event_seq=2**31 - 1),
        delete(EVENT).where(EVENT.c.seq == 3),
        delete(EVENT).where(EVENT.c.seq == 1),
    ],
    ids=["a number without end", "a gap", "no first one"],
)
async def test_export_of_events_that_are_not_all_there_ends_with_an_error(
    store: Store, damage: Executable
) -> None:
    session_id = await turn(store)
    await by_hand(store, damage)

    with pytest.raises(HistoryUnreadableError, match="Event"):
        await exported(store.sessions, session_id)
