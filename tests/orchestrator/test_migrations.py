"""A record outlives the program that made it: every older one opens, whole, or stays as it was."""

import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any  # what JSON holds

import anyio
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from pydantic_ai.messages import ModelRequest, UserPromptPart
from sqlalchemy import Connection, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.catalogue import Catalogue
from orchestrator.definitions.definitions import Definitions
from orchestrator.errors import HistoryUnreadableError, StoreUnavailableError
from orchestrator.events import RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.store.access import Access
from orchestrator.store.arrivals import Arrivals
from orchestrator.store.claimed import Additions, RunDraft
from orchestrator.store.database import database_revisions, open_database, upgrade_database
from orchestrator.store.migrations import migrate
from orchestrator.store.schema import SCHEMA, Revisions, upgrade
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import open_store
from orchestrator.store.tables import Table
from tests.orchestrator.first_schema import (
    make_file,
    make_in_postgres,
    what_is_read,
    what_was_read,
    without_keys,
)
from tests.postgres import Server

KNOWN = Revisions(None).known


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "record.db"


async def read(url: str) -> dict[str, Any]:
    """Return what is on record, before the runs of the dead are marked."""
    async with open_database(url) as database:
        access = Access(database.reading, database.read, database.writer)
        sessions = Sessions(access, Arrivals(), database.liveness)
        return without_keys(await what_is_read(sessions))


async def within(url: str, work: Callable[[Connection], Any]) -> Any:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        result = await connection.run_sync(work)
    await engine.dispose()
    return result


async def test_record_of_the_first_schema_reads_as_it_did(file: Path) -> None:
    assert await read(make_file(file)) == without_keys(what_was_read())


async def test_record_of_the_first_schema_reads_as_it_did_on_postgres(
    postgres_url: str, tmp_path: Path
) -> None:
    await make_in_postgres(postgres_url, tmp_path / "rows.db")

    assert await upgrade_database(postgres_url) == Revisions("0001")
    assert await read(postgres_url) == without_keys(what_was_read(by_postgres=True))


@pytest.fixture(params=["sqlite", "postgres"])
async def old_url(request: pytest.FixtureRequest, file: Path) -> str:
    """Return the address of a record of the first schema that `open_store` takes."""
    if request.param == "sqlite":
        return make_file(file)
    url: str = request.getfixturevalue("postgres_url")
    await make_in_postgres(url, file.with_name("rows.db"))
    await upgrade_database(url)
    return url


async def test_run_of_the_first_schema_that_was_under_way_is_marked_interrupted(
    old_url: str,
) -> None:
    """No process of an older program can go on with it: the tables are others."""
    async with open_store(old_url) as store:
        statuses = [
            run.status
            for session in await store.sessions.latest()
            for run in await store.sessions.runs(session.id)
        ]

    assert (statuses.count("running"), statuses.count("interrupted")) == (0, 2)


async def test_sessions_of_the_first_schema_go_on(old_url: str) -> None:
    """What comes next is numbered on."""
    message = ModelRequest(parts=[UserPromptPart("go on")], instructions="Said for the first time.")
    async with open_store(old_url) as store:
        before = await what_is_read(store.sessions)
        for session_id, was in [*before.items(), (None, None)]:
            root = was["session"]["root"] if was else "/new"
            run = await store.claim(draft(session_id, root))
            await store.record(run, Additions(messages=[message]))

            runs = await store.sessions.runs(run.session_id)
            messages = await store.sessions.messages(run.session_id)
            assert [row.id for row in runs if row.status == "running"] == [run.id]
            assert runs[-1].first_message_seq == len(messages)
            assert len(messages) == (len(was["messages"]) if was else 0) + 1


def draft(session_id: str | None, root: str) -> RunDraft:
    said: dict[str, Any] = {"spec_sha256": "0" * 64, "model": "m", "prompt": "go on", "root": root}
    return RunDraft(agent="a", inputs={}, session_id=session_id, **said)


