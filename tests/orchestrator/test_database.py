"""How a database is opened, and which is not."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.store.database import database_address, database_revisions
from orchestrator.store.store import open_store


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


async def test_newer_record_is_refused(url: str, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "record.db")
    database.execute("PRAGMA user_version=999")
    database.close()

    with pytest.raises(StoreUnavailableError, match="newer Workyard"):
        async with open_store(url):
            pass


UNUSABLE = ["nonsense", "oracle://x", "sqlite+nope:///x", "sqlite://", "mysql+aiomysql://h/d"]


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

    with pytest.raises(StoreUnavailableError, match="cannot be made"):
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
