"""Runs of other processes, asked to stop: their process looks for that, and ends them."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.errors import ConflictError, NotFoundError
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.broken import interrupt
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


def ask_to_stop(session_id: str, owner: str | None, liveness: Liveness, tx: Transaction) -> Asked:
    """Ask for the run that holds a session to be cancelled.

    One whose process is dead is marked interrupted instead.

    Raises:
        NotFoundError: If there is no such session, or another owns it. No owner owns all.
        ConflictError: If no run holds it.
        HistoryUnreadableError: If a run of the dead cannot be read.
    """
    tx.flush()
    session = lock_row(tx.connection, session_id, owner)
    run_pk = session.active_run_pk
    if session.pk is None or run_pk is None:
        raise ConflictError(f"Session {session_id!r} has no run under way.")
    run_id = tx.connection.execute(_RUN_ID, {"this": run_pk}).scalar_one()
    if liveness.living(tx.connection, [run_pk]):
        tx.connection.execute(_ASK, {"this": run_pk, "now": datetime.now(UTC)})
    else:
        interrupt(tx, session.pk, run_pk)
    return Asked(run_id, session.last_event_seq)


_SESSION = (
    select(SESSION.c.id, SESSION.c.owner, RUN.c.status)
    .join(RUN, RUN.c.session_pk == SESSION.c.pk)
    .where(RUN.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
)
_RUN_ID = select(RUN.c.id).where(RUN.c.pk == bindparam("this"))
_ASK = update(RUN).where(RUN.c.pk == bindparam("this")).values(cancel_asked_at=bindparam("now"))
