"""The record: claimed before the first request, append-only, and never replaced by nothing."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any  # columns of several types

import anyio
import pytest
from pydantic_ai import RequestUsage, RunUsage
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.errors import (
    HistoryUnreadableError,
    LeaseLostError,
    NotFoundError,
    SessionBusyError,
    StoreUnavailableError,
    WrongRootError,
)
from orchestrator.events import (
    Event,
    RecordedEvent,
    RunEnded,
    RunStarted,
    TextDelta,
    ToolCalled,
    ToolReturned,
    Usage,
    UserMessage,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.store import ending, reading, runs
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.messages import read_messages
from orchestrator.store.pasts import Pasts
from orchestrator.store.store import Store, open_store

INSTRUCTIONS = "Be brief. " * 50
TURN: list[ModelMessage] = [
    ModelRequest(parts=[UserPromptPart("hello")], instructions=INSTRUCTIONS),
    ModelResponse(parts=[ToolCallPart("grep", {"pattern": "x"}, "c1"), TextPart("I look.")]),
    ModelRequest(parts=[ToolReturnPart("grep", "bytes: \x00 é", "c1")], instructions=INSTRUCTIONS),
    ModelResponse(parts=[TextPart("hi")], model_name="m"),
]
DONE = RunEnded(status=RunStatus.SUCCEEDED, output="hi", usage=Usage(requests=2))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


def draft(session_id: str | None = None, **changes: str) -> RunDraft:
    columns: dict[str, Any] = {
        "agent": "a",
        "spec_sha256": "0" * 64,
        "model": "m",
        "prompt": "hello",
        "root": "/r",
    }
    columns |= changes
    return RunDraft(session_id=session_id, inputs={"k": 1}, **columns)


async def whole_turn(store: Store, session_id: str | None = None) -> ClaimedRun:
    run = await store.claim(draft(session_id))
    await store.record(run, Additions(messages=TURN))
    await store.end(run, DONE, session_usage=RunUsage(requests=2))
    return run


async def claimed_by_the_dead(url: str) -> ClaimedRun:
    """Return a run whose process, as far as anybody can tell, died with it."""
    async with open_store(url) as store:
        return await store.claim(draft())


async def all_events(store: Store, session_id: str) -> list[RecordedEvent]:
    return [event async for event in store.sessions.all_events(session_id)]


async def test_prompt_and_run_are_on_record_with_the_claim(store: Store) -> None:
    """A crash in the first request must not lose the question."""
    run = await store.claim(draft(prompt="What is  this?"))

    events = await all_events(store, run.session_id)
    row = (await store.sessions.runs(run.session_id))[0]

    assert [e.event for e in events] == [
        RunStarted(agent="a", model="m", spec_sha256="0" * 64),
        UserMessage(content="What is  this?", inputs={"k": 1}),
    ]
    assert (row.id, row.status, row.prompt) == (run.id, "running", "What is  this?")
    assert (await store.sessions.get(run.session_id)).title == "What is this?"


async def test_second_turn_at_once_is_refused_before_it_costs_anything(store: Store) -> None:
    first = await store.claim(draft())

    with pytest.raises(SessionBusyError) as caught:
        await store.claim(draft(first.session_id))

    assert caught.value.run_id == first.id
    assert len(await store.sessions.runs(first.session_id)) == 1


async def test_only_one_of_many_claims_at_once_gets_the_session(store: Store) -> None:
    session_id = (await whole_turn(store)).session_id
    won: list[ClaimedRun] = []
    refused: list[SessionBusyError] = []

    async def claim() -> None:
        try:
            won.append(await store.claim(draft(session_id)))
        except SessionBusyError as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(claim)

    assert (len(won), len(refused)) == (1, 9)


async def test_next_turn_gets_the_messages_of_the_ones_before(url: str) -> None:
    async with open_store(url) as store:
        session_id = (await whole_turn(store)).session_id
        await whole_turn(store, session_id)
    async with open_store(url) as store:
        third = await store.claim(draft(session_id))

    assert third.conversation.messages == [*TURN, *TURN]
    assert third.conversation.conversation_id == session_id
    assert third.conversation.usage.requests == 2


async def test_next_turn_gets_what_the_one_before_wrote_in_the_same_commit(store: Store) -> None:
    """Rows that wait for the end of a transaction must not be missing from a history in it."""
    run = await store.claim(draft())
    await store.record(run, Additions(messages=TURN[:2]))
    rest = Additions(messages=TURN[2:])

    _, claim = await asyncio.gather(
        store._write(lambda tx: ending.end(tx, run, DONE, rest, None)),
        store._write(partial(runs.claim, draft(run.session_id), "r", store._liveness, Pasts())),
    )

    assert claim.past.messages == TURN


async def test_long_history_is_read_while_the_runs_of_the_process_go_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await whole_turn(store)
    read_in: list[int] = []

    def read(*found: Any) -> list[ModelMessage]:
        read_in.append(threading.get_ident())
        return read_messages(*found)

    monkeypatch.setattr(reading, "read_messages", read)

    assert len(await store.sessions.messages(run.session_id)) == len(TURN)
    assert read_in
    assert threading.get_ident() not in read_in


async def test_call_that_a_broken_run_left_open_is_closed_for_the_next_turn(store: Store) -> None:
    """Providers refuse a call without its result, and Pydantic AI a prompt after it."""
    run = await store.claim(draft())
    await store.record(run, Additions(messages=TURN[:2]))
    cancelled = RunEnded(status=RunStatus.CANCELLED)
    await store.end(run, cancelled, session_usage=None)

    past = (await store.claim(draft(run.session_id))).conversation.messages

    assert past[:2] == TURN[:2]
    (closed,) = past[2].parts
    assert isinstance(closed, ToolReturnPart)
    assert (closed.tool_call_id, closed.outcome) == ("c1", "interrupted")


async def test_messages_are_numbered_and_written_once(store: Store, tmp_path: Path) -> None:
    session_id = (await whole_turn(store)).session_id
    database = sqlite3.connect(tmp_path / "record.db")
    before = database.execute("SELECT * FROM message ORDER BY seq").fetchall()

    await whole_turn(store, session_id)
    after = database.execute("SELECT * FROM message ORDER BY seq").fetchall()
    numbers = database.execute("SELECT seq FROM message ORDER BY seq").fetchall()
    database.close()

    assert after[: len(before)] == before
    assert numbers == [(n,) for n in range(1, 9)]


async def test_instructions_are_stored_once(store: Store, tmp_path: Path) -> None:
    await whole_turn(store)
    await whole_turn(store)

    database = sqlite3.connect(tmp_path / "record.db")
    blobs = database.execute("SELECT content FROM blob").fetchall()
    bodies = database.execute("SELECT body FROM message").fetchall()
    database.close()

    assert blobs == [(INSTRUCTIONS.encode(),)]
    assert not any("Be brief" in body for (body,) in bodies)


async def test_events_are_numbered_without_gaps_and_come_back_as_they_were(store: Store) -> None:
    facts: list[Event] = [
        TextDelta(content="a"),
        ToolCalled(call_id="c", tool="grep", arguments={"pattern": ["x", {"y": None}]}),
        ToolReturned(call_id="c", tool="grep", outcome="success", content="1 match"),
    ]
    ended = RunEnded(
        status=RunStatus.FAILED,
        usage=Usage(requests=1, cost=Decimal("0.0000001")),
        error_code="limit",
        error_text="over",
    )
    run = await store.claim(draft())
    for fact in facts:
        await store.record(run, Additions(events=[fact]))
    await store.end(run, ended, session_usage=None)

    events = await all_events(store, run.session_id)

    assert [e.seq for e in events] == list(range(1, 7))
    assert [e.event for e in events[2:]] == [*facts, ended]
    assert all(e.at.tzinfo is not None and e.run_id == run.id for e in events)


async def test_cost_is_exact_and_unknown_is_not_zero(store: Store) -> None:
    costs = (Decimal("0.1234567891"), Decimal(0), None)
    for cost in costs:
        run = await store.claim(draft())
        usage = Usage(cost=cost)
        ended = RunEnded(status=RunStatus.SUCCEEDED, usage=usage)
        await store.end(run, ended, session_usage=None)

        assert (await store.sessions.runs(run.session_id))[0].cost == cost


async def test_tool_call_without_a_result_is_known_to_be_unknown(
    store: Store, tmp_path: Path
) -> None:
    run = await store.claim(draft())
    called = [ToolCalled(call_id=c, tool="write_file", arguments={}) for c in ("1", "2")]
    returned = ToolReturned(call_id="1", tool="write_file", outcome="success", content="")
    await store.record(run, Additions(events=[*called, returned]))

    database = sqlite3.connect(tmp_path / "record.db")
    ledger = database.execute("SELECT call_id, outcome FROM tool_call ORDER BY call_id").fetchall()
    database.close()

    assert ledger == [("1", "success"), ("2", None)]


async def test_call_id_that_comes_twice_is_kept_once(store: Store, tmp_path: Path) -> None:
    """Providers number their calls; some do it badly."""
    run = await store.claim(draft())
    called = ToolCalled(call_id="1", tool="grep", arguments={})
    await store.record(run, Additions(events=[called, called]))
    await store.record(run, Additions(events=[called]))

    database = sqlite3.connect(tmp_path / "record.db")
    (count,) = database.execute("SELECT count(*) FROM tool_call").fetchone()
    database.close()

    assert count == 1
    assert len(await all_events(store, run.session_id)) == 5


async def test_two_processes_write_at_once_and_nothing_is_lost(url: str) -> None:
    """Each has a connection of its own; a transaction that only reads first must not collide."""
    sessions: list[str] = []

    async def work(store: Store) -> None:
        session_id = (await whole_turn(store)).session_id
        sessions.append(session_id)
        for _ in range(15):
            await whole_turn(store, session_id)

    async with open_store(url) as one, open_store(url) as other:
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(work, one)
                tasks.start_soon(work, other)
        counts = [len(await all_events(one, session_id)) for session_id in sessions]

    assert counts == [3 * 16] * 2


async def test_write_that_has_begun_is_done_although_its_caller_is_cancelled(
    store: Store,
) -> None:
    """A transaction given up in the middle could keep SQLite's one write lock."""
    run = await store.claim(draft())
    for step in range(1, 40):
        writing = asyncio.create_task(store.record(run, Additions(events=[TextDelta(content="x")])))
        await asyncio.sleep(step / 5000)
        writing.cancel()
        await asyncio.wait({writing})

    with anyio.fail_after(5):
        await store.record(run, Additions(events=[TextDelta(content="y")]))

    events = await all_events(store, run.session_id)
    assert [e.seq for e in events] == list(range(1, 2 + 39 + 1 + 1))


