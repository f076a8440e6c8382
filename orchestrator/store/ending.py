"""The pieces of work that end runs: by their own process, or for one that cannot any more."""

from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any  # what columns hold

from pydantic_ai import RunUsage
from sqlalchemy import Connection, bindparam, func, select, update

from orchestrator.errors import LeaseLostError
from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import MOVE_ON, append, event_row, first_number
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.compaction import used_for_compaction
from orchestrator.store.facts import Place, Said, parts_of
from orchestrator.store.liveness import Liveness
from orchestrator.store.messages import Elsewhere, StoredMessage, read_messages
from orchestrator.store.tables import EVENT, MESSAGE, RUN, SESSION, TOOL_CALL
from orchestrator.store.usage import added as usage_with
from orchestrator.store.usage import beyond, dump_usage, together, used_by
from orchestrator.store.writer import Transaction

_TRIGGERS = {
    RunStatus.SUCCEEDED: "run_succeeded",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.INTERRUPTED: "process_died",
}
"""What in the table of transitions leads to each status that ends a run."""

_COUNTED = tuple(name for name in Usage.model_fields if name != "version")


def end(
    tx: Transaction,
    run: ClaimedRun,
    ended: RunEnded,
    added: Additions,
    session_usage: RunUsage | None,
) -> None:
    """Write how a run ended, and give its session free.

    Raises:
        LeaseLostError: If the run does not hold its session any more.
    """
    added = replace(added, events=(*added.events, ended))
    if tx.again and _has_ended(tx, run, run.event_seq + len(added.events)):
        return
    if session_usage is None:
        append(tx, run, added, _LEAVE)
    else:
        append(tx, run, added, _LEAVE_USED, usage=dump_usage(session_usage))
    parts = run.parts | parts_of(added.messages, first=first_number(run, added))
    place = Said(parts=parts).place_of_text(ended.output)
    values = _end_of_run(run.id, ended, datetime.now(UTC), place)
    tx.connection.execute(_END_RUN, {"this": run.pk, **values})


def _has_ended(tx: Transaction, run: ClaimedRun, seq: int) -> bool:
    """Say whether a run is on record as ended with this event, and by its own process."""
    this = {"session": run.session_pk, "run": run.pk, "seq": seq}
    return tx.connection.execute(_ENDED, this).one_or_none() is not None


def end_by_record(tx: Transaction, session_pk: int, run_pk: int, ended: RunEnded) -> None:
    """End a run, of which nobody knows more than what is on record, and give its session free.

    Args:
        tx: Where to write.
        session_pk: The session that the run holds.
        run_pk: The run.
        ended: How it ended; what it used is filled in.

    Raises:
        HistoryUnreadableError: If one of its messages cannot be read. Nothing is written then.
    """
    tx.flush()
    run = tx.connection.execute(_RUN, {"this": run_pk}).one()
    session = tx.connection.execute(_SESSION, {"this": session_pk}).one()
    used = usage_on_record(tx.connection, session_pk, run_pk)
    already = Usage(**{name: getattr(run, name) for name in _COUNTED})
    ended = ended.model_copy(update={"usage": used})
    total = usage_with(session.usage, beyond(used, already))
    now = datetime.now(UTC)
    seq = session.last_event_seq + 1
    tx.insert(EVENT, event_row(session_pk, run_pk, seq, ended, Said(), now))
    tx.connection.execute(_END_RUN, {"this": run_pk, **_end_of_run(run.id, ended, now)})
    tx.connection.execute(_LEFT, {"this": session_pk, "to_event": seq, "usage": total})


def interrupt(tx: Transaction, session_pk: int, run_pk: int, run_id: str) -> None:
    """Mark a run interrupted, whose process is dead.

    Raises:
        HistoryUnreadableError: If one of its messages cannot be read. Nothing is written then.
    """
    text = f"The process of run {run_id!r} ended without a word."
    ended = RunEnded(status=RunStatus.INTERRUPTED, error_code="interrupted", error_text=text)
    end_by_record(tx, session_pk, run_pk, ended)


def interrupt_orphan(liveness: Liveness, session_pk: int, run_pk: int, tx: Transaction) -> None:
    """Mark a run interrupted, whose process is dead.

    Raises:
        HistoryUnreadableError: If one of its messages cannot be read. Nothing is written then.
    """
    session = tx.connection.execute(_SESSION, {"this": session_pk}).one()
    if session.active_run_pk != run_pk or liveness.living(tx.connection, [run_pk]):
        return  # others were quicker
    run = tx.connection.execute(_RUN, {"this": run_pk}).one()
    interrupt(tx, session_pk, run_pk, run.id)


