"""Rows that are damaged: told of by session and row if possible, kept, and no harm to others."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any  # rows of all tables

import anyio
import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from sqlalchemy import update

from orchestrator.errors import (
    NotFoundError,
    OrchestratorError,
    SessionDamagedError,
    StoreUnavailableError,
)
from orchestrator.events import RunEnded, ToolCalled, ToolReturned, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.session import Page
from orchestrator.store.approvals import Answer
from orchestrator.store.claimed import Additions, RunDraft
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import SESSION
from orchestrator.store.transfer.forms import Form
from tests.orchestrator.turns import by_hand

RESULT = ToolReturnPart("t", "found", "c1")
MESSAGES: list[ModelMessage] = [
    ModelResponse(parts=[ToolCallPart("t", "{}", "c1")]),
    ModelRequest(parts=[RESULT]),
    ModelResponse(parts=[TextPart("gone")]),
]


@dataclass
class Record:
    """A record with a session that will be damaged, a fork of it, and one that is whole."""

    file: Path
    session_id: str
    fork_id: str
    whole_id: str

    @property
    def url(self) -> str:
        return f"sqlite+aiosqlite:///{self.file}"

    def damage(self, sql: str) -> None:
        """Do to the first session what no program of ours does."""
        database = sqlite3.connect(self.file)
        database.execute("PRAGMA ignore_check_constraints=ON")
        assert database.execute(sql).rowcount > 0, "nothing was damaged"
        database.commit()
        database.close()

    def rows(self) -> list[list[tuple[Any, ...]]]:
        """Return all that is on record."""
        database = sqlite3.connect(self.file)
        database.text_factory = bytes
        tables = ("session", "run", "message", "event", "tool_call", "blob")
        rows = [database.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
        database.close()
        return rows


def draft(session_id: str | None = None) -> RunDraft:
    return RunDraft(
        agent="a",
        spec_sha256="0" * 64,
        model="m",
        prompt="go",
        inputs={"k": 1},
        root="/r",
        session_id=session_id,
    )


async def turn(store: Store, session_id: str | None = None, instructions: str = "Be kind.") -> str:
    run = await store.claim(draft(session_id))
    first = ModelRequest(parts=[UserPromptPart("go")], instructions=instructions)
    await store.record(run, Additions(messages=[first, *MESSAGES[:1]]))
    events = (
        ToolCalled(call_id="c1", tool="t", arguments={}),
        ToolReturned(call_id="c1", tool="t", outcome="success", content="found"),
    )
    await store.record(run, Additions(events=events, results=[RESULT]))
    await store.record(run, Additions(messages=MESSAGES[1:]))
    ended = RunEnded(status=RunStatus.SUCCEEDED, output="gone", usage=Usage(requests=2))
    await store.end(run, ended, session_usage=None)
    return run.session_id


async def _made(file: Path) -> Record:
    async with open_store(f"sqlite+aiosqlite:///{file}") as store:
        # Its row, that of its first run and that of its instructions have the key 1.
        session_id = await turn(store, instructions="Be brief.")
        await turn(store, session_id)
        fork = await store.sessions.fork(session_id, at=4)
        return Record(file, session_id, fork.id, await turn(store))


@pytest.fixture(scope="module")
def mould(tmp_path_factory: pytest.TempPathFactory) -> Record:
    return anyio.run(_made, tmp_path_factory.mktemp("mould") / "record.db")


@pytest.fixture
def record(mould: Record, tmp_path: Path) -> Record:
    return replace(mould, file=Path(shutil.copy(mould.file, tmp_path / "record.db")))


@pytest.fixture
async def store(record: Record) -> AsyncIterator[Store]:
    async with open_store(record.url) as opened:
        yield opened


async def all_events(store: Store, session_id: str) -> list[object]:
    return [event async for event in store.sessions.all_events(session_id)]


ACTIONS: dict[str, Callable[[Store, str], Awaitable[object]]] = {
    "claim": lambda store, session_id: store.claim(draft(session_id)),
    "fork": lambda store, session_id: store.sessions.fork(session_id, at=4),
    "messages": lambda store, session_id: store.sessions.messages(session_id),
    "events": all_events,
    "runs": lambda store, session_id: store.sessions.runs(session_id),
    "get": lambda store, session_id: store.sessions.get(session_id),
    "latest": lambda store, _: store.sessions.latest(),
    "usage": lambda store, _: store.sessions.usage(),
}

HISTORY = {"claim", "fork", "messages"}
"""What cannot be done without the messages."""

OF_ROW = {"messages", "events", "runs", "get"}
"""What reads the session's row."""

