"""The record, looked at and changed behind the program's back."""

import fcntl
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any  # rows of any table

from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.settings import load_settings


def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a statement finds in the record, or change the record by hand."""
    with sqlite3.connect(_file()) as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def _file() -> str:
    return load_settings().effective_database_url.removeprefix("sqlite+aiosqlite:///")


def held_by_the_dead() -> None:
    """Let every run be under way, by a process that is not there."""
    rows(
        "UPDATE session SET active_run_pk = (SELECT max(pk) FROM run WHERE session_pk = session.pk)"
    )
    rows("UPDATE run SET status = 'running', lease_owner = 'nobody'")


@contextmanager
def held_by_another() -> Iterator[None]:
    """Let every run be under way, by a process that is alive."""
    held_by_the_dead()
    directory = Path(f"{_file()}-holders")
    directory.mkdir(exist_ok=True)
    with (directory / "nobody").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)
