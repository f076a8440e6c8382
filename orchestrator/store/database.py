"""The database that a URL names, opened: an engine that reads, and a writer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from sqlalchemy import URL, Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.store.postgres import PostgresDatabase
from orchestrator.store.sqlite import SqliteFile, reading_engine
from orchestrator.store.tables import Table
from orchestrator.store.writer import Writer, open_writer

SCHEMA_VERSION = 2
"""Raised with every change of the tables; a newer database is refused."""


@dataclass(frozen=True)
class Database:
    """Where the record is, open."""

    reading: AsyncEngine
    writer: Writer


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """Open the database, with its tables made if it is new.

    Raises:
        InvalidInputError: If the URL is none, or names a database that is not supported.
        StoreUnavailableError: If the database cannot be opened, or is newer than this program.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise _unusable(error) from None
    if parsed.drivername in ("sqlite", "sqlite+aiosqlite"):
        opened = _open_sqlite(url)
    elif parsed.drivername in ("postgresql", "postgresql+asyncpg"):
        opened = _open_postgres(parsed.set(drivername="postgresql+asyncpg"))
    else:
        raise _unusable(f"{parsed.drivername} is not supported")
    async with opened as database:
        yield database


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, or None if the URL names none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return None
    return Path(str(parsed.database))


@asynccontextmanager
async def _open_sqlite(url: str) -> AsyncGenerator[Database]:
    file = sqlite_file(url)
    if file is None:
        raise _unusable("a record in memory would be lost with the process")
    try:
        written = SqliteFile(file)
    except OSError as error:
        raise StoreUnavailableError(f"The record cannot be made: {error}.") from error
    reading = reading_engine(file)
    try:
        try:
            await written.transact(_prepare_sqlite)
        except DBAPIError as error:
            raise StoreUnavailableError(f"The record cannot be opened: {error.orig}.") from error
        async with open_writer(written.transact) as writer:
            yield Database(reading, writer)
    finally:
        with anyio.CancelScope(shield=True):
            await reading.dispose()
            await written.close()


def _prepare_sqlite(connection: Connection) -> None:
    found = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if found > SCHEMA_VERSION:
        raise StoreUnavailableError(
            f"The record was written by a newer Workyard (schema {found}, this one knows "
            f"{SCHEMA_VERSION}); upgrade Workyard or name another WORKYARD_DATABASE_URL."
        )
    if found < SCHEMA_VERSION:
        connection.exec_driver_sql(f"PRAGMA user_version={SCHEMA_VERSION}")
        Table.metadata.create_all(connection)


@asynccontextmanager
async def _open_postgres(url: URL) -> AsyncGenerator[Database]:
    try:
        opened = PostgresDatabase(url)
    except (ArgumentError, InvalidRequestError, ImportError) as error:
        raise _unusable(error) from None
    try:
        try:
            await opened.transact(Table.metadata.create_all)
        except (DBAPIError, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise StoreUnavailableError(f"The record cannot be opened: {cause}.") from error
        async with open_writer(opened.transact) as writer:
            yield Database(opened.engine, writer)
    finally:
        with anyio.CancelScope(shield=True):
            await opened.engine.dispose()


def _unusable(problem: object) -> InvalidInputError:
    return InvalidInputError(
        f"The database URL cannot be used ({problem}); write sqlite+aiosqlite:///PATH or "
        "postgresql+asyncpg://USER@HOST/NAME."
    )