S, R, M = ("UPDATE session SET", "UPDATE run SET", "UPDATE message SET")
FIRST = "WHERE session_pk = 1 AND seq ="
ONE = "WHERE pk = 1"
DAMAGES: list[tuple[str, str, set[str]]] = [
    ("usage is no JSON", f"{S} usage = '{{' WHERE pk = 1", {*OF_ROW, "claim", "fork"}),
    ("usage is of another kind", f"""{S} usage = '{{"cost": []}}' WHERE pk = 1""", {"claim"}),
    ("state is no object", f"{S} state = '5' WHERE pk = 1", {*OF_ROW, "fork"} - {"get"}),
    ("state is no JSON", f"{S} state = 'x' WHERE pk = 1", {*OF_ROW, "fork"} - {"get"}),
    ("time is none", f"{S} updated_at = 'x' WHERE pk = 1", {*OF_ROW, "fork"}),
    ("time is far away", f"{S} updated_at = 1 << 62 WHERE pk = 1", {*OF_ROW, "fork"}),
    ("title is bytes", f"{S} title = x'ff' WHERE pk = 1", {*OF_ROW, "fork"}),
    (
        "title is no UTF-8",
        f"{S} title = CAST(x'1bff' AS TEXT) WHERE pk = 1",
        {*OF_ROW, "fork", "claim"},
    ),
    ("holder is nowhere", f"{S} active_run_pk = 99 WHERE pk = 1", {"claim", "fork"}),
    ("more messages are counted", f"{S} last_message_seq = 99 WHERE pk = 1", HISTORY - {"fork"}),
    ("fewer events are counted", f"{S} last_event_seq = 1 WHERE pk = 1", {"claim"}),
    ("origin is itself", f"{S} origin_pk = 1, origin_seq = 2 WHERE pk = 1", HISTORY),
    ("window is nowhere", f"{S} window_seq = 2 WHERE pk = 1", {"claim"}),
    ("cost is none", f"{R} cost = 'x' WHERE pk = 1", {"runs"}),
    ("cost is broken", f"{R} cost = 1.5 WHERE pk = 1", {"runs"}),
    ("inputs are no JSON", f"{R} inputs = '{{' WHERE pk = 1", {"runs", "events"}),
    ("beginning is no time", f"{R} started_at = 'x' WHERE pk = 1", {"runs"}),
    ("output is nowhere", f"{R} output_seq = 99 WHERE pk = 1", {"runs"}),
    ("output is no text", f"{R} output_seq = 2 WHERE pk = 1", {"runs"}),
    ("status is none", f"{R} status = 'poem' WHERE pk = 1", set()),
    ("body is cut", f"{M} body = '{{' {FIRST} 2", {*HISTORY, "events"}),
    ("body is bytes", f"{M} body = x'ff00' {FIRST} 2", {*HISTORY, "events"}),
    ("body is no UTF-8", f"{M} body = CAST(x'7bff' AS TEXT) {FIRST} 1", HISTORY),
    ("body is a number", f"{M} body = 5 {FIRST} 1", HISTORY),
    ("body is two", f"""{M} body = body || ',' || body {FIRST} 4""", {*HISTORY, "events", "runs"}),
    ("kind is another", f"{M} kind = 'poem' {FIRST} 1", HISTORY),
    ("message is gone", f"DELETE FROM message {FIRST} 3", HISTORY),
    ("instructions are nowhere", f"{M} instructions_pk = 99 {FIRST} 1", HISTORY),
    ("instructions have no key", f"{M} instructions_pk = x'ff' {FIRST} 1", HISTORY),
    ("instructions are no text", "UPDATE blob SET content = x'ff' WHERE pk = 1", HISTORY),
    ("run has no key", f"{M} run_pk = 'x' {FIRST} 2", HISTORY),
    ("run is nowhere", f"{M} run_pk = 99 {FIRST} 1", HISTORY),
    ("result is cut", "UPDATE tool_call SET result = '{' WHERE run_pk = 1", {*HISTORY, "events"}),
    ("result is none", "UPDATE tool_call SET result = '[]' WHERE run_pk = 1", {*HISTORY, "events"}),
    (
        "result is bytes",
        "UPDATE tool_call SET result = x'ff' WHERE run_pk = 1",
        {*HISTORY, "events"},
    ),
    ("tool is bytes", "UPDATE tool_call SET tool = x'ff' WHERE run_pk = 1", {*HISTORY, "events"}),
    (
        "call has no id",
        "UPDATE tool_call SET call_id = x'ff' WHERE run_pk = 1",
        {*HISTORY, "events"},
    ),
    ("call is gone", "DELETE FROM tool_call WHERE run_pk = 1", {*HISTORY, "events"}),
    ("event has no number", f"UPDATE event SET seq = 'x' {FIRST} 3", {"events"}),
    ("event has no such number", f"UPDATE event SET seq = 1 << 62 {FIRST} 3", {"events"}),
    ("event is of no kind", f"UPDATE event SET type = 'x' {FIRST} 3", {"events"}),
    ("event is cut", f"UPDATE event SET body = '{{' {FIRST} 3", {"events"}),
    ("event is at no place", f"""UPDATE event SET body = '{{"at": 5}}' {FIRST} 3""", {"events"}),
    ("event has no time", f"UPDATE event SET at = 'x' {FIRST} 3", {"events"}),
    ("event is of no run", f"UPDATE event SET run_pk = 99 {FIRST} 3", {"events"}),
]


