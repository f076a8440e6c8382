"""The database that a URL names, opened: an engine that reads, and a writer."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any  # what a transaction returns

import anyio
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine

from orchestrator.errors import InvalidInputError, StoreUnavailableError
from orchestrator.record_url import check_postgres_options, sqlite_file, sqlite_url, unusable
from orchestrator.session import is_plain
from orchestrator.store import schema
from orchestrator.store.liveness import Leases, Liveness, LockedFiles
from orchestrator.store.postgres import PostgresDatabase
from orchestrator.store.schema import Revisions
from orchestrator.store.sqlite import SqliteFile, read_by, reading_engine
from orchestrator.store.writer import Transact, Writer, open_writer


@dataclass(frozen=True)
class Database:
    """Where the record is, open."""

    reading: AsyncEngine
    read: Transact[Any]
    writer: Writer
    liveness: Liveness


@asynccontextmanager
async def open_database(url: str) -> AsyncGenerator[Database]:
    """Open the database; a new or an older SQLite file is made what this program knows.

    Raises:
        InvalidInputError: If the URL is none, or names a database that is not supported.
        StoreUnavailableError: If the database cannot be opened, is newer than this program, or is
            for `upgrade_database`.
    """
    async with _connected(url) as connected:
        with _reported():
            await connected.transact(schema.prepare)
        async with open_writer(connected.transact) as writer:
            yield Database(connected.reading, connected.read, writer, connected.liveness)


async def upgrade_database(url: str) -> Revisions:
    """Make the tables of a new database or change those of an older one; return what it was.

    Raises:
        InvalidInputError: If the URL is none, or names a database that is not supported.
        StoreUnavailableError: If the database cannot be opened, or is newer than this program.
    """
    async with _connected(url) as connected:
        with _reported():
            before: Revisions = await connected.patiently(schema.upgrade)
        return before


async def database_revisions(url: str) -> Revisions:
    """Return which revision a database has, and change nothing.

    Raises:
        InvalidInputError: If the URL is none, or names a database that is not supported.
        StoreUnavailableError: If the database cannot be opened.
    """
    file = sqlite_file(url)
    with _reported():
        if file is not None and not file.exists():
            return Revisions(None)
    async with _connected(url) as connected:
        with _reported():
            found: Revisions = await connected.read(schema.revisions)
            return found


def database_address(url: str) -> str:
    """Return what may be shown of a URL: no password, neither before the host nor after the name.

    >>> database_address("postgresql+asyncpg://me:secret@db/record?password=secret&host=/run/pg")
    'postgresql+asyncpg://me:***@db/record?host=%2Frun%2Fpg'

    Raises:
        InvalidInputError: If the URL is none.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return f"{parsed.drivername}:///{parsed.database}"
    place = {name: value for name, value in parsed.query.items() if name in ("host", "port")}
    if _is_torn(url, parsed):
        return f"{parsed.drivername}://***"
    return parsed.set(query=place).render_as_string(hide_password=True)


def shareable_url(url: str) -> str | None:
    """Return a URL as it may stand in a settings file, for a process in any directory.

    None where it has a password, or may have one: what is not shown is not written down either.

    >>> shareable_url("postgresql+asyncpg://me@db/record")
    'postgresql+asyncpg://me@db/record'
    >>> shareable_url("postgresql+asyncpg://me@db/record?password=secret")

    Raises:
        InvalidInputError: If the URL is none.
    """
    file = sqlite_file(url)
    if file is not None:
        absolute = sqlite_url(file)
        return absolute if is_plain(absolute) else None
    parsed = _parsed(url)
    is_open = parsed.password is None and _parsed(database_address(url)) == parsed
    return url if is_open else None


def _is_torn(url: str, parsed: URL) -> bool:
    """Say whether a part of the password may have been taken for something else.

    Of one with an `@` that is not written as `%40`, the rest is taken for host, name and options.
    """
    return parsed.password is not None and url.count("@") > 1


def _parsed(url: str) -> URL:
    if sqlite_file(url) is None and not is_plain(url):  # the name of a file need not be text
        raise unusable("it is no plain text")
    try:
        return make_url(url)
    except ArgumentError as error:
        raise unusable(error) from None
    except ValueError:  # its text has a part of the URL, which may be one of the password
        raise unusable("its port is no number") from None


@dataclass(frozen=True)
class _Connected:
    """A database that may not have the tables of this program yet."""

    reading: AsyncEngine
    read: Transact[Any]
    transact: Transact[Any]
    patiently: Transact[Any]
    """Does as `transact` does, and waits for work that takes long."""
    liveness: Liveness


@asynccontextmanager
async def _connected(url: str) -> AsyncGenerator[_Connected]:
    parsed = _parsed(url)
    if parsed.drivername in ("sqlite", "sqlite+aiosqlite"):
        opened = _sqlite(url)
    elif parsed.drivername in ("postgresql", "postgresql+asyncpg"):
        check_postgres_options(parsed.query, may_be_named=not _is_torn(url, parsed))
        opened = _postgres(parsed.set(drivername="postgresql+asyncpg"))
    else:
        raise unusable(f"{parsed.drivername} is not supported")
    async with opened as connected:
        yield connected


@asynccontextmanager
async def _sqlite(url: str) -> AsyncGenerator[_Connected]:
    file = sqlite_file(url)
    if file is None:
        raise unusable("a record in memory would be lost with the process")
    try:
        written = SqliteFile(file)
    except OSError as error:
        raise StoreUnavailableError(
            f"The record cannot be opened: {error}. Put that right, or name another place with "
            "WORKYARD_DATA_DIR or WORKYARD_DATABASE_URL."
        ) from error
    reading = reading_engine(file)
    liveness = LockedFiles(file.with_name(file.name + "-holders"))
    try:
        read, transact = partial(read_by, reading), written.transact
        yield _Connected(reading, read, transact, transact, liveness)
    finally:
        with anyio.CancelScope(shield=True):
            await reading.dispose()
            await written.close()
            liveness.close()


@asynccontextmanager
async def _postgres(url: URL) -> AsyncGenerator[_Connected]:
    try:
        opened = PostgresDatabase(url)
    except (ArgumentError, InvalidRequestError, ValueError):  # their text may hold a part of it
        raise unusable("its host, its port or one of its options cannot be what it is") from None
    except ImportError:
        raise InvalidInputError(
            "PostgreSQL needs its driver; install it with `pip install 'workyard[postgres]'`."
        ) from None
    try:
        transact, patiently = opened.transact, opened.patiently
        yield _Connected(opened.engine, opened.read, transact, patiently, Leases())
    finally:
        await opened.close()


@contextmanager
def _reported() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, OSError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        raise StoreUnavailableError(f"The record cannot be opened: {cause}.") from error
    except (TypeError, OverflowError):  # of the driver; its text may hold a part of the URL
        raise unusable("its port or one of its options cannot be what it is") from None
