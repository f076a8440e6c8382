"""Reading the record: sessions, their runs, messages and events, and following one that goes on."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from json import JSONDecodeError
from typing import TypeVar

import anyio
from pydantic_ai.messages import ModelMessage
from sqlalchemy import Connection, bindparam
from sqlalchemy import select as select_columns
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from orchestrator.errors import NotFoundError, StoreUnavailableError
from orchestrator.events import RecordedEvent, RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.store.arrivals import Arrivals
from orchestrator.store.forks import Inherited, inherited
from orchestrator.store.liveness import Liveness
from orchestrator.store.log import fill_outputs, load_events
from orchestrator.store.tables import RUN, RunRow, SessionRow
from orchestrator.store.window import load_messages

T = TypeVar("T")

PAGE = 200
"""Rows that one query brings."""

POLL_S = 0.5
"""How often a reader looks for what another process has written."""


@dataclass(frozen=True)
class Sessions:
    """The sessions on record. The rows returned are copies: changing one changes nothing."""

    _engine: AsyncEngine
    _arrivals: Arrivals
    _liveness: Liveness

    async def latest(self, *, limit: int = 20) -> Sequence[SessionRow]:
        """Return the sessions that were active last, the latest first."""
        async with self._reading() as db:
            latest = col(SessionRow.updated_at).desc()
            return (await db.exec(select(SessionRow).order_by(latest).limit(limit))).all()

    async def get(self, session_id: str) -> SessionRow:
        """Return a session.

        Raises:
            NotFoundError: If there is none of this id.
        """
        async with self._reading() as db:
            return await find_session(db, session_id)

    async def look(self, session_id: str, work: Callable[[Connection, SessionRow], T]) -> T:
        """Return what `work` finds of a session, all of it at one moment.

        Raises:
            NotFoundError: If there is no such session.
        """
        async with self._reading() as db:
            session = await find_session(db, session_id)
            return await (await db.connection()).run_sync(work, session)

    async def latest_of(self, *, agent: str, root: str) -> SessionRow:
        """Return the session that was active last with this agent in this root.

        Raises:
            NotFoundError: If there is none yet.
        """
        async with self._reading() as db:
            query = (
                select(SessionRow)
                .where(col(SessionRow.agent) == agent, col(SessionRow.root) == root)
                .order_by(col(SessionRow.updated_at).desc())
                .limit(1)
            )
            found = (await db.exec(query)).first()
        if found is None:
            raise NotFoundError(f"session of agent {agent!r} in", root)
        return found

    async def runs(self, session_id: str) -> Sequence[RunRow]:
        """Return a session's runs, in the order in which they began."""
        async with self._reading() as db:
            session = await find_session(db, session_id)
            query = select(RunRow).where(col(RunRow.session_pk) == session.pk)
            runs = (await db.exec(query.order_by(col(RunRow.pk)))).all()
            await (await db.connection()).run_sync(fill_outputs, session, runs)
            return runs

    async def running(self, sessions: Sequence[SessionRow]) -> set[str]:
        """Return the ids of those sessions that a living process is at work in."""
        held = {s.active_run_pk: s.id for s in sessions if s.active_run_pk is not None}
        async with self._reading() as db:
            connection = await db.connection()
            living = await connection.run_sync(self._liveness.living, [*held])
        return {held[run] for run in living}

    async def messages(self, session_id: str) -> list[ModelMessage]:
        """Return all messages of a session, oldest first.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If one of them cannot be read.
        """

        def load(db: Connection, session: SessionRow) -> list[ModelMessage]:
            assert session.pk is not None, "it was read"
            return load_messages(db, session.id, session.pk, upto=session.last_message_seq)

        return await self.look(session_id, load)

    async def inherited(self, session_id: str) -> Inherited | None:
        """Return the past that a session shares with the one it was forked from, if it is a fork.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If it cannot be read.
        """
        return await self.look(session_id, inherited)

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = PAGE
    ) -> Sequence[RecordedEvent]:
        """Return the events whose number is above `after`, in ascending `seq`.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If one of them cannot be read.
        """
        return await self.look(session_id, partial(load_events, after=after, limit=limit))

    async def all_events(self, session_id: str) -> AsyncIterator[RecordedEvent]:
        """Yield the events that a session has now, in ascending `seq`."""
        after = 0
        while batch := await self.events(session_id, after=after):
            for recorded in batch:
                yield recorded
            after = batch[-1].seq

    async def follow(
        self,
        session_id: str,
        *,
        run_id: str,
        after: int = 0,
        is_over: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield a run's events as they come, until it has ended.

        The run does not wait for its readers, and does not end when one goes away. Of a run whose
        process has died there is no last event until somebody has noticed: the reading ends.

        Args:
            session_id: The session.
            run_id: The run.
            after: The number of the last event that the reader has.
            is_over: Says that nothing more will be written, where the reader can know.

        Raises:
            NotFoundError: If there is no such run in the session.
        """
        while True:
            over = is_over() or not await self._goes_on(session_id, run_id)
            arrival = self._arrivals.next(session_id)
            batch = await self.events(session_id, after=after)
            for recorded in batch:
                after = recorded.seq
                if recorded.run_id != run_id:
                    continue
                yield recorded
                if isinstance(recorded.event, RunEnded):
                    return
            if not batch and over:
                return
            if not batch:
                with anyio.move_on_after(POLL_S):
                    await arrival.wait()

    async def holder(self, session_id: str) -> str | None:
        """Return the id of the run that holds a session; None if it is free.

        Raises:
            NotFoundError: If there is no such session.
        """
        return await self.look(session_id, self._holder)

    async def until_free(self, session_id: str) -> None:
        """Return once no run holds a session.

        Raises:
            NotFoundError: If there is no such session.
        """
        while True:
            arrival = self._arrivals.next(session_id)
            if await self.holder(session_id) is None:
                return
            with anyio.move_on_after(POLL_S):
                await arrival.wait()

    async def _goes_on(self, session_id: str, run_id: str) -> bool:
        async with self._reading() as db:
            session = await find_session(db, session_id)
            query = select(RunRow).where(col(RunRow.id) == run_id)
            run = (await db.exec(query)).first()
            if run is None or run.session_pk != session.pk:
                raise NotFoundError("run", run_id)
            if run.status != RunStatus.RUNNING or run.pk is None:
                return False
            connection = await db.connection()
            return bool(await connection.run_sync(self._liveness.living, [run.pk]))

    def _holder(self, db: Connection, session: SessionRow) -> str | None:
        run = db.execute(_HOLDER, {"run": session.active_run_pk}).one_or_none()
        alive = run is not None and self._liveness.living(db, [run.pk])
        return str(run.id) if run is not None and alive else None

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[AsyncSession]:
        try:
            async with AsyncSession(self._engine, expire_on_commit=False) as db:
                yield db
        except (DBAPIError, OSError) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            raise StoreUnavailableError(f"The record cannot be read: {cause}.") from error
        except JSONDecodeError as error:  # a column of JSON that is none
            raise StoreUnavailableError(f"The record is damaged: {error}.") from error


async def find_session(db: AsyncSession, session_id: str) -> SessionRow:
    """Return a session.

    Raises:
        NotFoundError: If there is none of this id.
    """
    # An id is ASCII; what is not may be text that no database takes.
    query = select(SessionRow).where(col(SessionRow.id) == session_id)
    found = (await db.exec(query)).first() if session_id.isascii() else None
    if found is None:
        raise NotFoundError("session", session_id)
    return found


_HOLDER = select_columns(RUN.c.pk, RUN.c.id).where(RUN.c.pk == bindparam("run"))
