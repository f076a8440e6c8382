"""What one transaction adds to a session: messages, events, calls, the end of a run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any  # what a JSON column holds

from pydantic import TypeAdapter
from pydantic_ai import Conversation, RunUsage
from pydantic_ai.messages import ModelMessage
from sqlalchemy import func, update
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from orchestrator.errors import LeaseLostError
from orchestrator.events import Event, RunEnded, ToolCalled, ToolReturned, Usage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.messages import event_row, join_message, split_message
from orchestrator.store.tables import BlobRow, MessageRow, RunRow, SessionRow, ToolCallRow
from orchestrator.store.usage import used_by

USAGE = TypeAdapter(RunUsage)

_ENDINGS = {
    RunStatus.SUCCEEDED: "run_succeeded",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.INTERRUPTED: "lease_lapsed",
}
"""What in the table of transitions leads to each final status."""


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


async def append(
    db: AsyncSession,
    run: ClaimedRun,
    *,
    messages: Sequence[ModelMessage] = (),
    events: Sequence[Event] = (),
) -> None:
    """Add messages and events, in this order, numbered by the counters on the session's row.

    Raises:
        LeaseLostError: If the run does not hold the session any more.
    """
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


async def usage_on_record(db: AsyncSession, run_id: str) -> Usage:
    """Return what a run has used as far as its messages tell: its process cannot."""
    of_the_run = select(MessageRow).where(col(MessageRow.run_id) == run_id)
    responses = (await db.exec(of_the_run.where(col(MessageRow.kind) == "response"))).all()
    done = select(func.count()).where(
        col(ToolCallRow.run_id) == run_id, col(ToolCallRow.outcome) == "success"
    )
    tool_calls = (await db.exec(done)).one()
    return used_by((join_message(row, {}) for row in responses), tool_calls=tool_calls)


def added(stored: dict[str, Any], used: Usage) -> dict[str, Any]:
    """Return a session's usage with that of one more run."""
    usage = USAGE.validate_python(stored)
    usage.requests += used.requests
    usage.tool_calls += used.tool_calls
    usage.input_tokens += used.input_tokens
    usage.cache_read_tokens += used.cache_read_tokens
    usage.output_tokens += used.output_tokens
    if used.cost is not None:
        usage.cost = (usage.cost or Decimal()) + used.cost
    written: dict[str, Any] = USAGE.dump_python(usage, mode="json")
    return written


async def settle(db: AsyncSession, session: SessionRow, run: RunRow, ended: RunEnded) -> None:
    """Write the end of a run to its row and its session, which is free then.

    Raises:
        IllegalTransitionError: If the run has ended already.
    """
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
