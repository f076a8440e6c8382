"""A record that a program of the first schema made, and what that program read back from it.

It has runs of each status, two sessions whose messages took turns, ids of calls given twice, text
that no database takes, bytes, and two real runs. The machine it was made on is not to be seen.
"""

import json
import re
import sqlite3
from pathlib import Path
from typing import Any  # what JSON holds

from pydantic_ai.messages import ModelMessagesTypeAdapter
from sqlalchemy import Connection, MetaData, create_engine, insert, select
from sqlalchemy.ext.asyncio import create_async_engine

from orchestrator.store.migrations import migrate
from orchestrator.store.sessions import Sessions

HERE = Path(__file__).parent
TABLES = ("session", "blob", "run", "message", "event", "tool_call")

# PostgreSQL's JSONB takes neither NUL nor lone surrogates, so they never got there: in JSON, in
# text, where they are escaped once more, and in the bytes of such text.
REFUSED = re.compile(r"\\{1,2}u(0000|d8[0-9a-f]{2})|5C7564383031")


def make_file(file: Path) -> str:
    """Make the record in an SQLite file; return its URL."""
    database = sqlite3.connect(file)
    database.executescript((HERE / "first_schema.sql").read_text())
    database.close()
    return f"sqlite+aiosqlite:///{file}"


async def make_in_postgres(url: str, scratch: Path) -> None:
    """Make the record, as far as PostgreSQL takes it, in an empty database."""
    database = sqlite3.connect(scratch)
    database.executescript(REFUSED.sub(_mark, (HERE / "first_schema.sql").read_text()))
    database.close()

    def fill(connection: Connection) -> None:
        migrate(connection, "base", "0001")
        copy_rows(f"sqlite:///{scratch}", connection)

    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(fill)
    await engine.dispose()


def copy_rows(source: str, target: Connection) -> None:
    """Copy all rows between two databases of the first schema."""
    engine = create_engine(source)
    with engine.connect() as connection:
        theirs, ours = MetaData(), MetaData()
        theirs.reflect(connection)
        ours.reflect(target)
        for name in TABLES:
            rows = [dict(row) for row in connection.execute(select(theirs.tables[name])).mappings()]
            target.execute(insert(ours.tables[name]), rows)
    engine.dispose()


def what_was_read(*, by_postgres: bool = False) -> dict[str, Any]:
    """Return what the old program read, by session."""
    text = (HERE / "first_schema.json").read_text()
    told: dict[str, Any] = json.loads(REFUSED.sub(_mark, text) if by_postgres else text)
    return told


async def what_is_read(sessions: Sessions) -> dict[str, Any]:
    """Return the same as this program reads it."""
    told = {}
    for session in await sessions.latest(limit=1000):
        messages = await sessions.messages(session.id)
        row = await sessions.look(session.id, lambda _db, row: row)
        told[session.id] = {
            "session": row.model_dump(mode="json"),
            "runs": [run.model_dump(mode="json") for run in await sessions.runs(session.id)],
            "messages": ModelMessagesTypeAdapter.dump_python(messages, mode="json"),
            "events": [
                {
                    "seq": recorded.seq,
                    "run_id": recorded.run_id,
                    "at": recorded.at.isoformat(),
                    "event": recorded.event.model_dump(mode="json"),
                }
                async for recorded in sessions.all_events(session.id)
            ],
        }
    return told


def without_keys(told: dict[str, Any]) -> dict[str, Any]:
    """Return what was read without the columns that name other rows, or are of one schema only."""
    return {
        session_id: {
            "session": _shared(read["session"]),
            "runs": [_shared(run) for run in read["runs"]],
            "messages": read["messages"],
            "events": read["events"],
        }
        for session_id, read in told.items()
    }


def _mark(refused: re.Match[str]) -> str:
    return "3F" if refused[0].startswith("5C") else "?"


OF_ONE_SCHEMA = {
    *("pk", "session_pk", "parent_pk", "origin_pk", "origin_seq", "active_run_pk"),
    *("session_id", "parent_run_id", "head_message_id", "active_run_id"),
    *("state_version", "deleted_at", "window_seq", "cancel_asked_at"),
    *("output_seq", "output_part", "first_message_seq"),
}


def _shared(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in OF_ONE_SCHEMA}