async def test_ledger_of_the_first_schema_gets_the_results(file: Path) -> None:
    """A run that goes on from them must not make a call again whose result is known."""
    await upgrade_database(make_file(file))

    database = sqlite3.connect(file)
    query = "SELECT result FROM tool_call WHERE (result IS NULL) <> (outcome IS NULL)"
    assert database.execute(query).fetchall() == []
    query = "SELECT result FROM tool_call WHERE call_id = 'c1' ORDER BY run_pk"
    results = [json.loads(text)["content"] for (text,) in database.execute(query)]
    assert results == ["bytes: \x00 é \ud802", {"rows": [1, 2]}]
    query = (
        "SELECT run.id FROM run JOIN message ON message.run_pk = run.pk "
        "GROUP BY run.pk HAVING min(message.seq) <> run.first_message_seq"
    )
    assert database.execute(query).fetchall() == []
    database.close()


async def test_runs_of_the_second_schema_can_wait(file: Path) -> None:
    """The text of SQLite's table is written anew by a process that has not made the table."""
    url = make_file(file)
    engine = create_engine(f"sqlite:///{file}")
    with engine.begin() as connection:
        migrate(connection, "0001", "0002")
        connection.exec_driver_sql("PRAGMA user_version = 2")
    engine.dispose()

    async with open_store(url) as store:
        run = await store.claim(draft(None, "/new"))
        ended = RunEnded(status=RunStatus.WAITING)
        await store.end(run, ended, Additions(), session_usage=None)

        (row,) = await store.sessions.runs(run.session_id)
        assert row.status == "waiting"
        assert {*await what_is_read(store.sessions)} == {*what_was_read(), run.session_id}
    with sqlite3.connect(file) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        with pytest.raises(sqlite3.IntegrityError, match="ck_run_status"):
            database.execute("UPDATE run SET status = 'asleep'")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_record_of_the_third_schema_takes_definitions(
    kind: str, file: Path, request: pytest.FixtureRequest
) -> None:
    """What is on record stays as it was, row for row."""
    if kind == "sqlite":
        url = make_file(file)
        engine = create_engine(f"sqlite:///{file}")
        with engine.begin() as connection:
            migrate(connection, "0001", "0003")
            connection.exec_driver_sql("PRAGMA user_version = 3")
        engine.dispose()
        before = what_was_read()
    else:
        url = request.getfixturevalue("postgres_url")
        await make_in_postgres(url, file.with_name("rows.db"))
        await within(url, lambda connection: migrate(connection, "0001", "0003"))
        assert await upgrade_database(url) == Revisions("0003")
        before = what_was_read(by_postgres=True)

    assert await read(url) == without_keys(before)
    async with open_store(url) as store:
        values = {"name": "notes", "description": "d", "instructions": "x"}
        made = await Definitions(store.access, Catalogue(())).create(values)
        assert made.origin.version == 1


async def test_what_could_not_be_read_stays_and_harms_no_other_session(file: Path) -> None:
    url = make_file(file)
    database = sqlite3.connect(file)
    broken = database.execute("SELECT session_id FROM message WHERE seq = 3").fetchone()[0]
    database.execute("UPDATE message SET body = '{\"half' WHERE session_id = ?", (broken,))
    database.execute("UPDATE event SET meta = '[1' WHERE session_id = ? AND seq = 2", (broken,))
    database.commit()
    database.close()

    async with open_store(url) as store:
        with pytest.raises(HistoryUnreadableError, match="Message 1"):
            await store.sessions.messages(broken)
        with pytest.raises(HistoryUnreadableError, match="Event 2"):
            await store.sessions.events(broken)
        for session_id, was in what_was_read().items():
            if session_id != broken:
                assert len(await store.sessions.messages(session_id)) == len(was["messages"])
    bodies = sqlite3.connect(file).execute("SELECT count(*) FROM message WHERE body = '{\"half'")
    assert bodies.fetchone()[0] == len(what_was_read()[broken]["messages"])


def tables_of(connection: Connection) -> set[tuple[Any, ...]]:
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master"
    return {tuple(row) for row in connection.exec_driver_sql(query)}


