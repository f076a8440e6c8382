"""Runs that are to stop: another process is asked to end its own; what waits has nobody to ask."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any  # rows of several columns

from sqlalchemy import Connection, Row, bindparam, select, update

from orchestrator.errors import ConflictError, NotFoundError, RunCancelledError
from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import add_to_free
from orchestrator.store.broken import interrupt
from orchestrator.store.ending import COUNTED
from orchestrator.store.finding import askable, lock_row
from orchestrator.store.liveness import Liveness
from orchestrator.store.tables import RUN, SESSION
from orchestrator.store.writer import Transaction


@dataclass(frozen=True)
class Asked:
    """A run that is to stop, or has none who could."""

    run_id: str
    event_seq: int
    """The number of the session's last event at that time."""


def session_of(db: Connection, run_id: str, owner: str | None) -> str:
    """Return the session of a run.

    Raises:
        NotFoundError: If there is no such run, or another owns it. No owner owns all.
        IllegalTransitionError: If it has ended.
    """
    this = {"this": askable(run_id)}
    found = db.execute(_SESSION, this).one_or_none()
    if found is None or owner not in (None, found.owner):
        raise NotFoundError("run", run_id)
    next_status(run_id, RunStatus(found.status), "run_cancelled")
    session_id: str = found.id
    return session_id


def stop_run(
    session_id: str, owner: str | None, liveness: Liveness, run_id: str | None, tx: Transaction
) -> Asked:
    """Ask for the run that holds a session to be cancelled, or cancel the one that waits.

    One whose process is dead is marked interrupted instead.

    Args:
        session_id: The session.
        owner: Whose it has to be; None for anybody's.
        liveness: Who is alive.
        run_id: The run that is meant, if it matters which one it is.
        tx: Where to write.

    Raises:
        NotFoundError: If there is no such session, or another owns it.
        ConflictError: If no run holds it and none waits, or another one than is meant, or the one
            that waits works for another one.
        HistoryUnreadableError: If a run of the dead cannot be read.
    """
    tx.flush()
    session = lock_row(tx.connection, session_id, owner)
    this = {"this": session.active_run_pk, "session": session.pk}
    run = tx.connection.execute(_LAST if session.active_run_pk is None else _RUN, this).first()
    if run is not None and tx.again and run.status == RunStatus.CANCELLED:  # by the first try
        return Asked(run.id, session.last_event_seq - 1)
    if run is None or run.status not in _CAN_BE_STOPPED:
        raise ConflictError(f"Session {session_id!r} has no run under way, and none that waits.")
    if run_id not in (None, run.id):
        raise ConflictError(f"Session {session_id!r} has gone on without run {run_id!r}.")
    if run.status == RunStatus.WAITING:
        _cancel_waiting(tx, run)
    elif liveness.living(tx.connection, [run.pk]):
        tx.connection.execute(_ASK, {"this": run.pk, "now": datetime.now(UTC)})
    else:
        interrupt(tx, run.session_pk, run.pk)
    return Asked(run.id, session.last_event_seq)


def _cancel_waiting(tx: Transaction, run: Row[Any]) -> None:
    """Cancel a run that waits, which nobody holds, and those that wait to go on with it.

    Raises:
        ConflictError: If it is such a one itself.
    """
    if run.parent_pk is not None:
        above = tx.connection.execute(_RUN, {"this": run.parent_pk}).one()
        if above.status == RunStatus.WAITING:
            raise ConflictError(
                f"Run {run.id!r} works for run {above.id!r}, which waits too: cancel that one, or "
                "say no to the call."
            )
    below = [run]
    while below:
        each = below.pop()
        _end(tx, each)
        below += tx.connection.execute(_BELOW, {"run": each.pk}).all()


def _end(tx: Transaction, run: Row[Any]) -> None:
    used = Usage(**{name: run._mapping[name] for name in COUNTED})
    status = next_status(run.id, RunStatus(run.status), "run_cancelled")
    error = RunCancelledError("The run was cancelled while it waited for a person's yes.")
    ended = RunEnded(status=status, usage=used, error_code=error.code, error_text=str(error))
    add_to_free(tx, run.session_pk, run.pk, ended)
    values = {"now_status": status.value, "code": ended.error_code, "said": ended.error_text}
    tx.connection.execute(_CANCEL, {"this": run.pk, "now": datetime.now(UTC), **values})


_CAN_BE_STOPPED = (RunStatus.RUNNING, RunStatus.WAITING)
_COLUMNS = tuple(
    RUN.c[name] for name in ("pk", "id", "session_pk", "parent_pk", "status", *COUNTED)
)
_RUN = select(*_COLUMNS).where(RUN.c.pk == bindparam("this"))
_LAST = (
    select(*_COLUMNS)
    .where(RUN.c.session_pk == bindparam("session"))
    .order_by(RUN.c.pk.desc())
    .limit(1)
)
_BELOW = select(*_COLUMNS).where(
    RUN.c.parent_pk == bindparam("run"), RUN.c.status == RunStatus.WAITING.value
)
_SESSION = (
    select(SESSION.c.id, SESSION.c.owner, RUN.c.status)
    .join(RUN, RUN.c.session_pk == SESSION.c.pk)
    .where(RUN.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
)
_ASK = update(RUN).where(RUN.c.pk == bindparam("this")).values(cancel_asked_at=bindparam("now"))
_CANCEL = (
    update(RUN)
    .where(RUN.c.pk == bindparam("this"))
    .values(
        status=bindparam("now_status"),
        error_code=bindparam("code"),
        error_text=bindparam("said"),
        ended_at=bindparam("now"),
    )
)
