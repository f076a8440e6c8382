"""How a database is opened, and which is not."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any  # what opens a record has no common type

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.record_url import sqlite_file, sqlite_url
from orchestrator.store.database import database_address, database_revisions, upgrade_database
from orchestrator.store.store import open_store
from tests.orchestrator.turns import turn


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"


async def test_write_ahead_log_is_used_and_each_commit_reaches_the_disk(
    url: str, tmp_path: Path
) -> None:
    async with open_store(url) as store:
        pragmas = await store._write(
            lambda tx: [
                tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            ]
        )

    assert pragmas == ["wal", 2, 1]
    assert not (tmp_path / "record.db-wal").exists()


async def test_reader_cannot_write_and_so_cannot_checkpoint(url: str) -> None:
    async with open_store(url) as store, store.sessions._access.engine.connect() as connection:
        with pytest.raises(OperationalError, match="readonly"):
            await connection.exec_driver_sql("PRAGMA user_version=3")


UNUSABLE = [
    "nonsense",
    "",
    "oracle://x",
    "sqlite:x",
    "postgresql://me@h/\udcff",
    "sqlite+nope:///x",
    "sqlite://",
    "mysql+aiomysql://h/d",
]


@pytest.mark.parametrize("url", UNUSABLE)
async def test_database_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="database URL"):
        async with open_store(url):
            pass


HOSTILE = [
    "postgresql://u:hidden@127.0.0.1:hidden/d",
    "postgresql://u:hidden@127.0.0.1:1/d?sslmode=hidden",
    "postgresql://u:hidden@127.0.0.1:1/d?prepared_statement_cache_size=hidden",
    "postgresql://u:hidden@127.0.0.1:1/d?timeout=hidden",
    "postgresql://u:hidden@127.0.0.1:1/d?command_timeout=hidden",
    "postgresql://u:hidden@127.0.0.1:1/d?loop=hidden",
    "postgresql://u@127.0.0.1:1/d?port=hidden",
    "postgresql://u:p@ss?hidden=word@127.0.0.1:1/d",
    "postgresql://u:hidden@127.0.0.1:99999/d",
    "postgresql://u:hidden@h1:1,h2/d",
    "sqlite:///~nobody-of-this-name/hidden.db",
    "sqlite:///\0hidden",
    "sqlite://u:hidden@host/d.db",
]


@pytest.mark.parametrize("url", HOSTILE)
async def test_no_part_of_a_url_that_cannot_be_used_is_told(url: str) -> None:
    for opened in (open_store(url).__aenter__, lambda: database_revisions(url)):
        with pytest.raises(InvalidInputError, match="database URL") as caught:
            await opened()
        assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("password", ["p@ss/word", "p@@ss", "a:b@ss", "plain"])
def test_no_part_of_a_password_is_shown_with_its_database(password: str) -> None:
    """An `@` in it belongs written as `%40`, and often is not."""
    shown = database_address(f"postgresql+asyncpg://me:{password}@db/record")

    assert "ss" not in shown.partition("://")[2].replace("***", "")
    assert "plain" not in shown


OPTIONS = {
    "mode=memory": "'mode'",
    "mode=ro&cache=hidden": "'mode', 'cache'",
    "timeout": "'timeout'",
    "%6dode=ro": "'mode'",
    "a=%3B;b=2": "'a'",
    "plugin=hidden": "'plugin'",
}


@pytest.mark.parametrize("options", OPTIONS)
async def test_option_that_is_not_followed_is_refused_by_name(url: str, options: str) -> None:
    """Who asks for `mode=ro` and is not heard would see the record written."""
    for opened in (open_store, upgrade_database, database_revisions):
        with pytest.raises(InvalidInputError, match="no options") as caught:
            await _opened(opened, f"{url}?{options}")
        assert OPTIONS[options] in str(caught.value)
        assert "hidden" not in str(caught.value)


POSTGRES_OPTIONS = {
    "foo=hidden&bar=1": "no option 'foo', 'bar'; there are host, port, ",
    "sslmode=hidden": "no option 'sslmode'; .*what libpq calls sslmode is ssl",
    "timeout=5&ssl=require": "no option 'timeout'; ",
    "x" * 60 + "=1": "no option '" + "x" * 40 + "'; ",
}


@pytest.mark.parametrize("options", POSTGRES_OPTIONS)
async def test_option_that_postgres_does_not_take_is_named(options: str) -> None:
    for opened in (open_store, upgrade_database, database_revisions):
        with pytest.raises(InvalidInputError, match=POSTGRES_OPTIONS[options]) as caught:
            await _opened(opened, f"postgresql://u:secret@127.0.0.1:1/d?{options}")
        assert "hidden" not in str(caught.value)
        assert "secret" not in str(caught.value)


async def test_options_that_postgres_takes_are_followed(postgres_record_url: str) -> None:
    url = f"{postgres_record_url}&ssl=prefer&prepared_statement_cache_size=0"
    async with open_store(url) as store:
        assert await turn(store)


async def _opened(opening: Callable[[str], Any], url: str) -> None:
    work = opening(url)
    await (work.__aenter__() if opening is open_store else work)


NAMES = ["till.db", "50%.db", "what?.db", "a b&c=d.db", "%41.db", "@home:8.db", "\udcff.db", "é.db"]


@pytest.mark.parametrize("name", NAMES)
async def test_record_is_in_the_very_file_that_is_meant(tmp_path: Path, name: str) -> None:
    url = sqlite_url(tmp_path / name)

    for _ in ("a new one", "one that is there"):
        async with open_store(url) as store:
            await turn(store)

    assert sqlite_file(url) == tmp_path / name
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".db"] == [name]
    assert len(name) > len(name.encode(errors="ignore").decode()) or name in database_address(url)
    assert (await database_revisions(url)).found == (await database_revisions(url)).known


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo], ids=["directory", "pipe"])
async def test_what_is_no_file_is_no_record(
    url: str, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "record.db")

    for opened in (open_store, upgrade_database, database_revisions):
        with pytest.raises(StoreUnavailableError, match="is a directory or a device"):
            await _opened(opened, url)
    assert [path.name for path in tmp_path.iterdir()] == ["record.db"]


async def test_file_of_another_program_stays_as_it_is(url: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "record.db")) as database:
        database.execute("CREATE TABLE notes (text)")

    with pytest.raises(StoreUnavailableError, match="belongs to another program"):
        async with open_store(url):
            pass

    with closing(sqlite3.connect(tmp_path / "record.db")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]


async def test_file_that_is_no_database_is_reported(url: str, tmp_path: Path) -> None:
    (tmp_path / "record.db").write_text("not a database " * 100)

    with pytest.raises(StoreUnavailableError, match="not a database"):
        async with open_store(url):
            pass


async def test_place_where_no_file_can_be_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreUnavailableError, match="name another place with"):
        async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'file' / 'record.db'}"):
            pass


async def test_locks_of_a_record_are_the_same_by_whatever_link_it_is_opened(
    url: str, tmp_path: Path
) -> None:
    """Two that write under different locks would corrupt it."""
    (tmp_path / "link.db").symlink_to(tmp_path / "record.db")

    async with open_store(url), open_store(f"sqlite+aiosqlite:///{tmp_path / 'link.db'}"):
        locks = sorted(path.name for path in tmp_path.glob("*-lock"))

    assert locks == ["record.db-lock"]
