"""Reading the record: sessions, their runs, messages and events, and following what goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar, Unpack

import anyio
import anyio.to_thread
from pydantic_ai.messages import ModelMessage
from sqlalchemy import Connection, bindparam, select

from orchestrator.errors import InvalidInputError, NotFoundError, SessionDamagedError
from orchestrator.events import RecordedEvent, RunEnded
from orchestrator.lifecycle import FINAL, RunStatus
from orchestrator.session import Filters, Page, Session, SessionStatus
from orchestrator.state import State
from orchestrator.store.access import Access
from orchestrator.store.approvals import Question, open_questions
from orchestrator.store.arrivals import Arrivals
from orchestrator.store.changing import state_of
from orchestrator.store.finding import askable, find_row, find_session, runs_of
from orchestrator.store.forks import Inherited, inherited
from orchestrator.store.listing import Query, list_sessions
from orchestrator.store.liveness import Liveness
from orchestrator.store.log import load_events
from orchestrator.store.messages import Elsewhere, StoredMessage, read_messages
from orchestrator.store.one_run import FoundRun, find_run
from orchestrator.store.recorded_run import RecordedRun, given_before, recorded_run
from orchestrator.store.spending import Spent, owner_of, spent_by_delegates, spent_since
from orchestrator.store.tables import RUN, RunRow, SessionRow
from orchestrator.store.totals import totals
from orchestrator.store.window import find_messages
from orchestrator.totals import By, Total, UsageFilters

T = TypeVar("T")

Messages = list[ModelMessage]
Listed = list[Session]

PAGE = 200
"""Rows that one query brings."""

POLL_S = 0.5
"""How often a reader looks for what another process has written."""


@dataclass(frozen=True)
class Reading:
    """The sessions on record, to look at. What is returned are copies: changing them does nothing.

    No reader holds up a run, however slow it is: between two portions it holds nothing.
    """

    _access: Access
    _arrivals: Arrivals
    _liveness: Liveness
    _owner: str | None = None
    """Whose sessions are there; None for everybody's."""

    async def list(
        self, *, limit: int = 20, cursor: str | None = None, **which: Unpack[Filters]
    ) -> Page:
        """Return sessions that fit, those that were active last first.

        Args:
            limit: How many at most, up to 1000.
            cursor: That of the page before.
            which: What they must fit; see `Filters`.

        Raises:
            InvalidInputError: If a filter, the limit or the cursor cannot be.
        """
        query = Query(self._owner, which, limit, cursor)
        return await self._access.read(lambda db: list_sessions(db, query, self._liveness))

    async def latest(self, *, limit: int = 20) -> Listed:
        """Return the sessions that were active last, the latest first."""
        return [*(await self.list(limit=limit)).sessions]

    async def latest_of(self, *, agent: str, root: str) -> Session:
        """Return the session that was active last with this agent in this root.

        Raises:
            NotFoundError: If there is none yet.
            SessionDamagedError: If one that cannot be read may be it.
        """
        page = await self.list(limit=1, agent=agent, root=root)
        if page.damaged:  # it may be the latest: to go on in another one would be a guess
            raise SessionDamagedError(page.damaged[0].id, page.damaged[0].problem)
        if not page.sessions:
            raise NotFoundError(f"session of agent {agent!r} in", root)
        return page.sessions[0]

    async def get(self, session_id: str) -> Session:
        """Return a session.

        Raises:
            NotFoundError: If there is none of this id.
        """
        this = (session_id, self._owner, self._liveness)
        return await self._access.read(lambda db: find_session(db, *this))

    async def state(self, session_id: str) -> State:
        """Return a session's state, and its version.

        Raises:
            NotFoundError: If there is no such session.
        """
        return await self._access.read(lambda db: state_of(db, session_id, self._owner))

    async def owner_of(self, session_pk: int) -> str:
        """Return whose session it is."""
        return await self._access.read(partial(owner_of, session_pk=session_pk))

    async def spent_since(self, owner: str, since: datetime) -> Spent:
        """Return what an owner's runs have used that began then or later; see `spending`."""
        return await self._access.read(partial(spent_since, owner=owner, since=since))

    async def spent_by_delegates(self, session_pk: int) -> Spent:
        """Return what others have used for the runs of a session."""
        return await self._access.read(partial(spent_by_delegates, session_pk=session_pk))

    async def usage(self, by: By = By.DAY, **which: Unpack[UsageFilters]) -> tuple[Total, ...]:
        """Return what runs have used together; what was deleted is not counted.

        Days come in their order; anything else with what cost most first, then what used most.

        Args:
            by: What is counted together.
            which: Which runs; see `UsageFilters`.

        Raises:
            InvalidInputError: If a time has no time zone.
        """
        if self._owner is not None:
            which["owner"] = self._owner
        return await self._access.read(lambda db: totals(db, by, which))

    async def look(self, session_id: str, work: Callable[[Connection, SessionRow], T]) -> T:
        """Return what `work` finds of a session, all of it at one moment.

        Raises:
            NotFoundError: If there is no such session.
        """
        return await self._access.read(lambda db: work(db, find_row(db, session_id, self._owner)))

    async def runs(self, session_id: str) -> Sequence[RunRow]:
        """Return a session's own runs, in the order in which they began.

        Raises:
            NotFoundError: If there is no such session.
        """
        return await self.look(session_id, runs_of)

    async def run(self, run_id: str) -> FoundRun:
        """Return a run, with its answer if it has one.

        Raises:
            NotFoundError: If there is no such run.
            HistoryUnreadableError: If its answer cannot be read.
        """
        this = (run_id, self._owner, self._liveness)
        return await self._access.read(lambda db: find_run(db, *this))

    async def questions(self, run_id: str | None = None) -> Sequence[Question]:
        """Return what runs wait for, the oldest run first: calls that need a person's yes.

        Args:
            run_id: Of this run and of those that work for it alone.

        Raises:
            HistoryUnreadableError: If a question cannot be read.
        """
        return await self._access.read(lambda db: open_questions(db, self._owner, run_id))

    async def messages(self, session_id: str) -> Messages:
        """Return all messages of a session, oldest first.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If one of them cannot be read.
        """

        def find(db: Connection, session: SessionRow) -> tuple[list[StoredMessage], Elsewhere]:
            assert session.pk is not None, "it was read"
            return find_messages(db, session.id, session.pk, upto=session.last_message_seq)

        found = await self.look(session_id, find)
        # Of a long history that takes tenths of a second: the runs of this process go on meanwhile.
        return await anyio.to_thread.run_sync(read_messages, *found)

    async def inherited(self, session_id: str) -> Inherited | None:
        """Return the past that a session shares with the one it was forked from, if it is a fork.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If it cannot be read.
        """
        return await self.look(session_id, inherited)

    async def recorded_run(self, run_id: str) -> RecordedRun:
        """Return a run that has ended, with its model's answers and what its calls gave.

        Raises:
            NotFoundError: If there is no such run.
            ConflictError: If it is under way.
            HistoryUnreadableError: If a message of it cannot be read.
        """
        this = (run_id, self._owner, self._liveness)
        return await self._access.read(lambda db: recorded_run(db, *this))

    async def given_before(self, session_id: str, seq: int) -> Messages:
        """Return what a model was given before message `seq`, fit for any provider.

        Raises:
            NotFoundError: If there is no such session.
            InvalidInputError: If it has no such message.
            HistoryUnreadableError: If a message of it cannot be read.
        """
        return await self.look(session_id, partial(given_before, seq=seq))

    async def events(
        self, session_id: str, *, after: int = 0, limit: int = PAGE
    ) -> Sequence[RecordedEvent]:
        """Return the events whose number is above `after`, in ascending `seq`, up to `limit`.

        Raises:
            NotFoundError: If there is no such session.
            InvalidInputError: If none are asked for.
            HistoryUnreadableError: If one of them cannot be read.
        """
        if limit < 1:
            raise InvalidInputError(f"At least one event has to be asked for, not {limit}.")
        return await self.look(session_id, partial(load_events, after=after, limit=limit))

    async def all_events(self, session_id: str) -> AsyncIterator[RecordedEvent]:
        """Yield the events that a session has now, in ascending `seq`."""
        after = 0
        while batch := await self.events(session_id, after=after):
            for recorded in batch:
                yield recorded
            after = batch[-1].seq

    async def follow_session(
        self, session_id: str, *, after: int = 0, wait: bool = False
    ) -> AsyncIterator[RecordedEvent]:
        """Yield a session's events as they come, of all its runs, until nothing goes on in it.

        Args:
            session_id: The session.
            after: The number of the last event that the reader has.
            wait: Wait for the runs to come, for ever.

        Raises:
            NotFoundError: If there is no such session, or it is deleted meanwhile.
        """

        async def is_over() -> bool:
            session = await self.get(session_id)
            return not wait and session.status is SessionStatus.IDLE

        async for recorded in self._arriving(session_id, after, is_over):
            yield recorded

    async def follow(
        self,
        session_id: str,
        *,
        run_id: str,
        after: int = 0,
        is_over: Callable[[], bool] = lambda: False,
    ) -> AsyncIterator[RecordedEvent]:
        """Yield a run's events as they come, until it has ended.

        If it is resumed before its end has been read, the reading goes on. Of a run whose process
        has died there is no last event: the reading ends when that is found dead.

        Args:
            session_id: The session.
            run_id: The run.
            after: The number of the last event that the reader has.
            is_over: Says that nothing more will be written, where the reader can know.

        Raises:
            NotFoundError: If there is no such run in the session.
        """

        async def has_ended() -> bool:
            return is_over() or not await self._goes_on(session_id, run_id)

        async for recorded in self._arriving(session_id, after, has_ended):
            if recorded.run_id == run_id:
                yield recorded
                if isinstance(recorded.event, RunEnded) and recorded.event.status in FINAL:
                    return

    async def _arriving(
        self, session_id: str, after: int, is_over: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[RecordedEvent]:
        while True:
            # Asked first: what is written until then is seen.
            over = await is_over()
            arrival = self._arrivals.next(session_id)
            batch = await self.events(session_id, after=after)
            for recorded in batch:
                after = recorded.seq
                yield recorded
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
        session = await self.get(session_id)
        return session.active_run_id if session.status is SessionStatus.RUNNING else None

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
        def look(db: Connection, session: SessionRow) -> bool:
            this = {"run": askable(run_id), "session": session.pk}
            run = db.execute(_RUN, this).one_or_none()
            if run is None:
                raise NotFoundError("run", run_id)
            if run.status != RunStatus.RUNNING:
                return False
            return bool(self._liveness.living(db, [run.pk]))

        return await self.look(session_id, look)


_RUN = select(RUN.c.pk, RUN.c.status).where(
    RUN.c.id == bindparam("run"), RUN.c.session_pk == bindparam("session")
)