@pytest.mark.parametrize(("sql", "failing"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
async def test_damage_is_an_error_of_what_needs_the_row_and_of_nothing_else(
    record: Record, store: Store, sql: str, failing: set[str]
) -> None:
    record.damage(sql)
    before = record.rows()
    errors: dict[str, OrchestratorError] = {}

    for name in ("messages", "events", "runs", "get", "latest", "usage", "fork", "claim"):
        try:
            await ACTIONS[name](store, record.session_id)
        except OrchestratorError as error:
            errors[name] = error
    assert errors.keys() == failing
    if "fork" in failing and "claim" in failing:
        assert record.rows() == before
    assert await turn(store, record.whole_id)


BEYOND_READING = [
    f"{S} active_run_pk = CAST(x'ff' AS TEXT) {ONE}",
    f"{S} origin_pk = 1, origin_seq = CAST(x'ff' AS TEXT) {ONE}",
    f"{S} origin_seq = 3 {ONE}",
    f"{S} owner = CAST(x'ff' AS TEXT) {ONE}",
    f"{S} agent = x'ff', root = x'ff', external_id = x'ff' {ONE}",
    f"{S} last_message_seq = 'x', window_seq = x'ff' {ONE}",
    f"{S} created_at = 'x', state_version = 'x' {ONE}",
    f"{R} id = CAST(x'ff' AS TEXT) {ONE}",
    f"{R} lease_owner = CAST(x'ff' AS TEXT) {ONE}",
    f"{R} prompt = CAST(x'ff' AS TEXT), lease_owner = 5 {ONE}",
]


@pytest.mark.parametrize("held", [False, True], ids=["free", "held by the dead"])
@pytest.mark.parametrize("sql", [*(d[1] for d in DAMAGES), *BEYOND_READING])
async def test_whatever_of_a_session_is_damaged_it_can_be_deleted(
    record: Record, sql: str, held: bool
) -> None:
    if held:
        record.damage("UPDATE session SET active_run_pk = 1 WHERE pk = 1")
        record.damage("UPDATE run SET status = 'running', lease_owner = 'dead' WHERE pk = 1")
    record.damage(sql)

    async with open_store(record.url) as store:
        await store.sessions.delete(record.session_id)
        with pytest.raises(NotFoundError):
            await store.sessions.delete(record.session_id)

        page = await store.sessions.list()
        assert [session.id for session in page.sessions] == [record.whole_id, record.fork_id]
        assert not page.damaged
        assert len(await store.sessions.messages(record.whole_id)) == 4
    with closing(sqlite3.connect(record.file)) as database:
        assert database.execute("SELECT count(*) FROM event WHERE session_pk = 1").fetchone() == (
            0,
        )


@pytest.mark.parametrize("seq", ["'x'", "x'ff'", "CAST(x'ff' AS TEXT)"])
async def test_fork_that_is_damaged_keeps_what_it_may_share(record: Record, seq: str) -> None:
    record.damage(f"{S} origin_seq = {seq} WHERE id = '{record.fork_id}'")

    async with open_store(record.url) as store:
        await store.sessions.delete(record.session_id)

    record.damage(f"{S} origin_seq = 4 WHERE id = '{record.fork_id}'")
    async with open_store(record.url) as store:
        assert len(await store.sessions.messages(record.fork_id)) == 4


async def test_fork_of_an_origin_that_is_only_marked_deleted_can_be_deleted(
    record: Record, store: Store
) -> None:
    record.damage("UPDATE session SET deleted_at = 1 WHERE pk = 1")

    await store.sessions.delete(record.fork_id)

    assert [session.id for session in await store.sessions.latest()] == [record.whole_id]
    with closing(sqlite3.connect(record.file)) as database:
        assert database.execute("SELECT count(*) FROM session").fetchone() == (1,)


@pytest.mark.parametrize("no_id", ["x'ff'", "CAST(x'ff' AS TEXT)", "''"])
async def test_delegate_whose_id_is_none_is_deleted_with_the_session_it_works_for(
    record: Record, store: Store, no_id: str
) -> None:
    whole = f"WHERE id = '{record.whole_id}'"
    record.damage(f"{R} parent_pk = 1 WHERE session_pk = (SELECT pk FROM session {whole})")
    record.damage(f"{S} id = {no_id} {whole}")

    await store.sessions.delete(record.session_id)

    assert [session.id for session in await store.sessions.latest()] == [record.fork_id]
    assert not (await store.sessions.list()).damaged


async def test_two_sessions_that_are_forks_of_one_another_can_be_deleted(record: Record) -> None:
    record.damage(f"{S} origin_pk = 2, origin_seq = 2 WHERE pk = 1")

    async with open_store(record.url) as store:
        await store.sessions.delete(record.session_id)
        await store.sessions.delete(record.fork_id)

        assert [s.id for s in await store.sessions.latest()] == [record.whole_id]


async def test_damaged_name_of_a_process_hides_no_session(record: Record) -> None:
    record.damage("UPDATE session SET active_run_pk = 1 WHERE pk = 1")
    for name in ("CAST(x'ff' AS TEXT)", "x'00'", "'../../etc/passwd'", "'/'", "5", "''"):
        record.damage(f"{R} status = 'running', lease_owner = {name} WHERE pk = 1")

        async with open_store(record.url) as store:
            assert len((await store.sessions.list()).sessions) == 3


HIDING = {
    "usage": "usage = '{'",
    "kind of usage": "usage = '[]'",
    "time": "updated_at = 'x'",
    "far time": "updated_at = 1 << 62",
    "title": "title = x'ff'",
    "letters": "title = CAST(x'1b5b324aff' AS TEXT)",
    "root": "root = x'ff'",
    "count": "last_event_seq = 'x'",
}


@pytest.mark.parametrize("change", HIDING.values(), ids=HIDING)
async def test_damaged_session_hides_no_other_and_is_named(
    record: Record, store: Store, change: str
) -> None:
    record.damage(f"{S} {change} WHERE pk = 1")
    whole = [record.whole_id, record.fork_id]

    everything = await store.sessions.list()
    pages: list[Page] = []
    cursor = None
    while not pages or cursor is not None:
        pages.append(await store.sessions.list(limit=1, cursor=cursor))
        cursor = pages[-1].cursor

    assert [session.id for session in everything.sessions] == whole
    assert [session.id for session in everything.damaged] == [record.session_id]
    assert [s.id for page in pages for s in page.sessions] == whole
    assert [s.id for page in pages for s in page.damaged] == [record.session_id]
    with pytest.raises(SessionDamagedError, match=record.session_id) as caught:
        await store.sessions.get(record.session_id)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in everything.damaged[0].problem


NO_IDS = ["CAST(x'61ff' AS TEXT)", "x'61'", "x'ff'", "'é'", "''", "CAST(x'1b5b324a' AS TEXT)"]


@pytest.mark.parametrize("no_id", NO_IDS)
async def test_session_whose_id_is_none_is_named_by_its_row_and_can_be_deleted(
    record: Record, store: Store, no_id: str
) -> None:
    record.damage(f"{S} id = {no_id} WHERE pk = 1")

    page = await store.sessions.list()
    (name,) = {session.id for session in page.damaged} - {record.fork_id}
    assert name == "row:1"
    assert record.whole_id in [session.id for session in page.sessions]
    for ask in (store.sessions.get(name), store.sessions.messages(name), all_events(store, name)):
        with pytest.raises(SessionDamagedError, match="'workyard sessions delete row:1'"):
            await ask
    with pytest.raises(NotFoundError):
        await store.sessions.of("bob").delete(name)
    await store.sessions.delete(name)

    # What the fork shares is there, and nothing of the damage.
    assert len(await store.sessions.messages(record.fork_id)) == 4
    page = await store.sessions.list()
    assert [session.id for session in page.sessions] == [record.whole_id, record.fork_id]
    assert not page.damaged


@pytest.mark.parametrize("no_id", NO_IDS)
async def test_run_of_a_session_whose_id_is_none_says_so(
    record: Record, store: Store, no_id: str
) -> None:
    (first, _) = await store.sessions.runs(record.session_id)
    record.damage(f"{S} id = {no_id} {ONE}")

    with pytest.raises(SessionDamagedError, match="'row:1' is damaged"):
        await store.sessions.run(first.id)


async def test_session_that_has_an_id_has_no_other_name(record: Record, store: Store) -> None:
    for name in ("row:1", "row:01", "row:99", "row:", "row:-1", "row:" + "9" * 30, "ROW:1"):
        for ask in (store.sessions.get(name), store.sessions.delete(name)):
            with pytest.raises(NotFoundError):
                await ask


async def test_session_in_postgres_whose_id_is_none_can_be_deleted(
    postgres_record_url: str,
) -> None:
    async with open_store(postgres_record_url) as store:
        for no_id in ("", "é"):
            session_id = await turn(store)
            await by_hand(store, update(SESSION).where(SESSION.c.id == session_id).values(id=no_id))
            (damaged,) = (await store.sessions.list()).damaged

            assert damaged.id.startswith("row:")
            await store.sessions.delete(damaged.id)
            assert not (await store.sessions.list()).damaged


NO_NUMBERS = ("x'61'", "'x'", "CAST(x'ff' AS TEXT)")
NUMBERS = ("origin_seq", "window_seq", "active_run_pk", "last_event_seq", "last_message_seq")


@pytest.mark.parametrize("column", [*NUMBERS, "state_version"])
@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_what_is_no_number_is_an_error_of_the_record_and_none_of_the_program(
    record: Record, store: Store, column: str, value: str
) -> None:
    record.damage(f"{S} {column} = {value} WHERE id = '{record.fork_id}'")

    for ask in ACTIONS.values():
        with suppress(StoreUnavailableError):
            await ask(store, record.fork_id)
    with pytest.raises(StoreUnavailableError):
        await store.sessions.get(record.fork_id)
    assert await turn(store, record.whole_id)


OF_RUN = ("id", "status", "agent", "prompt", "inputs", "requests", "output_seq", "error_text")


@pytest.mark.parametrize("column", [*OF_RUN, "first_message_seq", "parent_pk"])
@pytest.mark.parametrize("value", NO_NUMBERS)
async def test_run_that_holds_what_it_cannot_is_an_error_of_the_record_and_none_of_the_program(
    record: Record, store: Store, column: str, value: str
) -> None:
    (first, _) = await store.sessions.runs(record.session_id)
    record.damage(f"{R} {column} = {value} {ONE}")

    for ask in (
        store.sessions.run(first.id),
        store.sessions.recorded_run(first.id),
        store.sessions.answer(first.id, Answer(is_approved=True, by="sam")),
        exported(store, record.session_id),
    ):
        with suppress(OrchestratorError):
            await ask
    assert await turn(store, record.whole_id)


async def exported(store: Store, session_id: str, form: Form = "jsonl") -> list[str]:
    return [piece async for piece in store.sessions.export(session_id, form)]


@pytest.mark.parametrize("form", ["jsonl", "messages", "markdown"])
@pytest.mark.parametrize("sql", [*(d[1] for d in DAMAGES), f"{S} external_id = x'61' {ONE}"])
async def test_export_of_what_is_damaged_is_whole_or_an_error_of_the_record(
    record: Record, store: Store, sql: str, form: Form
) -> None:
    record.damage(sql)

    with suppress(OrchestratorError):
        await exported(store, record.session_id, form)
    assert await exported(store, record.whole_id, form)


async def test_no_older_session_goes_on_in_place_of_a_damaged_one(
    record: Record, store: Store
) -> None:
    record.damage(f"{S} usage = '{{' WHERE id = '{record.whole_id}'")

    with pytest.raises(SessionDamagedError, match=record.whole_id):
        await store.sessions.latest_of(agent="a", root="/r")


@pytest.mark.parametrize("sql", [d[1] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
async def test_record_with_a_damaged_session_is_opened_and_the_others_go_on(
    record: Record, sql: str
) -> None:
    record.damage("UPDATE session SET active_run_pk = 1 WHERE pk = 1")
    record.damage("UPDATE run SET status = 'running', lease_owner = 'dead' WHERE pk = 1")
    (record.file.parent / "record.db-holders").mkdir(exist_ok=True)
    (record.file.parent / "record.db-holders" / "dead").touch()
    record.damage(sql)

    async with open_store(record.url) as store:
        assert await turn(store, record.whole_id)
        assert await turn(store)
