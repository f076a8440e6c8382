"""Writing: one task per process, which commits together what came in while it was committing.

A commit waits for the disk, so fifty runs that each wait for one of their own would wait fifty
times. A piece of work is a plain function over a `Transaction`; it may be run more than once, and
must not remember anything but in what it returns.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar  # Any: columns of any type

import anyio
from sqlalchemy import Connection, Table, insert

from orchestrator.errors import StoreUnavailableError
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import EVENT, MESSAGE, TOOL_CALL

T = TypeVar("T")

_INSERTS = {table: Prepared(insert(table)) for table in (MESSAGE, EVENT, TOOL_CALL)}

MAX_BATCH = 100
"""Pieces of work in one transaction: no reader or other process waits for more."""


@dataclass
class Transaction:
    """One transaction; several pieces of work may share it."""

    connection: Connection
    again: bool = False
    """Whether its work was tried before, and may be on record although nobody was told so."""
    _rows: dict[Table, list[Mapping[str, Any]]] = field(default_factory=dict)

    def insert(self, table: Table, row: Mapping[str, Any]) -> None:
        """Add a row at the end of the transaction, together with all others of its table.

        Every row of a table must name the same columns. Work that reads or deletes what other work
        may have added says `flush` first.
        """
        self._rows.setdefault(table, []).append(row)

    def flush(self) -> None:
        """Write the rows that were added; what comes after can read them."""
        for table, rows in self._rows.items():
            _INSERTS[table].insert(self.connection, rows)
        self._rows.clear()


Work = Callable[[Transaction], T]
Transact = Callable[[Callable[[Connection], T]], Awaitable[T]]
"""Runs a function in one transaction, on which nothing else writes, and commits it.

It may run it again. It raises StoreUnavailableError if no work can be done at this time.
"""


@dataclass
class Writer:
    """Does work in the order in which it comes, in as few transactions as it takes."""

    _transact: Transact[Any]
    _waiting: deque[tuple[Work[Any], asyncio.Future[Any]]] = field(default_factory=deque)
    _more: asyncio.Event = field(default_factory=asyncio.Event)
    _closing: bool = False

    async def write(self, work: Work[T]) -> T:
        """Do a piece of work, and return what it returns once that is committed.

        What it raises is raised here, and nothing of it has been written then.
        """
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append((work, done))
        self._more.set()
        return await done

    def close(self) -> None:
        """Let `serve` end once nothing waits any more."""
        self._closing = True
        self._more.set()

    async def serve(self) -> None:
        """Work until closed."""
        while not self._closing:
            await self._more.wait()
            self._more.clear()
            while self._waiting:
                size = min(len(self._waiting), MAX_BATCH)
                await self._commit([self._waiting.popleft() for _ in range(size)])

    async def _commit(
        self, batch: Sequence[tuple[Work[Any], asyncio.Future[Any]]], *, again: bool = False
    ) -> None:
        try:
            works = [work for work, _ in batch]
            results = await self._transact(_together(works, again=again))
        except StoreUnavailableError as error:  # for each of them alike, after a long wait
            for _, done in batch:
                _tell(done, error)
            return
        except Exception as error:
            if len(batch) == 1:
                _tell(batch[0][1], error)
                return
            # One of them failed and took the others with it: each for itself, then.
            for one in batch:
                await self._commit([one], again=True)
            return
        for (_, done), result in zip(batch, results, strict=True):
            if not done.done():
                done.set_result(result)


def _together(works: Sequence[Work[Any]], *, again: bool) -> Callable[[Connection], list[Any]]:
    tries = count(int(again))

    def run(connection: Connection) -> list[Any]:
        transaction = Transaction(connection, again=next(tries) > 0)
        results = [work(transaction) for work in works]
        transaction.flush()
        return results

    return run


def _tell(done: asyncio.Future[Any], error: Exception) -> None:
    if not done.done():
        done.set_exception(error)


@asynccontextmanager
async def open_writer(transact: Transact[Any]) -> AsyncGenerator[Writer]:
    """Give a writer its task; what waits on leaving is written before."""
    writer = Writer(transact)
    # No child of a task group: a group would end the writer with whoever opened the store, before
    # the runs that end then are on record.
    task = asyncio.create_task(writer.serve(), name="writer")
    try:
        yield writer
    finally:
        writer.close()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task})
