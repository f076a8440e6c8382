"""What a run writes, in transactions that each leave the record whole.

A run claims its session before the first request to a model. From then on it alone adds to the
session; numbers come from counters on the session's row, in the transaction that uses them.
"""

import os
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError

import anyio
from pydantic import JsonValue
from pydantic_ai import Conversation, RunUsage
from pydantic_ai.messages import ModelMessage, repair_messages
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from orchestrator.errors import (
    LeaseLostError,
    SessionBusyError,
    StoreUnavailableError,
    WrongRootError,
)
from orchestrator.events import (
    Event,
    RunEnded,
    RunStarted,
    UserMessage,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.store.additions import (
    USAGE,
    ClaimedRun,
    added,
    append,
    settle,
    usage_on_record,
)
from orchestrator.store.completion import uninterrupted
from orchestrator.store.database import open_engine, writing
from orchestrator.store.sessions import Arrivals, Sessions, find_session, load_chain
from orchestrator.store.tables import RunRow, SessionRow

LEASE_S = 30.0
"""A run that has not renewed its lease for so long is taken for dead; it does so more often."""

LOCAL_OWNER = "local"
"""The owner of sessions where nobody has to say who they are: the terminal and scripts."""

TITLE_CHARS = 80


@dataclass(frozen=True, kw_only=True)
class RunDraft:
    """What is known of a run before it has claimed a session."""

    agent: str
    spec_sha256: str
    model: str
    prompt: str
    inputs: dict[str, JsonValue]
    root: str
    session_id: str | None = None
    """None for a new session."""


@dataclass
class Store:
    """The record, open for writing; reading is `sessions`."""

    _engine: AsyncEngine
    sessions: Sessions
    _arrivals: Arrivals
    # In one process writers queue here, fairly, and not in SQLite's busy handler, which polls.
    _turn: anyio.Lock = field(default_factory=anyio.Lock)
    _holder: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    )

    @uninterrupted
    async def claim(self, draft: RunDraft) -> ClaimedRun:
        """Give a run its session, and commit it with its prompt.

        Raises:
            NotFoundError: If there is no such session.
            WrongRootError: If the session belongs to another directory.
            SessionBusyError: If another run holds the session.
            HistoryUnreadableError: If the session's past cannot be read.
        """
        async with self._writing() as db:
            session = await self._session_for(db, draft)
            if session.root != draft.root:
                raise WrongRootError(session.id, root=session.root)
            if session.active_run_id is not None:
                await self._take_from_the_dead(db, session)
            stored = await load_chain(db, session.head_message_id)
            past = Conversation(
                # A run that broke off can leave calls without results, which no provider takes.
                messages=repair_messages(stored),
                usage=USAGE.validate_python(session.usage),
                conversation_id=session.id,
            )
            run = RunRow(
                session_id=session.id,
                lease_owner=self._holder,
                lease_until=_lease_end(),
                agent=draft.agent,
                spec_sha256=draft.spec_sha256,
                model=draft.model,
                prompt=draft.prompt,
                inputs=draft.inputs,
            )
            db.add(run)
            await db.flush()
            await self._take(db, session, run.id)
            events = (
                RunStarted(agent=run.agent, model=run.model, spec_sha256=run.spec_sha256),
                UserMessage(content=draft.prompt, inputs=draft.inputs),
            )
            claimed = ClaimedRun(
                id=run.id,
                session_id=session.id,
                agent=run.agent,
                conversation=past,
                first_seq=session.last_event_seq + 1,
            )
            await append(db, claimed, events=events)
        self._arrivals.announce(claimed.session_id)
        return claimed

    @uninterrupted
    async def record(
        self,
        run: ClaimedRun,
        *,
        messages: Sequence[ModelMessage] = (),
        events: Sequence[Event] = (),
    ) -> None:
        """Add what has happened, in this order, in one transaction.

        Raises:
            LeaseLostError: If the run does not hold its session any more.
        """
        if not messages and not events:
            return
        async with self._writing() as db:
            await append(db, run, messages=messages, events=events)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def end(
        self,
        run: ClaimedRun,
        ended: RunEnded,
        *,
        session_usage: RunUsage | None,
        messages: Sequence[ModelMessage] = (),
    ) -> None:
        """Write how a run ended, and give its session free.

        Args:
            run: The run.
            ended: Its last event.
            session_usage: What the session has used with this run; None leaves what is stored.
            messages: What has not been written yet.

        Raises:
            LeaseLostError: If the run does not hold its session any more.
        """
        async with self._writing() as db:
            await append(db, run, messages=messages)
            row = await db.get_one(RunRow, run.id)
            session = await db.get_one(SessionRow, run.session_id, populate_existing=True)
            if session_usage is not None:
                session.usage = USAGE.dump_python(session_usage, mode="json")
            await settle(db, session, row, ended)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def renew_lease(self, run: ClaimedRun) -> None:
        """Say that the run's process is alive.

        Raises:
            LeaseLostError: If the run was taken for dead.
        """
        async with self._writing() as db:
            row = await db.get_one(RunRow, run.id)
            if row.status != RunStatus.RUNNING:
                raise LeaseLostError(run.session_id, run.id)
            row.lease_until = _lease_end()

    @asynccontextmanager
    async def _writing(self) -> AsyncGenerator[AsyncSession]:
        try:
            async with (
                self._turn,
                AsyncSession(writing(self._engine), expire_on_commit=False) as db,
                db.begin(),
            ):
                yield db
        except DBAPIError as error:
            raise StoreUnavailableError(f"The record cannot be written: {error.orig}.") from error
        except JSONDecodeError as error:  # a column of JSON that is none
            raise StoreUnavailableError(f"The record is damaged: {error}.") from error

    async def _session_for(self, db: AsyncSession, draft: RunDraft) -> SessionRow:
        if draft.session_id is not None:
            return await find_session(db, draft.session_id)
        title = " ".join(draft.prompt.split())[:TITLE_CHARS]
        session = SessionRow(owner=LOCAL_OWNER, agent=draft.agent, root=draft.root, title=title)
        db.add(session)
        await db.flush()
        return session

    async def _take_from_the_dead(self, db: AsyncSession, session: SessionRow) -> None:
        holder = await db.get_one(RunRow, session.active_run_id)
        if holder.lease_until > datetime.now(UTC):
            raise SessionBusyError(session.id, holder.id)
        text = f"The process of run {holder.id!r} ended without a word."
        used = await usage_on_record(db, holder.id)
        ended = RunEnded(
            status=RunStatus.INTERRUPTED, usage=used, error_code="interrupted", error_text=text
        )
        session.usage = added(session.usage, used)
        await settle(db, session, holder, ended)
        await db.flush()

    async def _take(self, db: AsyncSession, session: SessionRow, run_id: str) -> None:
        taken = await db.exec(
            update(SessionRow)
            .where(col(SessionRow.id) == session.id, col(SessionRow.active_run_id).is_(None))
            .values(active_run_id=run_id)
        )
        if taken.rowcount != 1:
            raise SessionBusyError(session.id, "of another process")
        await db.refresh(session)


@asynccontextmanager
async def open_store(url: str) -> AsyncGenerator[Store]:
    """Open the record.

    Raises:
        InvalidInputError: If the URL cannot be used.
        StoreUnavailableError: If the database cannot be opened, or is newer than this program.
    """
    async with open_engine(url) as engine:
        arrivals = Arrivals()
        reader = async_sessionmaker(engine, class_=AsyncSession, expire_on_commit=False)
        yield Store(engine, Sessions(reader, arrivals), arrivals)


def _lease_end() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=LEASE_S)