def test_migrated_file_has_the_tables_of_a_new_one(file: Path) -> None:
    make_file(file)
    old = create_engine(f"sqlite:///{file}")
    with old.begin() as connection:
        migrate(connection, "0001", "head")
        migrated = tables_of(connection)
    old.dispose()

    new = create_engine("sqlite://")
    with new.begin() as connection:
        upgrade(connection)
        assert tables_of(connection) == migrated
    new.dispose()


async def test_migrated_postgres_has_the_tables_of_a_new_one(
    postgres: Server, postgres_url: str
) -> None:
    made = postgres.create("made_at_once")
    await upgrade_database(made)

    await within(postgres_url, lambda connection: migrate(connection, "base", "head"))

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), Table.metadata))

    assert await within(postgres_url, differences) == []
    migrated = str(make_url(postgres_url).database)
    assert postgres.dump_schema(migrated) == postgres.dump_schema("made_at_once")
    postgres.drop("made_at_once")


OPENER = """
import asyncio, sys
from orchestrator.store.database import open_database

async def main() -> None:
    print("ready", flush=True)
    sys.stdin.readline()
    async with open_database(sys.argv[1]) as database, database.reading.connect() as connection:
        found = await connection.exec_driver_sql("SELECT count(run_pk) FROM message")
        print(found.scalar())

asyncio.run(main())
"""


def test_one_of_many_processes_upgrades_and_the_others_wait(file: Path) -> None:
    command = [sys.executable, "-c", OPENER, make_file(file)]
    pipe = subprocess.PIPE
    openers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for opener in openers:
        assert opener.stdout is not None
        assert opener.stdout.readline() == "ready\n"
    said = [opener.communicate("go\n")[0] for opener in openers]

    messages = sum(len(told["messages"]) for told in what_was_read().values())
    assert said == [f"{messages}\n"] * 3


# It ends itself before a statement of the given number, as nothing can be done about.
DOOMED = """
import asyncio, os, signal, sys
from sqlalchemy import Engine, event
from orchestrator.store.database import upgrade_database

left = int(sys.argv[2])

@event.listens_for(Engine, "before_cursor_execute")
def count(*_: object) -> None:
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(upgrade_database(sys.argv[1]))
print(left)
"""


