"""The PostgreSQL of the tests: each test has a database of its own, and no server is left over."""

import os
import subprocess
import sys
import time
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGQUIT, Signals

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.store.claimed import RunDraft
from orchestrator.store.store import open_store
from tests.postgres import Server, running


async def answers(url: str, sql: str) -> list[tuple[object, ...]]:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        found = await connection.execute(text(sql))
        rows = [tuple(row) for row in found] if found.returns_rows else []
    await engine.dispose()
    return rows


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_an_empty_database(postgres_url: str, turn: int) -> None:
    assert await answers(postgres_url, TABLES) == []
    await answers(postgres_url, "CREATE TABLE left_behind (n int)")
    assert await answers(postgres_url, TABLES) == [("left_behind",)]


async def test_database_is_made_as_a_copy_of_another(postgres: Server) -> None:
    await answers(postgres.create("original"), "CREATE TABLE kept AS SELECT 7 AS n")
    copy = postgres.create("copy", template="original")

    assert await answers(copy, "SELECT n FROM kept") == [(7,)]
    postgres.drop("copy")
    postgres.drop("original")


@pytest.mark.parametrize("turn", [1, 2])
async def test_each_test_has_an_empty_record(postgres_record_url: str, turn: int) -> None:
    draft = RunDraft(
        agent="a", spec_sha256="0" * 64, model="m", prompt="hello", inputs={}, root="/r"
    )
    async with open_store(postgres_record_url) as store:
        assert await store.sessions.latest() == []
        await store.claim(draft)
        assert len(await store.sessions.latest()) == 1


@pytest.mark.parametrize("how", [SIGINT, SIGQUIT, SIGKILL], ids=lambda how: how.name)
def test_what_was_committed_is_there_after_a_stop(own_postgres: Server, how: Signals) -> None:
    own_postgres.execute("CREATE TABLE kept AS SELECT 7 AS n")

    own_postgres.stop(how)
    with pytest.raises(RuntimeError, match=r"No such file|refused"):
        own_postgres.execute("SELECT 1")
    own_postgres.start()

    assert own_postgres.execute("SELECT n FROM kept") == "7"


def test_server_that_does_not_start_says_why(postgres_package: Path) -> None:
    with (
        pytest.raises(RuntimeError, match="no_such_setting"),
        running(postgres_package, "no_such_setting=1"),
    ):
        pass


HOLDER = """
import sys, time
from pathlib import Path
from orchestrator.store.claimed import RunDraft
from orchestrator.store.store import open_store
from tests.postgres import FAST, running
with running(Path(sys.argv[1]), *FAST) as server:
    first = (server.directory / "cluster" / "postmaster.pid").read_text().split()[0]
    print(server.directory, first, flush=True)
    time.sleep(600)
"""


def test_server_ends_with_the_process_that_started_it(postgres_package: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(postgres_package)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        directory, postmaster = holder.stdout.readline().split()
        holder.kill()

    deadline = time.monotonic() + 30
    while Path(directory).exists():
        assert time.monotonic() < deadline, "the server's directory is still there"
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(int(postmaster), 0)
