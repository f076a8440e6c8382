"""SQLite: read-only connections for readers, and one that writes, one process at a time.

Before 3.51.3 a write-ahead log could be corrupted by two connections that write or checkpoint at
one moment. Here one connection of a process writes, and only while the process holds a lock on a
file beside the database; readers cannot write, so they cannot checkpoint either. That is safe in
every version.

Source: SQLite's release notes for 3.51.3, "WAL-reset" fault.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

import aiosqlite
import anyio
import anyio.to_thread
from sqlalchemy import (
    URL,
    AsyncAdaptedQueuePool,
    Connection,
    Engine,
    StaticPool,
    create_engine,
    event,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from orchestrator.errors import StoreUnavailableError

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process; theirs are transactions of milliseconds."""

T = TypeVar("T")


def reading_engine(file: Path) -> AsyncEngine:
    """Return an engine for reading, whose connections cannot write."""

    async def connect() -> aiosqlite.Connection:
        uri = f"file:{quote(os.fsencode(file.absolute()))}?mode=ro"
        opened = aiosqlite.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        return await opened

    engine = create_async_engine(
        "sqlite+aiosqlite://", async_creator=connect, poolclass=AsyncAdaptedQueuePool
    )
    event.listen(engine.sync_engine, "begin", _begin("BEGIN"))
    return engine


async def read_by(engine: AsyncEngine, work: Callable[[Connection], T]) -> T:
    """Return what a function reads; it sees one state of the file."""
    async with engine.connect() as connection:
        return await connection.run_sync(work)


@dataclass
class SqliteFile:
    """A database file, as it is written to: in a thread, under the lock, in one transaction."""

    file: Path
    _engine: Engine = field(init=False)
    _lock_fd: int = field(init=False)
    # One at a time; SQLite's connection is handed from thread to thread.
    _thread: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))

    def __post_init__(self) -> None:
        make_private(self.file)
        lock = self.file.with_name(self.file.name + "-lock")
        self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        place = self.file.absolute()
        self._engine = create_engine(
            URL.create("sqlite", database=str(place)),
            creator=partial(_connected, place),
            poolclass=StaticPool,
        )
        event.listen(self._engine, "begin", _begin_to_write)

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction, on which nothing else writes, and commit it."""
        return await anyio.to_thread.run_sync(self._transact, work, limiter=self._thread)

    async def close(self) -> None:
        """Close the connection; the last one of all processes takes the log into the file."""
        await anyio.to_thread.run_sync(self._close, limiter=self._thread)

    def _transact(self, work: Callable[[Connection], T]) -> T:
        with self._locked(), self._engine.begin() as connection:
            return work(connection)

    def _close(self) -> None:
        try:
            with self._locked():
                self._engine.dispose()
        finally:
            os.close(self._lock_fd)

    @contextmanager
    def _locked(self) -> Generator[None]:
        deadline = time.monotonic() + BUSY_TIMEOUT_S
        pause = 0.0005
        while not self._taken():
            if time.monotonic() > deadline:
                raise StoreUnavailableError(
                    f"The record cannot be written: another process has held it for "
                    f"{BUSY_TIMEOUT_S:g} s."
                )
            time.sleep(pause)
            pause = min(pause * 2, 0.008)
        try:
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def _connected(file: Path) -> sqlite3.Connection:
    # By bytes: a name need not be text.
    connection = sqlite3.connect(
        os.fsencode(file), check_same_thread=False, isolation_level=None, timeout=BUSY_TIMEOUT_S
    )
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def make_private(file: Path) -> None:
    """Make a database that does not exist yet so that only its owner can read it.

    Raises:
        OSError: If that cannot be, or something else stands in its place.
    """
    if file.exists() and not file.is_file():
        raise OSError(f"{str(file)!r} is a directory or a device, and no file")
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.touch(mode=0o600)
    if not _may(file, os.R_OK):
        raise OSError(f"{str(file)!r} may not be read")
    if not _may(file.parent, os.W_OK | os.X_OK):
        raise OSError(f"{str(file.parent)!r} may not be written to, where its log has to be")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _begin_to_write(connection: Connection) -> None:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:  # after a long wait, for whatever was to be written
        raise StoreUnavailableError(f"The record cannot be written: {error.orig}.") from error


def _begin(statement: str) -> Callable[[Connection], None]:
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)

    return begin