def doomed(url: str, statement: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", DOOMED, url, str(statement)]
    return subprocess.run(command, capture_output=True, text=True)


async def test_kill_in_the_middle_leaves_the_old_record_whole(tmp_path: Path) -> None:
    whole = 10_000 - int(doomed(make_file(tmp_path / "whole.db"), 10_000).stdout)
    assert whole > 60, "it has not migrated"
    for statement in (whole // 3, whole - 20, whole):
        file = tmp_path / f"{statement}.db"
        url = make_file(file)
        before = list(sqlite3.connect(file).iterdump())

        assert doomed(url, statement).returncode == -9

        assert list(sqlite3.connect(file).iterdump()) == before
        assert await read(url) == without_keys(what_was_read())


async def test_kill_in_the_middle_leaves_the_old_record_of_postgres_whole(
    postgres: Server, postgres_url: str, tmp_path: Path
) -> None:
    await make_in_postgres(postgres_url, tmp_path / "rows.db")

    assert doomed(postgres_url, 70).returncode == -9

    assert await database_revisions(postgres_url) == Revisions("0001")
    assert await upgrade_database(postgres_url) == Revisions("0001")
    assert await read(postgres_url) == without_keys(what_was_read(by_postgres=True))


async def test_only_one_upgrade_at_a_time_changes_a_postgres(
    postgres_url: str, tmp_path: Path
) -> None:
    await make_in_postgres(postgres_url, tmp_path / "rows.db")
    before: list[str | None] = []

    async def upgraded() -> None:
        before.append((await upgrade_database(postgres_url)).found)

    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(upgraded)

    assert sorted(map(str, before)) == ["0001", KNOWN, KNOWN, KNOWN]


async def opening_says(url: str) -> str:
    with pytest.raises(StoreUnavailableError) as caught:
        async with open_store(url):
            pass
    return str(caught.value)


async def test_postgres_waits_for_its_operator(postgres_url: str, tmp_path: Path) -> None:
    empty = "The database holds no record yet; `workyard db upgrade` makes one."
    assert await opening_says(postgres_url) == empty

    await make_in_postgres(postgres_url, tmp_path / "rows.db")
    assert await opening_says(postgres_url) == (
        f"The record is at revision 0001, and this Workyard needs {KNOWN}; "
        "run `workyard db upgrade`."
    )


NEWER = re.compile(rf"at revision 9999, of a newer Workyard; this one knows {KNOWN}")


async def test_newer_record_is_refused_by_both_revisions_and_left_alone(
    file: Path, postgres_url: str
) -> None:
    newer = "UPDATE alembic_version SET version_num = '9999'"
    await upgrade_database(f"sqlite+aiosqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        database.executescript(f"PRAGMA user_version = 9999; {newer}")
    await upgrade_database(postgres_url)
    await within(postgres_url, lambda connection: connection.exec_driver_sql(newer))

    for url in (f"sqlite+aiosqlite:///{file}", postgres_url):
        assert NEWER.search(await opening_says(url))
        with pytest.raises(StoreUnavailableError, match=NEWER):
            await upgrade_database(url)
        assert (await database_revisions(url)).found == "9999"


OTHERS = {
    "a hash": "UPDATE alembic_version SET version_num = '1975ea83b712'",
    "a hash of digits": "UPDATE alembic_version SET version_num = '197583712000'",
    "no revision": "DELETE FROM alembic_version",
    "none of our tables": "DROP TABLE tool_call",
    "none of our tables, and older": """DROP TABLE tool_call;
        UPDATE alembic_version SET version_num = '0001'; PRAGMA user_version = 1""",
    "another number": "PRAGMA user_version = 1",
    "no number": "PRAGMA user_version = 0",
    "a number below": "PRAGMA user_version = -1",
    "a number alone": "DROP TABLE alembic_version",
    "a number above, alone": "DROP TABLE alembic_version; PRAGMA user_version = 7",
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
async def test_file_of_another_program_is_refused_and_left_alone(file: Path, change: str) -> None:
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade_database(url)
    with closing(sqlite3.connect(file)) as database:
        database.executescript(change)
        before = [*database.iterdump()]

    assert "belongs to another program" in await opening_says(url)
    for work in (upgrade_database, database_revisions):
        with pytest.raises(StoreUnavailableError, match="belongs to another program"):
            await work(url)
    with closing(sqlite3.connect(file)) as database:
        assert [*database.iterdump()] == before


@pytest.mark.parametrize("change", [*OTHERS.values()][:4], ids=[*OTHERS][:4])
async def test_database_of_another_program_is_refused(postgres_url: str, change: str) -> None:
    await upgrade_database(postgres_url)
    await within(postgres_url, lambda connection: connection.exec_driver_sql(change))

    assert "belongs to another program" in await opening_says(postgres_url)


async def test_older_programs_refuse_what_this_one_has_written(file: Path) -> None:
    """They look at `user_version`, and know nothing of revisions."""
    make_file(file)
    for one in (file, file.with_name("new.db")):
        async with open_store(f"sqlite+aiosqlite:///{one}"):
            pass
        database = sqlite3.connect(one)
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA,)
        assert database.execute("SELECT * FROM alembic_version").fetchall() == [(KNOWN,)]
        database.close()


async def test_record_that_cannot_be_carried_over_stays_as_it_is(file: Path) -> None:
    url = make_file(file)
    database = sqlite3.connect(file)
    database.execute("UPDATE run SET started_at = 'yesterday'")
    database.commit()
    before = list(database.iterdump())
    database.close()

    assert "damaged and stays at revision 0001" in await opening_says(url)
    assert list(sqlite3.connect(file).iterdump()) == before


OPENED_TWICE = """
import asyncio, sys
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import open_store

async def main() -> None:
    for _ in ("a new one", "one that is there"):
        async with open_store(sys.argv[1]):
            pass

asyncio.run(main())
print("alembic" in sys.modules)
"""


def test_record_of_this_program_opens_without_waiting_for_alembic(file: Path) -> None:
    command = [sys.executable, "-c", OPENED_TWICE, f"sqlite+aiosqlite:///{file}"]

    assert subprocess.run(command, text=True, capture_output=True).stdout == "False\n"
