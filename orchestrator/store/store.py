"""What a run writes, in transactions that each leave the record whole.

A run claims its session before the first request to a model. From then on it alone adds to the
session; numbers come from counters on the session's row, in the transaction that uses them.
"""

import hashlib
import json
import os
import secrets
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
from pydantic import JsonValue, TypeAdapter
from pydantic_ai import Conversation, RunUsage
from pydantic_ai.messages import ModelMessage, repair_messages
from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, async_sessionmaker
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from orchestrator.errors import (
    LeaseLostError,
    NotFoundError,
    SessionBusyError,
    StoreUnavailableError,
    WrongRootError,
)
from orchestrator.events import Event, RunEnded, RunStarted, ToolCalled, ToolReturned, UserMessage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.completion import uninterrupted
from orchestrator.store.database import open_engine, writing
from orchestrator.store.messages import event_row, split_message
from orchestrator.store.sessions import Arrivals, Sessions, load_chain
from orchestrator.store.tables import BlobRow, MessageRow, RunRow, SessionRow, ToolCallRow

LEASE_S = 30.0
"""A run that has not renewed its lease for so long is taken for dead; it does so more often."""

LOCAL_OWNER = "local"
"""The owner of sessions where nobody has to say who they are: the terminal and scripts."""

TITLE_CHARS = 80

_USAGE = TypeAdapter(RunUsage)

_ENDINGS = {
    RunStatus.SUCCEEDED: "run_succeeded",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.INTERRUPTED: "lease_lapsed",
}
"""What in the table of transitions leads to each final status."""


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


@dataclass(frozen=True, kw_only=True)
class ClaimedRun:
    """A run that holds its session."""

    id: str
    session_id: str
    agent: str
    conversation: Conversation
    """The session's past, as Pydantic AI takes it."""
    first_seq: int
    """The number of the run's first event."""


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
                usage=_USAGE.validate_python(session.usage),
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
            await _append(db, claimed, events=events)
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
            await _append(db, run, messages=messages, events=events)
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
            await _append(db, run, messages=messages)
            row = await db.get_one(RunRow, run.id)
            session = await db.get_one(SessionRow, run.session_id, populate_existing=True)
            if session_usage is not None:
                session.usage = _USAGE.dump_python(session_usage, mode="json")
            await _settle(db, session, row, ended)
        self._arrivals.announce(run.session_id)

    @uninterrupted
    async def renew_lease(self, run: ClaimedRun) -> None:
        """Say that the run's process is alive."""
        async with self._writing() as db:
            row = await db.get_one(RunRow, run.id)
            if row.status == RunStatus.RUNNING:
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

    async def _session_for(self, db: AsyncSession, draft: RunDraft) -> SessionRow:
        if draft.session_id is not None:
            found = await db.get(SessionRow, draft.session_id)
            if found is None:
                raise NotFoundError("session", draft.session_id)
            return found
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
        ended = RunEnded(status=RunStatus.INTERRUPTED, error_code="interrupted", error_text=text)
        await _settle(db, session, holder, ended)
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


async def _append(
    db: AsyncSession,
    run: ClaimedRun,
    *,
    messages: Sequence[ModelMessage] = (),
    events: Sequence[Event] = (),
) -> None:
    taken = await db.exec(
        update(SessionRow)
        .where(col(SessionRow.id) == run.session_id, col(SessionRow.active_run_id) == run.id)
        .values(
            last_event_seq=col(SessionRow.last_event_seq) + len(events),
            last_message_seq=col(SessionRow.last_message_seq) + len(messages),
            updated_at=datetime.now(UTC),
        )
        .returning(
            col(SessionRow.last_event_seq),
            col(SessionRow.last_message_seq),
            col(SessionRow.head_message_id),
        )
    )
    counters = taken.one_or_none()
    if counters is None:
        raise LeaseLostError(run.session_id, run.id)
    last_event, last_message, head = counters
    for seq, event in enumerate(events, last_event - len(events) + 1):
        db.add(event_row(run.session_id, seq, run.id, run.agent, event))
    await _keep_ledger(db, run.id, events)
    for seq, message in enumerate(messages, last_message - len(messages) + 1):
        head = await _add_message(db, run, seq, message, parent_id=head)
    if messages:
        await db.exec(
            update(SessionRow)
            .where(col(SessionRow.id) == run.session_id)
            .values(head_message_id=head)
        )


async def _add_message(
    db: AsyncSession, run: ClaimedRun, seq: int, message: ModelMessage, *, parent_id: int | None
) -> int:
    body, instructions = split_message(message)
    if instructions is not None and await db.get(BlobRow, instructions.sha256) is None:
        db.add(instructions)
        await db.flush()
    row = MessageRow(
        parent_id=parent_id,
        session_id=run.session_id,
        run_id=run.id,
        seq=seq,
        kind=message.kind,
        body=body,
        instructions_sha256=instructions.sha256 if instructions else None,
    )
    db.add(row)
    await db.flush()
    assert row.id is not None, "the database numbers messages when they are written"
    return row.id


async def _keep_ledger(db: AsyncSession, run_id: str, events: Sequence[Event]) -> None:
    calls = {event.call_id: event for event in events if isinstance(event, ToolCalled)}
    if calls:
        # A provider may give one id twice; the ledger keeps the first.
        of_these = col(ToolCallRow.run_id) == run_id, col(ToolCallRow.call_id).in_(calls)
        known = (await db.exec(select(ToolCallRow.call_id).where(*of_these))).all()
        db.add_all(_ledger_row(run_id, calls[call_id]) for call_id in calls.keys() - set(known))
    for event in events:
        if isinstance(event, ToolReturned):
            await db.exec(
                update(ToolCallRow)
                .where(col(ToolCallRow.run_id) == run_id)
                .where(col(ToolCallRow.call_id) == event.call_id)
                .values(outcome=event.outcome, returned_at=datetime.now(UTC))
            )


def _ledger_row(run_id: str, called: ToolCalled) -> ToolCallRow:
    canonical = json.dumps(called.arguments, sort_keys=True, separators=(",", ":"))
    return ToolCallRow(
        run_id=run_id,
        call_id=called.call_id,
        tool=called.tool,
        arguments_sha256=hashlib.sha256(canonical.encode()).hexdigest(),
    )


async def _settle(db: AsyncSession, session: SessionRow, run: RunRow, ended: RunEnded) -> None:
    run.status = next_status(run.id, RunStatus(run.status), _ENDINGS[ended.status])
    run.output = ended.output
    run.error_code, run.error_text = ended.error_code, ended.error_text
    for name, value in ended.usage:
        if name != "version":
            setattr(run, name, value)
    run.ended_at = datetime.now(UTC)
    session.last_event_seq += 1
    db.add(event_row(session.id, session.last_event_seq, run.id, run.agent, ended))
    session.active_run_id = None
    session.updated_at = run.ended_at


def _lease_end() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=LEASE_S)
