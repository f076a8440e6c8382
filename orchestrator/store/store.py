"""What a run writes, in transactions that each leave the record whole.

A run claims its session before the first request to a model. From then on it alone adds to the
session, and its process knows the session's numbers; every write says from which ones it goes on.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from pydantic_ai import Conversation, RunUsage
from pydantic_ai.messages import repair_messages

from orchestrator.errors import HistoryUnreadableError, LeaseLostError, StoreUnavailableError
from orchestrator.events import RunEnded
from orchestrator.ids import new_id
from orchestrator.store import broken, ending, resuming, runs
from orchestrator.store.access import Access
from orchestrator.store.additions import append, moved
from orchestrator.store.arrivals import Arrivals
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.completion import uninterrupted
from orchestrator.store.database import open_database
from orchestrator.store.liveness import Liveness
from orchestrator.store.pasts import Pasts
from orchestrator.store.sessions import Sessions
from orchestrator.store.standing import without_superseded
from orchestrator.store.writer import T, Work


@dataclass
class Store:
    """The record, open for writing; reading is `sessions`."""

    sessions: Sessions
    _access: Access
    _arrivals: Arrivals
    _liveness: Liveness
    _pasts: Pasts = field(default_factory=Pasts)
    _held: set[int] = field(default_factory=set)
    """The keys of the runs that this process holds."""

    @property
    def access(self) -> Access:
        """The way to what else is on record than sessions."""
        return self._access

    @uninterrupted
    async def claim(self, draft: RunDraft) -> ClaimedRun:
        """Give a run its session, and commit it with its prompt.

        Raises:
            NotFoundError: If there is no such session.
            WrongRootError: If the session belongs to another directory.
            SessionBusyError: If another run holds the session.
            HistoryUnreadableError: If the session's past cannot be read.
        """
        run_id = new_id()
        claim = await self._write(partial(runs.claim, draft, run_id, self._liveness, self._pasts))
        self._held.add(claim.run_pk)
        self._arrivals.announce(claim.session_id)
        return ClaimedRun(
            id=run_id,
            pk=claim.run_pk,
            session_id=claim.session_id,
            session_pk=claim.session_pk,
            draft=draft,
            conversation=Conversation(
                # A run that broke off can leave calls without results, which no provider takes.
                messages=repair_messages(without_superseded(claim.past.messages)),
                usage=claim.usage,
                conversation_id=claim.session_id,
            ),
            past=claim.past.rest,
            first_seq=claim.event_seq - 1,
            event_seq=claim.event_seq,
            message_seq=claim.message_seq,
            first_message_seq=claim.message_seq + 1,
        )

    @uninterrupted
    async def resume(self, draft: RunDraft, run_id: str) -> ClaimedRun:
        """Give a session's last run its session back, to go on from its last settled step.

        Raises:
            NotFoundError: If there is no such session.
            WrongRootError: If the session belongs to another directory.
            SessionBusyError: If a run holds the session.
            NotResumableError: If the run has succeeded, or is not the session's last one.
            HistoryUnreadableError: If the session's past cannot be read.
        """
        run = await self._write(partial(resuming.resume, draft, run_id, self._liveness))
        self._held.add(run.pk)
        self._arrivals.announce(run.session_id)
        return run

    @uninterrupted
    async def record(self, run: ClaimedRun, added: Additions) -> None:
        """Add what has happened, in one transaction.

        Raises:
            LeaseLostError: If the run does not hold its session any more.
        """
        if not added:
            return
        async with run.turn:
            await self._write(lambda tx: append(tx, run, added))
            moved(run, added)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def end(
        self,
        run: ClaimedRun,
        ended: RunEnded,
        added: Additions = Additions(),  # noqa: B008 - frozen
        *,
        session_usage: RunUsage | None,
    ) -> None:
        """Write how a run ended, and give its session free.

        Args:
            run: The run.
            ended: Its last event.
            added: What has not been written yet.
            session_usage: What the session has used with this run; None leaves what is stored.

        Raises:
            LeaseLostError: If the run does not hold its session any more.
        """
        async with run.turn:
            await self._write(lambda tx: ending.end(tx, run, ended, added, session_usage))
        self._held.discard(run.pk)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def give_up(self, run: ClaimedRun, ended: RunEnded) -> None:
        """Write that a run has ended, when it is not sure how much of it is on record.

        Raises:
            LeaseLostError: If the run does not hold its session any more.
        """
        async with run.turn:
            try:
                await self._write(partial(broken.give_up, run, self._liveness.holder, ended))
            except LeaseLostError:
                self._held.discard(run.pk)
                raise
        self._held.discard(run.pk)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def renew(self) -> None:
        """Say that this process is alive, and its runs with it."""
        held = sorted(self._held)
        await self._write(lambda tx: self._liveness.keep(tx.connection, held))

    @uninterrupted
    async def to_stop(self) -> set[int]:
        """Return the keys of runs of this process that are to stop.

        Another process has asked for that, or has taken this one for dead.
        """
        held = sorted(self._held)
        return await self._write(partial(broken.to_stop, held, self._liveness.holder))

    async def interrupt_orphans(self) -> None:
        """Mark all runs interrupted, whose processes are dead."""
        orphans = await self._write(lambda tx: self._liveness.orphans(tx.connection))
        for session_pk, run_pk in orphans:
            # A session that is damaged says so to whoever wants to go on with it, and to no other.
            with suppress(HistoryUnreadableError, StoreUnavailableError):
                this = (self._liveness, session_pk, run_pk)
                await self._write(partial(broken.interrupt_orphan, *this))

    def leave(self) -> None:
        """Leave no sign of this process, unless it leaves a run that is on record as running."""
        if not self._held:
            self._liveness.forget()

    async def _write(self, work: Work[T]) -> T:
        return await self._access.write(work)


@asynccontextmanager
async def open_store(url: str) -> AsyncGenerator[Store]:
    """Open the record. Runs whose processes have died are marked interrupted.

    Raises:
        InvalidInputError: If the URL cannot be used.
        StoreUnavailableError: If the database cannot be opened, or is newer than this program.
    """
    async with open_database(url) as database:
        arrivals, liveness = Arrivals(), database.liveness
        access = Access(database.reading, database.read, database.writer)
        store = Store(Sessions(access, arrivals, liveness), access, arrivals, liveness)
        await store.interrupt_orphans()
        try:
            yield store
        finally:
            store.leave()
