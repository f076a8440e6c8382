"""The record, looked at and changed behind the program's back."""

import sqlite3
from typing import Any  # rows of any table

from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.settings import load_settings


def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Return what a statement finds in the record, or change the record by hand."""
    file = load_settings().effective_database_url.removeprefix("sqlite+aiosqlite:///")
    with sqlite3.connect(file) as database:
        found = database.execute(statement, values).fetchall()
    database.close()
    return found


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)
