"""The piece of work that ends a run."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

from pydantic_ai import RunUsage
from sqlalchemy import Connection, bindparam, null, select, update

from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import MOVING_ON, append, first_number
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.facts import Place, Said, parts_of
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import EVENT, RUN
from orchestrator.store.usage import dump_usage
from orchestrator.store.writer import Transaction

COUNTED = tuple(name for name in Usage.model_fields if name != "version")
"""The columns of a run's row that say what it has used."""

_MOST = 2**31 - 1
_MOST_DOLLARS = 10**8

_TRIGGERS = {
    RunStatus.SUCCEEDED: "run_succeeded",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.INTERRUPTED: "process_died",
    RunStatus.WAITING: "run_waits",
}
"""What in the table of transitions leads to each status that ends a run."""


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
    end_row(tx.connection, (run.pk, run.id), ended, place)


def _has_ended(tx: Transaction, run: ClaimedRun, seq: int) -> bool:
    """Say whether a run is on record as ended with this event, and by its own process."""
    this = {"session": run.session_pk, "run": run.pk, "seq": seq}
    return tx.connection.execute(_ENDED, this).one_or_none() is not None


def end_row(
    db: Connection, run: tuple[int, str], ended: RunEnded, place: Place | None = None
) -> None:
    """Write into a run's row how it ended.

    Args:
        db: Where to write.
        run: Its key and its id.
        ended: How.
        place: Where its answer is, if that is the text of a message.
    """
    pk, run_id = run
    seq, part = place or (None, None)
    values = {
        "this": pk,
        "status": next_status(run_id, RunStatus.RUNNING, _TRIGGERS[ended.status]).value,
        "output": ended.output if place is None else None,
        "output_seq": seq,
        "output_part": part,
        "error_code": ended.error_code,
        "error_text": ended.error_text,
        "ended_at": datetime.now(UTC),
        **{name: _counted(getattr(ended.usage, name)) for name in COUNTED},
    }
    _END_ROW.change(db, values)


def _counted(used: int | Decimal | None) -> int | Decimal | None:
    """Return what a provider has told as its column can hold it; the event has it as it was told.

    Nobody has used so much. A cost like that is not known.
    """
    if isinstance(used, int):
        return min(used, _MOST)
    return used if used is not None and used.is_finite() and used < _MOST_DOLLARS else None


# Statements are made once: to put one together costs more than to run it.
_LEAVING = MOVING_ON.values(active_run_pk=null())
_LEAVE = Prepared(_LEAVING)
_LEAVE_USED = Prepared(_LEAVING.values(usage=bindparam("usage")))
_OUTPUT = ("output", "output_seq", "output_part")
_HOW = ("status", *_OUTPUT, "error_code", "error_text", "ended_at", *COUNTED)
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
_END_ROW = Prepared(
    update(RUN)
    .where(RUN.c.pk == bindparam("this"))
    .values({name: bindparam(name) for name in _HOW})
)