async def test_run_of_a_dead_process_loses_its_session(store: Store, url: str) -> None:
    dead = await claimed_by_the_dead(url)

    living = await store.claim(draft(dead.session_id))

    runs = {run.id: run for run in await store.sessions.runs(dead.session_id)}
    assert (runs[dead.id].status, runs[living.id].status) == ("interrupted", "running")
    with pytest.raises(LeaseLostError):
        await store.record(dead, Additions(events=[TextDelta(content="too late")]))


async def test_run_of_a_dead_process_keeps_what_it_had_used(store: Store, url: str) -> None:
    """It has been paid for."""
    dead = await claimed_by_the_dead(url)
    cost = Decimal("0.5")
    used = RequestUsage(input_tokens=7, output_tokens=3, cost=cost)
    called = ToolCalled(call_id="c1", tool="grep", arguments={})
    returned = ToolReturned(call_id="c1", tool="grep", outcome="success", content="")
    response = ModelResponse(parts=[TextPart("a")], usage=used)
    await store.record(dead, Additions(messages=[TURN[0], response], events=[called, returned]))

    living = await store.claim(draft(dead.session_id))

    run = next(run for run in await store.sessions.runs(dead.session_id) if run.id == dead.id)
    assert (run.requests, run.tool_calls, run.input_tokens, run.output_tokens) == (1, 1, 7, 3)
    assert run.cost == cost
    usage = living.conversation.usage
    assert (usage.requests, usage.input_tokens, usage.cost) == (1, 7, cost)


