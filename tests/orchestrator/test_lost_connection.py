"""PostgreSQL that goes away: a run goes on when it is back, and nothing is lost or done twice."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, Signals

import anyio
import anyio.to_thread
import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from sqlalchemy import select, text, update
from sqlalchemy.util import await_only

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import StoreUnavailableError
from orchestrator.events import RunEnded, TextDelta
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import Settings
from orchestrator.store.additions import append
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.database import upgrade_database
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import SESSION
from orchestrator.store.writer import Transaction
from tests.orchestrator.cut import Wire, wire_to
from tests.orchestrator.played import READ, playing, record_of
from tests.postgres import Server

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")
DONE = RunEnded(status=RunStatus.SUCCEEDED, output="gone")
TURN: list[ModelMessage] = [
    ModelRequest(parts=[UserPromptPart("go")]),
    ModelResponse(parts=[TextPart("gone")]),
]


@pytest.fixture
async def wire(postgres: Server) -> AsyncIterator[tuple[Wire, str]]:
    async with wire_to(postgres.directory) as laid:
        yield laid


@pytest.fixture
async def store(wire: tuple[Wire, str], postgres_record_url: str) -> AsyncIterator[Store]:
    _, directory = wire
    async with open_store(f"{postgres_record_url.partition('?')[0]}?host={directory}") as opened:
        yield opened


async def turn(store: Store, wire: Wire, cut: str, session_id: str | None = None) -> ClaimedRun:
    """Write a whole turn; the connection is cut at one of its commits, before or after it."""
    moment, step = cut.split()

    def about_to(name: str) -> None:
        if name == step:
            wire.cut_next = "before" if moment == "before" else "after"

    about_to("claim")
    draft = RunDraft(**{**vars(DRAFT), "session_id": session_id})
    run = await store.claim(draft)
    about_to("record")
    await store.record(run, Additions(messages=TURN, events=[TextDelta(content="go")]))
    about_to("end")
    await store.end(run, DONE, session_usage=None)
    assert wire.cuts == [moment]
    return run


CUTS = [f"{moment} {step}" for moment in ("before", "after") for step in ("claim", "record", "end")]


@pytest.mark.parametrize("cut", CUTS)
async def test_commit_whose_answer_is_lost_is_found_and_not_done_twice(
    store: Store, wire: tuple[Wire, str], cut: str
) -> None:
    first = await store.claim(DRAFT)
    await store.end(first, DONE, session_usage=None)

    run = await turn(store, wire[0], cut, first.session_id)

    assert await store.sessions.messages(run.session_id) == TURN
    events = [e async for e in store.sessions.all_events(run.session_id)]
    assert [e.seq for e in events] == list(range(1, 8))
    assert [e.event.type for e in events[3:]] == [
        "run_started",
        "user_message",
        "text_delta",
        "run_ended",
    ]
    assert [r.status for r in await store.sessions.runs(run.session_id)] == ["succeeded"] * 2
    following = await store.claim(RunDraft(**{**vars(DRAFT), "session_id": run.session_id}))
    assert len(following.conversation.messages) == 2


@pytest.mark.parametrize("cut", ["before claim", "after claim"])
async def test_session_is_begun_once_although_the_answer_is_lost(
    store: Store, wire: tuple[Wire, str], cut: str
) -> None:
    run = await turn(store, wire[0], cut)

    assert [s.id for s in await store.sessions.latest()] == [run.session_id]


async def test_fork_is_made_once_although_the_answer_is_lost(
    store: Store, wire: tuple[Wire, str]
) -> None:
    run = await store.claim(DRAFT)
    await store.record(run, Additions(messages=TURN))
    await store.end(run, DONE, session_usage=None)
    wire[0].cut_next = "after"

    fork = await store.sessions.fork(run.session_id)

    assert wire[0].cuts == ["after"]
    assert {s.id for s in await store.sessions.latest()} == {fork.id, run.session_id}


STOPS = [
    pytest.param(SIGINT, marks=pytest.mark.long),
    pytest.param(SIGQUIT, marks=pytest.mark.long),
    SIGKILL,
]


async def test_what_users_do_is_done_once_although_the_answer_is_lost(
    store: Store, wire: tuple[Wire, str]
) -> None:
    laid, sessions = wire[0], store.sessions

    laid.cut_next = "after"
    made = await sessions.create("a", "/r", external_id="x")
    laid.cut_next = "after"
    state = await sessions.update_state(made.id, {"k": 1}, expected_version=0)
    laid.cut_next = "after"
    await sessions.rename(made.id, "Till")
    assert [(s.id, s.title) for s in await sessions.latest()] == [(made.id, "Till")]
    laid.cut_next = "after"
    await sessions.delete(made.id)

    assert laid.cuts == ["after"] * 4
    assert (state.values, state.version) == ({"k": 1}, 1)
    assert await sessions.latest() == []


@pytest.mark.parametrize("how", STOPS, ids=lambda how: how.name)
async def test_run_goes_on_when_postgres_is_restarted_under_it(
    project: Path, own_postgres: Server, how: Signals, caplog: pytest.LogCaptureFixture
) -> None:
    url = own_postgres.create("record")
    await upgrade_database(url)
    back = anyio.Event()

    async def restart() -> None:
        while "is tried again" not in caplog.text:
            await anyio.sleep(0.01)
        await anyio.to_thread.run_sync(own_postgres.start)
        back.set()

    async def go_on_without_it() -> None:
        await anyio.to_thread.run_sync(own_postgres.stop, how)
        tasks.start_soon(restart)

    model = playing([READ], go_on_without_it, [READ, READ], "Done.")
    settings = Settings(database_url=url)
    async with Orchestrator.open(project, connect=InProcessConnection, settings=settings) as yard:
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                result = await yard.run("repo_guide", "go", model=model)
                assert back.is_set()
        record = await record_of(yard, result.session_id)
        again = await yard.run(
            "repo_guide", "on", model=playing("ok"), session_id=result.session_id
        )

    kinds = [e.event.type for e in record if e.event.type != "text_delta"]
    assert kinds.count("tool_called") == kinds.count("tool_returned")
    assert kinds[-1] == "run_ended"
    assert [e.seq for e in record] == list(range(1, len(record) + 1))
    assert again.output == "ok "


async def test_server_that_is_away_for_long_is_an_error_for_all_who_wait_at_once(
    own_postgres: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred pieces of work must not each wait for as long again."""
    monkeypatch.setattr("orchestrator.store.postgres.RETRY_S", 0.5)
    url = own_postgres.create("record")
    await upgrade_database(url)
    async with open_store(url) as store:
        own_postgres.stop()
        with pytest.raises(StoreUnavailableError, match=r"has been away for 0\.5 s"):
            await store.sessions.latest()
        began = time.monotonic()
        claims = [asyncio.create_task(store.claim(DRAFT)) for _ in range(50)]
        errors = await asyncio.gather(*claims, return_exceptions=True)
        assert time.monotonic() - began < 10
        own_postgres.start()
        run = await store.claim(DRAFT)

        assert {type(error) for error in errors} == {StoreUnavailableError}
        assert "has been away for 0.5 s" in str(errors[0])
        assert [s.id for s in await store.sessions.latest()] == [run.session_id]


