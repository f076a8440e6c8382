"""A run is its process's while that lives, and nobody's at once when it has died."""

import os
import signal
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio
import pytest
from pydantic_ai.messages import (
    ModelResponse,
    TextPart,
)

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    HistoryUnreadableError,
    LeaseLostError,
    SessionBusyError,
    StoreUnavailableError,
)
from orchestrator.events import RunEnded, TextDelta
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import Settings
from orchestrator.store import additions, ending, runs
from orchestrator.store.claimed import Additions
from orchestrator.store.database import upgrade_database
from orchestrator.store.store import Store, open_store
from tests.orchestrator.doomed import draft, fork, hold
from tests.orchestrator.played import playing
from tests.postgres import Server

Passing = Callable[[], object]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


@pytest.fixture
def sqlite_url(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
async def url(request: pytest.FixtureRequest) -> str:
    found: str = request.getfixturevalue(request.param)
    await upgrade_database(found)
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


@dataclass
class Holder:
    """A process that holds a run."""

    process: ForkServerProcess
    line: Connection
    session_id: str

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def write(self) -> None:
        """Ask it to write something."""
        self.line.send("some text")

    def answer(self) -> str:
        """Return what came of it: `written`, or the name of an error."""
        assert self.line.poll(10)
        said: str = self.line.recv()
        return said


@contextmanager
def holding(url: str) -> Iterator[Holder]:
    process, line = fork(hold, url)
    holder = Holder(process, line, session_id="")
    try:
        holder.session_id = holder.answer()
        yield holder
    finally:
        holder.kill()
        line.close()


def holders(file: Path) -> list[str]:
    directory = file.with_name(file.name + "-holders")
    return sorted(os.listdir(directory)) if directory.exists() else []


async def statuses(store: Store, session_id: str) -> list[str]:
    return [run.status for run in await store.sessions.runs(session_id)]


async def running(store: Store) -> set[str]:
    sessions = await store.sessions.latest()
    return {session.id for session in sessions if session.status == "running"}


@pytest.fixture
def passing(url: str, request: pytest.FixtureRequest) -> Passing:
    """Return what lets the time pass in which a process renews its leases, where there are any."""
    if url.startswith("sqlite"):
        return lambda: None
    server: Server = request.getfixturevalue("postgres")
    past = "UPDATE run SET lease_until = now() - interval '1 second' WHERE status = 'running'"
    database = url.partition("@/")[2].partition("?")[0]
    return lambda: server.execute(past, database)


async def test_killed_process_loses_its_run_at_once(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        with holding(sqlite_url) as holder:
            with pytest.raises(SessionBusyError):
                await store.claim(draft(holder.session_id))
            holder.kill()

            await store.claim(draft(holder.session_id))

        assert await statuses(store, holder.session_id) == ["interrupted", "running"]


async def test_process_that_is_stopped_for_a_while_keeps_its_run(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        with holding(sqlite_url) as holder:
            os.kill(holder.process.pid or 0, signal.SIGSTOP)
            with pytest.raises(SessionBusyError):
                await store.claim(draft(holder.session_id))
            holder.write()
            os.kill(holder.process.pid or 0, signal.SIGCONT)

            assert holder.answer() == "written"


@pytest.mark.parametrize("url", ["postgres_url"], indirect=True)
async def test_process_whose_lease_has_lapsed_notices_and_writes_no_more(
    url: str, passing: Passing
) -> None:
    async with open_store(url) as store:
        with holding(url) as holder:
            os.kill(holder.process.pid or 0, signal.SIGSTOP)
            with pytest.raises(SessionBusyError):
                await store.claim(draft(holder.session_id))
            passing()
            await store.claim(draft(holder.session_id))
            seen = [e.event async for e in store.sessions.all_events(holder.session_id)]
            holder.write()
            os.kill(holder.process.pid or 0, signal.SIGCONT)

            assert holder.answer() == "LeaseLostError"
            after = [e.event async for e in store.sessions.all_events(holder.session_id)]
            assert after == seen


@pytest.mark.parametrize("url", ["postgres_url"], indirect=True)
async def test_lapsed_lease_that_nobody_has_taken_can_be_renewed(
    store: Store, url: str, passing: Passing
) -> None:
    run = await store.claim(draft())
    passing()
    await store.renew()

    async with open_store(url) as other:
        with pytest.raises(SessionBusyError):
            await other.claim(draft(run.session_id))


@pytest.mark.parametrize("url", ["postgres_url"], indirect=True)
async def test_lease_that_others_have_taken_cannot_be_renewed_and_the_run_is_to_stop(
    store: Store, url: str, passing: Passing
) -> None:
    run = await store.claim(draft())
    passing()
    async with open_store(url) as other:
        assert await statuses(other, run.session_id) == ["interrupted"]
        await store.renew()

        assert await store.to_stop() == {run.pk}
        with pytest.raises(LeaseLostError):
            await store.give_up(run, RunEnded(status=RunStatus.FAILED))
        assert await statuses(other, run.session_id) == ["interrupted"]


async def test_run_whose_process_lives_is_not_to_stop(store: Store) -> None:
    run = await store.claim(draft())

    assert await store.to_stop() == set()
    await store.end(run, RunEnded(status=RunStatus.SUCCEEDED), session_usage=None)
    assert await store.to_stop() == set()


class Shifted(datetime):
    """A clock that somebody has set."""

    by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + cls.by


@pytest.mark.parametrize("days", [-400, 400])
async def test_clock_that_is_set_takes_no_run_for_dead_and_keeps_none_alive(
    store: Store,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    passing: Passing,
    days: int,
) -> None:
    living = await store.claim(draft())
    with holding(url) as dead:
        for module in (additions, ending, runs):
            monkeypatch.setattr(module, "datetime", Shifted)
        monkeypatch.setattr(Shifted, "by", timedelta(days=days))
        async with open_store(url) as other:
            for session_id in (living.session_id, dead.session_id):
                with pytest.raises(SessionBusyError):
                    await other.claim(draft(session_id))
            await store.record(living, Additions(events=[TextDelta(content="on")]))
            dead.kill()
            passing()
            await store.renew()

            later = await other.claim(draft(dead.session_id))
            with pytest.raises(SessionBusyError):
                await other.claim(draft(living.session_id))
            await store.end(living, RunEnded(status=RunStatus.SUCCEEDED), session_usage=None)

            events = [e async for e in other.sessions.all_events(dead.session_id)]
            assert [e.event.type for e in events] == [
                "run_started",
                "user_message",
                "run_ended",
                "run_started",
                "user_message",
            ]
            assert (await other.sessions.runs(dead.session_id))[-1].id == later.id
            assert await statuses(other, living.session_id) == ["succeeded"]


async def test_record_that_is_opened_marks_the_runs_of_the_dead(url: str, passing: Passing) -> None:
    with holding(url) as holder:
        holder.kill()
    passing()

    async with open_store(url) as store:
        session = await store.sessions.get(holder.session_id)
        events = [e.event async for e in store.sessions.all_events(holder.session_id)]
        assert await statuses(store, holder.session_id) == ["interrupted"]

    assert session.active_run_id is None
    assert isinstance(events[-1], RunEnded)
    assert events[-1].error_code == "interrupted"


async def test_session_of_the_dead_is_not_said_to_be_running(
    store: Store, url: str, passing: Passing
) -> None:
    """Also by who does not write."""
    living = await store.claim(draft())
    with holding(url) as holder:
        assert await running(store) == {living.session_id, holder.session_id}
    passing()
    await store.renew()

    assert await running(store) == {living.session_id}


async def test_sign_of_a_process_goes_with_its_last_run(sqlite_url: str, file: Path) -> None:
    async with open_store(sqlite_url) as store:
        assert holders(file) == []
        run = await store.claim(draft())
        assert len(holders(file)) == 1
        await store.end(run, RunEnded(status=RunStatus.SUCCEEDED), session_usage=None)

    assert holders(file) == []


async def test_process_that_leaves_a_run_leaves_its_sign(sqlite_url: str, file: Path) -> None:
    async with open_store(sqlite_url) as store:
        await store.claim(draft())

    assert len(holders(file)) == 1


async def test_sign_of_the_dead_stays_until_their_runs_are_marked(
    sqlite_url: str, file: Path
) -> None:
    for _ in range(3):
        with holding(sqlite_url):
            pass
        async with open_store(sqlite_url):  # marks that one, and removes the signs before it
            assert len(holders(file)) == 1
    async with open_store(sqlite_url):
        pass

    assert holders(file) == []


async def test_unreadable_run_of_the_dead_does_not_keep_the_record_from_opening(
    sqlite_url: str, file: Path
) -> None:
    async with open_store(sqlite_url) as store:
        dead = await store.claim(draft())
        answer = ModelResponse(parts=[TextPart("hi")])
        await store.record(dead, Additions(messages=[answer]))
    with sqlite3.connect(file) as database:
        database.execute("UPDATE message SET body = '{}'")
    database.close()

    async with open_store(sqlite_url) as store:
        with pytest.raises(HistoryUnreadableError):
            await store.claim(draft(dead.session_id))
        assert await statuses(store, dead.session_id) == ["running"]
        assert await running(store) == set()


async def test_run_that_cannot_be_written_to_its_end_is_ended_as_soon_as_that_is_possible(
    project: Path, sqlite_url: str, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.sqlite.BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("orchestrator.runner.LOOK_S", 0.05)
    settings = Settings(data_dir=tmp_path, state_dir=tmp_path / "state", database_url=sqlite_url)
    blocking = sqlite3.connect(file, isolation_level=None)
    going_on = anyio.Event()
    async with Orchestrator.open(project, settings=settings, connect=InProcessConnection) as yard:
        handle = await yard.start("repo_guide", "go", model=playing(going_on.wait))
        blocking.execute("BEGIN EXCLUSIVE")
        going_on.set()
        with anyio.fail_after(10), pytest.raises(StoreUnavailableError):
            await handle.result()
        session = await yard.sessions.get(handle.claimed.session_id)
        assert session.active_run_id is not None
        blocking.execute("ROLLBACK")
        blocking.close()

        with anyio.fail_after(10):
            while (await yard.sessions.get(session.id)).active_run_id is not None:
                await anyio.sleep(0.01)
        run = (await yard.sessions.runs(session.id))[0]

    assert (run.status, run.error_code) == ("failed", "store_unavailable")
    assert holders(file) == []