def give_up(run: ClaimedRun, holder: str, ended: RunEnded, tx: Transaction) -> None:
    """End a run whose process is not sure how much of it is on record.

    Raises:
        LeaseLostError: If the run does not hold its session any more.
        HistoryUnreadableError: If one of its messages cannot be read.
    """
    session = tx.connection.execute(_SESSION, {"this": run.session_pk}).one()
    found = tx.connection.execute(_RUN, {"this": run.pk}).one()
    if session.active_run_pk != run.pk or found.lease_owner != holder:
        raise LeaseLostError(run.session_id, run.id)
    end_by_record(tx, run.session_pk, run.pk, ended)


def to_stop(runs: Collection[int], holder: str, tx: Transaction) -> set[int]:
    """Return which of these runs their process, the holder, must not go on with."""
    going_on = tx.connection.execute(_GOING_ON, {"runs": [*runs], "holder": holder}).scalars()
    return {*runs}.difference(going_on)


def usage_on_record(connection: Connection, session_pk: int, run_pk: int) -> Usage:
    """Return what a run has used as far as its messages tell: its process cannot."""
    bodies = connection.execute(
        select(MESSAGE.c.seq, MESSAGE.c.body).where(
            MESSAGE.c.session_pk == session_pk,
            MESSAGE.c.run_pk == run_pk,
            MESSAGE.c.kind == "response",
        )
    )
    rows = [
        StoredMessage(
            seq=seq, run_pk=run_pk, run_id="", kind="response", body=body, instructions_pk=None
        )
        for seq, body in bodies
    ]
    done = select(func.count()).where(
        TOOL_CALL.c.run_pk == run_pk, TOOL_CALL.c.outcome == "success"
    )
    tool_calls = connection.execute(done).scalar_one()
    used = used_by(read_messages(rows, Elsewhere(session_id="")), tool_calls=tool_calls)
    return together(used, used_for_compaction(connection, session_pk, run_pk))


def _end_of_run(
    run_id: str, ended: RunEnded, now: datetime, place: Place | None = None
) -> dict[str, Any]:
    seq, part = place or (None, None)
    return {
        "status": next_status(run_id, RunStatus.RUNNING, _TRIGGERS[ended.status]).value,
        "output": ended.output if place is None else None,
        "output_seq": seq,
        "output_part": part,
        "error_code": ended.error_code,
        "error_text": ended.error_text,
        "ended_at": now,
        **{name: getattr(ended.usage, name) for name in _COUNTED},
    }


def _changing(columns: Collection[str]) -> dict[str, Any]:
    return {name: bindparam(name) for name in columns}


# Statements are made once: to put one together costs more than to run it.
_GOING_ON = select(RUN.c.pk).where(
    RUN.c.pk.in_(bindparam("runs", expanding=True)),
    RUN.c.lease_owner == bindparam("holder"),
    RUN.c.status == RunStatus.RUNNING.value,
    RUN.c.cancel_asked_at.is_(None),
)
_RUN = select(RUN.c.id, RUN.c.lease_owner, *(RUN.c[name] for name in _COUNTED)).where(
    RUN.c.pk == bindparam("this")
)
_ENDED = (
    select(EVENT.c.seq)
    .join(RUN, RUN.c.pk == EVENT.c.run_pk)
    .where(
        EVENT.c.session_pk == bindparam("session"),
        EVENT.c.seq == bindparam("seq"),
        EVENT.c.run_pk == bindparam("run"),
        EVENT.c.type == "run_ended",
        RUN.c.status.not_in((RunStatus.RUNNING.value, RunStatus.INTERRUPTED.value)),
    )
)
_SESSION = (
    select(SESSION.c.active_run_pk, SESSION.c.last_event_seq, SESSION.c.usage)
    .where(SESSION.c.pk == bindparam("this"))
    .with_for_update()
)
_LEAVE = MOVE_ON.values(active_run_pk=None)
_LEAVE_USED = _LEAVE.values(usage=bindparam("usage"))
_LEFT = (
    update(SESSION)
    .where(SESSION.c.pk == bindparam("this"))
    .values(active_run_pk=None, last_event_seq=bindparam("to_event"), usage=bindparam("usage"))
)
_END_RUN = (
    update(RUN)
    .where(RUN.c.pk == bindparam("this"))
    .values(
        _changing(
            (
                "status",
                "output",
                "output_seq",
                "output_part",
                "error_code",
                "error_text",
                "ended_at",
                *_COUNTED,
            )
        )
    )
)