async def test_network_that_drops_everything_is_an_error_and_not_a_wait_for_ever(
    wire: tuple[Wire, str], postgres_record_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANSWER_S", "RETRY_S", "CLOSE_S"):
        monkeypatch.setattr(f"orchestrator.store.postgres.{name}", 0.5)
    laid, directory = wire
    url = f"{postgres_record_url.partition('?')[0]}?host={directory}"
    silence = r"has not answered for 0\.5 s"
    with anyio.fail_after(30):
        async with open_store(url) as store:
            run = await store.claim(DRAFT)
            laid.silent = True
            with pytest.raises(StoreUnavailableError, match=silence):
                await store.sessions.latest()
            with pytest.raises(StoreUnavailableError, match=silence):
                await store.claim(DRAFT)
            with pytest.raises(StoreUnavailableError, match=silence):
                await store.record(run, Additions(messages=TURN))
            laid.silent = False
            await store.end(run, DONE, Additions(messages=TURN), session_usage=None)
            messages = await store.sessions.messages(run.session_id)
            laid.silent = True
        with pytest.raises(StoreUnavailableError, match=f"cannot be opened: it {silence}"):
            async with open_store(url):
                pass

    assert messages == TURN


async def test_connection_that_cannot_be_closed_is_told_in_one_line(
    wire: tuple[Wire, str],
    postgres_record_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A user sees what cannot be done, and no traceback beside it."""
    monkeypatch.setattr("orchestrator.store.postgres.CLOSE_S", 0.1)
    laid, directory = wire
    async with open_store(f"{postgres_record_url.partition('?')[0]}?host={directory}") as store:
        await store.sessions.latest()
        laid.silent = True

    assert "A connection could not be closed in order" in caplog.text
    assert "Traceback" not in caplog.text


async def test_transaction_that_is_tried_again_tells_nothing_that_it_writes(
    postgres: Server, postgres_record_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    end_it = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state ~ 'in transaction'"
    tries: list[str] = []

    def interrupted_once(tx: Transaction) -> None:
        tx.connection.execute(select(SESSION.c.pk))
        tries.append(postgres.execute(end_it) if not tries else "")
        tx.connection.execute(update(SESSION).values(title="a secret"))

    async with open_store(postgres_record_url) as store:
        await store._write(interrupted_once)

    assert len(tries) == 2
    assert "A transaction is tried again" in caplog.text
    assert "secret" not in caplog.text
    assert "UPDATE" not in caplog.text


async def test_process_that_hangs_in_a_transaction_loses_its_locks_and_does_it_again(
    postgres_record_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_store(postgres_record_url) as store:
        session = await store.sessions.create("a", "/r")
        monkeypatch.setattr("orchestrator.store.postgres.IDLE_S", 0.2)
        async with open_store(postgres_record_url) as hanging:
            tries: list[str] = []

            def hang_once(tx: Transaction) -> None:
                tx.connection.execute(update(SESSION).values(title=f"try {len(tries)}"))
                tries.append("")
                if len(tries) == 1:
                    await_only(locks_are_free.wait())
                    tx.connection.execute(select(SESSION.c.pk))

            locks_are_free = anyio.Event()
            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(hanging._write, hang_once)
                    while not tries:
                        await anyio.sleep(0.01)
                    await store.sessions.rename(session.id, "mine")
                    locks_are_free.set()

        assert len(tries) == 2
        assert (await store.sessions.get(session.id)).title == "try 1"


async def test_server_is_told_when_to_give_a_connection_up(postgres_record_url: str) -> None:
    """Beneath a Unix socket PostgreSQL makes no use of the second, and says what it was told."""
    settings = ["idle_in_transaction_session_timeout", "tcp_user_timeout"]
    told = text("SELECT reset_val, unit FROM pg_settings WHERE name = ANY(:names) ORDER BY name")
    async with open_store(postgres_record_url) as store:
        found = await store._write(
            lambda tx: tx.connection.execute(told, {"names": settings}).all()
        )

    assert found == [("60000", "ms"), ("30000", "ms")]


async def test_server_that_was_never_there_is_an_error_at_once(tmp_path: Path) -> None:
    with anyio.fail_after(10), pytest.raises(StoreUnavailableError, match="cannot be opened"):
        async with open_store(f"postgresql://postgres@/record?host={tmp_path}"):
            pass


async def test_deadlock_is_resolved_by_trying_again(postgres_record_url: str) -> None:
    async with open_store(postgres_record_url) as one, open_store(postgres_record_url) as other:
        a, b = await one.claim(DRAFT), await one.claim(DRAFT)
        holds_a, holds_b = anyio.Event(), anyio.Event()

        def crossing(
            rows: tuple[ClaimedRun, ClaimedRun], mine: anyio.Event, theirs: anyio.Event
        ) -> Callable[[Transaction], None]:
            def work(tx: Transaction) -> None:
                for run in rows:
                    touch = update(SESSION).where(SESSION.c.pk == run.session_pk)
                    tx.connection.execute(touch.values(state_version=SESSION.c.state_version + 1))
                    mine.set()
                    await_only(theirs.wait())

            return work

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one._write, crossing((a, b), holds_a, holds_b))
                tasks.start_soon(other._write, crossing((b, a), holds_b, holds_a))

        versions = select(SESSION.c.state_version)
        assert await one._write(lambda tx: tx.connection.execute(versions).scalars().all()) == [
            2,
            2,
        ]


async def test_two_processes_may_write_the_same_instructions_first(
    postgres: Server, postgres_record_url: str
) -> None:
    """Those of an agent that two processes start for the first time, at once."""
    message = ModelRequest(parts=[UserPromptPart("go")], instructions="Be brief.")
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    async with open_store(postgres_record_url) as one, open_store(postgres_record_url) as other:
        run, second = await one.claim(DRAFT), await other.claim(DRAFT)

        def slowly(tx: Transaction) -> None:
            append(tx, run, Additions(messages=[message]))
            tx.flush()
            tasks.start_soon(other.record, second, Additions(messages=[message]))

            async def until_the_other_waits() -> None:
                while postgres.execute(waiting) == "0":
                    await anyio.sleep(0.01)

            await_only(until_the_other_waits())

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                await one._write(slowly)

        for session_id in (run.session_id, second.session_id):
            (found,) = await one.sessions.messages(session_id)
            assert isinstance(found, ModelRequest)
            assert found.instructions == "Be brief."
