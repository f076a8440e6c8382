"""Reading the record: sessions, their runs, messages and events, and following one that goes on."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json import JSONDecodeError

import anyio
from pydantic_ai.messages import ModelMessage
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import async_sessionmaker
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from orchestrator.errors import NotFoundError, StoreUnavailableError
from orchestrator.events import RecordedEvent, RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.store.messages import join_message, recorded_event
from orchestrator.store.tables import BlobRow, EventRow, MessageRow, RunRow, SessionRow

PAGE = 200
"""Rows that one query brings."""

POLL_S = 0.5
"""How often a reader looks for what another process has written."""


@dataclass
class Arrivals:
    """Wakes the readers of a session in this process when something has been written to it."""

    _waiting: dict[str, anyio.Event] = field(default_factory=dict)

    def announce(self, session_id: str) -> None:
        """Wake everybody who waits for this session."""
        if waiting := self._waiting.pop(session_id, None):
            waiting.set()

    def next(self, session_id: str) -> anyio.Event:
        """Return what is set at the next announcement. Take it before looking, wait after."""
        return self._waiting.setdefault(session_id, anyio.Event())


@dataclass(frozen=True)
class Sessions:
    """The sessions on record. The rows returned are copies: changing one changes nothing."""

    _open: async_sessionmaker[AsyncSession]
    _arrivals: Arrivals

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
            query = select(RunRow).where(col(RunRow.session_id) == session_id)
            return (await db.exec(query.order_by(col(RunRow.started_at)))).all()

    async def messages(self, session_id: str) -> list[ModelMessage]:
        """Return a session's messages, oldest first, as its next run would be given them.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If one of them cannot be read.
        """
        session = await self.get(session_id)
        async with self._reading() as db:
            return await load_chain(db, session.head_message_id)

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = PAGE
    ) -> Sequence[RecordedEvent]:
        """Return the events whose number is above `after`, in ascending `seq`."""
        async with self._reading() as db:
            query = (
                select(EventRow)
                .where(col(EventRow.session_id) == session_id, col(EventRow.seq) > after)
                .order_by(col(EventRow.seq))
                .limit(limit)
            )
            return [recorded_event(row) for row in (await db.exec(query)).all()]

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
        process has died there is no last event: the reading ends when its lease has lapsed.

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

    async def _goes_on(self, session_id: str, run_id: str) -> bool:
        async with self._reading() as db:
            run = await db.get(RunRow, run_id)
        if run is None or run.session_id != session_id:
            raise NotFoundError("run", run_id)
        return run.status == RunStatus.RUNNING and run.lease_until > datetime.now(UTC)

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[AsyncSession]:
        try:
            async with self._open() as db:
                yield db
        except DBAPIError as error:
            raise StoreUnavailableError(f"The record cannot be read: {error.orig}.") from error
        except JSONDecodeError as error:  # a column of JSON that is none
            raise StoreUnavailableError(f"The record is damaged: {error}.") from error


async def find_session(db: AsyncSession, session_id: str) -> SessionRow:
    """Return a session.

    Raises:
        NotFoundError: If there is none of this id.
    """
    # An id is ASCII; what is not may be text that no database takes.
    found = await db.get(SessionRow, session_id) if session_id.isascii() else None
    if found is None:
        raise NotFoundError("session", session_id)
    return found


async def load_chain(db: AsyncSession, head_id: int | None) -> list[ModelMessage]:
    """Return the messages from the first one to `head_id`, along their parents.

    Raises:
        HistoryUnreadableError: If one of them cannot be read.
    """
    if head_id is None:
        return []
    links = select(MessageRow.id, MessageRow.parent_id)
    chain = links.where(col(MessageRow.id) == head_id).cte("chain", recursive=True)
    chain = chain.union_all(links.join(chain, col(MessageRow.id) == chain.c.parent_id))
    query = select(MessageRow).where(col(MessageRow.id).in_(select(chain.c.id)))
    rows = (await db.exec(query.order_by(col(MessageRow.id)))).all()
    hashes = {row.instructions_sha256 for row in rows if row.instructions_sha256}
    blobs = (await db.exec(select(BlobRow).where(col(BlobRow.sha256).in_(hashes)))).all()
    instructions = {blob.sha256: blob.content for blob in blobs}
    return [join_message(row, instructions) for row in rows]
