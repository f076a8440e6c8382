"""PostgreSQL, through asyncpg: the same functions over one connection at a time.

A server that restarts, a connection that is cut, two transactions that get in each other's way: for
none of them is a run lost. What could not be done is done again, for a while; work that may be on
record already, because only the answer to its commit was lost, finds that out.
"""

import logging
import random
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
from sqlalchemy import URL, Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestrator.errors import StoreUnavailableError

T = TypeVar("T")
_Connecting = AbstractAsyncContextManager[AsyncConnection]

_log = logging.getLogger(__name__)

RETRY_S = 30.0
"""How long a server that has answered before may be away: enough to restart it, or to fail over."""

ANSWER_S = 30.0
"""How long a server that is there may take for one transaction or one connection, silence included.

A network that drops packets without a word would otherwise be waited for until the kernel gives up,
which takes a quarter of an hour, or for ever.
"""

CLOSE_S = 5.0

IDLE_S = 60.0
"""How long a process may do nothing in the middle of a transaction before the server ends it.

One that was stopped, or whose machine is gone, would hold its locks for ever. See decision 0022.
"""

MAX_COLLISIONS = 5
"""How often one transaction is tried when others keep getting in its way."""

_COLLISIONS = frozenset({"40001", "40P01", "23505"})
"""Serialization failure; deadlock; a row that somebody else has made at this very moment."""

_AWAY = ("08", "57P", "53300", "25P03")
"""Beginnings of codes: connection lost, server stopping or starting, no connection left, idle."""

_NAME = "workyard"
_POOL_LOGGER = f"sqlalchemy.pool.impl.AsyncAdaptedQueuePool.{_NAME}"


@dataclass
class PostgresDatabase:
    """A database of a server, with a pool of connections."""

    url: URL
    engine: AsyncEngine = field(init=False)
    _has_answered: bool = False

    def __post_init__(self) -> None:
        # The wait for a connection is part of that for the transaction, which ends before.
        waiting = 2 * ANSWER_S
        self.engine = create_async_engine(
            self.url,
            pool_pre_ping=True,
            pool_timeout=waiting,
            pool_logging_name=_NAME,
            connect_args={"server_settings": _server_settings()},
        )
        logging.getLogger(_POOL_LOGGER).addFilter(_in_one_line)

    async def close(self) -> None:
        """Close the connections; a server that says nothing to that is left to itself."""
        with anyio.move_on_after(CLOSE_S, shield=True):
            await self.engine.dispose()

    async def transact(self, work: Callable[[Connection], T]) -> T:
        """Run a function in one transaction and commit it; it may be run again.

        Raises:
            StoreUnavailableError: If the server is away for too long.
        """
        return await self._persistently(self.engine.begin, work, within_s=ANSWER_S)

    async def patiently(self, work: Callable[[Connection], T]) -> T:
        """Do as `transact` does, however long the work takes: to change all tables takes long."""
        return await self._persistently(self.engine.begin, work, within_s=None)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Return what a function reads; it sees one state of the database, and may be run again.

        Raises as `transact` does.
        """
        at_one_moment = self.engine.execution_options(isolation_level="REPEATABLE READ")
        return await self._persistently(at_one_moment.connect, work, within_s=ANSWER_S)

    async def _persistently(
        self,
        connect: Callable[[], _Connecting],
        work: Callable[[Connection], T],
        *,
        within_s: float | None,
    ) -> T:
        away_until = time.monotonic() + RETRY_S
        tries = 0
        while True:
            tries += 1
            try:
                result = await _answered(connect, work, within_s)
            except (DBAPIError, OSError) as error:
                if not self._may_pass(error, tries):
                    raise
                if time.monotonic() > away_until:
                    raise _away(error) from error
                if tries == 1:
                    # Not the error itself: it tells the statement with all that was to be written.
                    cause = _cause(error)
                    _log.warning("A transaction is tried again for up to %g s: %s", RETRY_S, cause)
            else:
                self._has_answered = True
                return result
            # Those that got in each other's way do not come back at the same moment.
            await anyio.sleep(min(0.01 * 2**tries, 1.0) * random.uniform(0.5, 1))

    def _may_pass(self, error: DBAPIError | OSError, tries: int) -> bool:
        """Say whether it is worth trying again."""
        if isinstance(error, DBAPIError):
            code = getattr(error.orig, "sqlstate", None) or ""
            if code in _COLLISIONS:
                return tries < MAX_COLLISIONS
            if not (error.connection_invalidated or code.startswith(_AWAY)):
                return False
        # A server that was never there may have a wrong address: say so at once.
        return self._has_answered


async def _answered(
    connect: Callable[[], _Connecting], work: Callable[[Connection], T], within_s: float | None
) -> T:
    with anyio.move_on_after(within_s):
        async with connect() as connection:
            return await connection.run_sync(work)
    raise TimeoutError(f"it has not answered for {within_s:g} s")


def _server_settings() -> dict[str, str]:
    """Return what the server is to do about a connection of which nothing is heard any more."""
    return {
        "idle_in_transaction_session_timeout": f"{IDLE_S * 1000:.0f}",
        "tcp_user_timeout": f"{ANSWER_S * 1000:.0f}",
    }


def _in_one_line(record: logging.LogRecord) -> bool:
    """Let the pool say without a traceback what it could not do with a connection that is gone."""
    if record.exc_info:
        error = record.exc_info[1]
        record.msg, record.args = "A connection could not be closed in order: %r", (error,)
        record.exc_info = record.exc_text = None
    return True


def _away(error: DBAPIError | OSError) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The record cannot be reached: the database has been away for {RETRY_S:g} s "
        f"({_cause(error)})."
    )


def _cause(error: DBAPIError | OSError) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error