async def test_ended_run_gives_its_session_free_and_writes_no_more(store: Store) -> None:
    run = await whole_turn(store)

    assert (await store.sessions.get(run.session_id)).active_run_id is None
    with pytest.raises(LeaseLostError):
        await store.end(run, DONE, session_usage=None)


async def test_unreadable_history_is_an_error_and_stays(store: Store, tmp_path: Path) -> None:
    run = await whole_turn(store)
    database = sqlite3.connect(tmp_path / "record.db")
    database.execute("""UPDATE message SET body = '{"kind": "poem"}' WHERE seq = 2""")
    database.commit()

    with pytest.raises(HistoryUnreadableError, match=f"Message 2 of session '{run.session_id}'"):
        await store.claim(draft(run.session_id))

    count = database.execute("SELECT count(*) FROM message").fetchone()
    database.close()
    assert count == (4,)
    assert (await store.sessions.get(run.session_id)).active_run_id is None


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        ("UPDATE event SET type = 'poem' WHERE seq = 2", HistoryUnreadableError),
        ("UPDATE event SET body = '{' WHERE seq = 2", HistoryUnreadableError),
        ("UPDATE event SET body = '[]' WHERE seq = 2", HistoryUnreadableError),
        ("""UPDATE event SET body = '{"at": [9, 0]}' WHERE seq = 2""", HistoryUnreadableError),
        ("DROP TABLE event", StoreUnavailableError),
    ],
)
async def test_damaged_event_is_an_error_of_the_record(
    store: Store, tmp_path: Path, damage: str, error: type[Exception]
) -> None:
    run = await whole_turn(store)
    database = sqlite3.connect(tmp_path / "record.db")
    database.execute(damage)
    database.commit()
    database.close()

    with pytest.raises(error):
        await all_events(store, run.session_id)


