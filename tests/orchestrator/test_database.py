"""How a database is opened, and which is not."""

import sqlite3
from pathlib import Path

import pytest

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.store.database import journal_mode
from orchestrator.store.store import open_store


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "DELETE"),
        ((3, 44, 5), "DELETE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "DELETE"),
        ((3, 50, 4), "DELETE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "DELETE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 0), "WAL"),
    ],
)
def test_write_ahead_log_is_used_only_where_it_cannot_corrupt(
    version: tuple[int, ...], mode: str
) -> None:
    assert journal_mode(version) == mode


async def test_newer_record_is_refused(url: str, tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "record.db")
    database.execute("PRAGMA user_version=999")
    database.close()

    with pytest.raises(StoreUnavailableError, match="newer Workyard"):
        async with open_store(url):
            pass


UNUSABLE = ["nonsense", "oracle://x", "sqlite+nope:///x", "sqlite:///x", "mysql+aiomysql://h/d"]


@pytest.mark.parametrize("url", UNUSABLE)
async def test_database_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError, match="database URL"):
        async with open_store(url):
            pass


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
