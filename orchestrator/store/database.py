"""The engine: how a database is opened, and what a transaction is.

Every writing transaction begins as one (`BEGIN IMMEDIATE` on SQLite), so that two writers wait for
each other at the start and neither fails in the middle.
"""

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any  # DB-API connections have no common type

import anyio
from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.store.tables import SCHEMA_VERSION, Table

BUSY_TIMEOUT_MS = 30_000
"""How long a writer waits for another process; theirs are transactions of milliseconds."""

_IMMEDIATE = "workyard_immediate"


def journal_mode(version: tuple[int, ...]) -> str:
    """Return the journal that is safe with several connections in this version of SQLite.

    Up to 3.51.2, two connections that checkpoint a write-ahead log at one moment can corrupt the
    database; the fix was taken back to 3.44.6 and 3.50.7. There the rollback journal is used: it is
    slower to commit, and not concerned.

    Source: SQLite's release notes for 3.51.3, "WAL-reset" fault.
    """
    fixed = (
        version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)
    )
    return "WAL" if fixed else "DELETE"


@asynccontextmanager
async def open_engine(url: str) -> AsyncGenerator[AsyncEngine]:
    """Open the database, with its tables made if it is new.

    Raises:
        InvalidInputError: If the URL is none, or names a database that is not supported.
        StoreUnavailableError: If the database cannot be opened, or is newer than this program.
    """
    try:
        parsed = make_url(url)
        engine = create_async_engine(parsed)
        if file := sqlite_file(url):
            _make_private(file)
    except (ArgumentError, InvalidRequestError, ImportError) as error:
        raise InvalidInputError(
            f"The database URL cannot be used ({error}); write sqlite+aiosqlite:///PATH."
        ) from None
    except OSError as error:
        raise StoreUnavailableError(f"The record cannot be made: {error}.") from error
    if engine.dialect.name == "sqlite":
        _prepare_sqlite(engine)
    try:
        async with _reported(), writing(engine).begin() as connection:
            await connection.run_sync(_create_tables)
        yield engine
    finally:
        with anyio.CancelScope(shield=True):
            await engine.dispose()


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, or None if the URL names none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


def writing(engine: AsyncEngine) -> AsyncEngine:
    """Return the same engine for transactions that write."""
    return engine.execution_options(**{_IMMEDIATE: True})


@asynccontextmanager
async def _reported() -> AsyncGenerator[None]:
    try:
        yield
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailableError(f"The record cannot be opened: {cause}.") from error


def _make_private(file: Path) -> None:
    """Make a database that does not exist yet so that only its owner can read it."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)


def _prepare_sqlite(engine: AsyncEngine) -> None:
    pragmas = (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        f"journal_mode={journal_mode(sqlite3.sqlite_version_info)}",
        "synchronous=FULL",
        "foreign_keys=ON",
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin transactions of its own
        cursor = connection.cursor()
        for pragma in pragmas:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        immediate = connection.get_execution_options().get(_IMMEDIATE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _create_tables(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
        if found > SCHEMA_VERSION:
            raise StoreUnavailableError(
                f"The record was written by a newer Workyard (schema {found}, this one knows "
                f"{SCHEMA_VERSION}); upgrade Workyard or name another WORKYARD_DATABASE_URL."
            )
        if found == SCHEMA_VERSION:
            return
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
    Table.metadata.create_all(connection)