async def test_damaged_message_is_an_error_of_the_record(store: Store, tmp_path: Path) -> None:
    run = await whole_turn(store)
    database = sqlite3.connect(tmp_path / "record.db")
    database.execute("UPDATE message SET body = '{' WHERE seq = 2")
    database.commit()
    database.close()

    with pytest.raises(HistoryUnreadableError, match="Message 2 of session"):
        await store.claim(draft(run.session_id))


async def test_reader_follows_a_run_from_any_number_on(store: Store) -> None:
    run = await store.claim(draft())
    seen: list[int] = []

    async def read() -> None:
        follow = store.sessions.follow(run.session_id, run_id=run.id, after=1)
        async for recorded in follow:
            seen.append(recorded.seq)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            for n in range(3):
                await store.record(run, Additions(events=[TextDelta(content=str(n))]))
            await store.end(run, DONE, session_usage=None)

    assert seen == [2, 3, 4, 5, 6]


async def test_reader_in_another_process_sees_what_is_written(url: str) -> None:
    async with open_store(url) as writer, open_store(url) as reader:
        run = await writer.claim(draft())
        await writer.end(run, DONE, session_usage=None)

        with anyio.fail_after(5):
            follow = reader.sessions.follow(run.session_id, run_id=run.id)
            last = [recorded.event async for recorded in follow][-1]

    assert last == DONE


async def test_reading_of_a_run_whose_process_died_comes_to_an_end(store: Store, url: str) -> None:
    dead = await claimed_by_the_dead(url)

    with anyio.fail_after(5):
        follow = store.sessions.follow(dead.session_id, run_id=dead.id)
        seen = [recorded.seq async for recorded in follow]

    assert seen == [1, 2]


async def test_following_what_is_not_there_is_not_found(store: Store) -> None:
    run = await store.claim(draft())

    for session_id, run_id in (("nope", run.id), (run.session_id, "nope")):
        with anyio.fail_after(5), pytest.raises(NotFoundError):
            _ = [e async for e in store.sessions.follow(session_id, run_id=run_id)]


async def test_record_that_is_locked_for_good_can_be_read_and_says_that_it_cannot_be_written(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    async with open_store(url) as store:
        run = await whole_turn(store)
        other = sqlite3.connect(tmp_path / "record.db", isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        assert len(await store.sessions.latest()) == 1
        with pytest.raises(StoreUnavailableError, match="cannot be written"):
            await store.claim(draft(run.session_id))
        other.execute("ROLLBACK")
        other.close()

        assert (await store.claim(draft(run.session_id))).session_id == run.session_id


async def test_session_stays_with_its_root(store: Store) -> None:
    run = await whole_turn(store)

    with pytest.raises(WrongRootError, match="'/r'"):
        await store.claim(draft(run.session_id, root="/elsewhere"))


async def test_unknown_session_is_not_found(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no session 'nope'"):
        await store.claim(draft("nope"))


async def test_latest_session_is_that_of_agent_and_root(store: Store) -> None:
    first = await store.claim(draft(agent="x"))
    await store.claim(draft(agent="y"))
    await store.claim(draft(agent="x", root="/other"))

    assert (await store.sessions.latest_of(agent="x", root="/r")).id == first.session_id
    with pytest.raises(NotFoundError):
        await store.sessions.latest_of(agent="z", root="/r")


async def test_record_is_readable_by_its_owner_alone(store: Store, tmp_path: Path) -> None:
    """It holds what agents have read."""
    await whole_turn(store)

    assert (tmp_path / "record.db").stat().st_mode & 0o077 == 0
