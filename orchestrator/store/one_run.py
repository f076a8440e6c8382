"""One run, found by its id alone, with the session that it is of."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, select

from orchestrator.errors import NotFoundError
from orchestrator.lifecycle import RunStatus
from orchestrator.store.finding import askable, find_row, name_of
from orchestrator.store.liveness import Liveness
from orchestrator.store.log import fill_outputs
from orchestrator.store.tables import EVENT, RUN, SESSION, RunRow


@dataclass(frozen=True, kw_only=True)
class FoundRun:
    """A run as it was when it was read."""

    row: RunRow
    session_id: str
    root: str
    first_seq: int
    """The number of its first event."""
    status: RunStatus
    """`interrupted` also if its process has died and nobody has written that down."""


def find_run(db: Connection, run_id: str, owner: str | None, liveness: Liveness) -> FoundRun:
    """Return a run with its answer.

    Raises:
        NotFoundError: If there is none of this id, or another owns it. No owner owns all.
        HistoryUnreadableError: If its answer cannot be read.
    """
    this = {"this": askable(run_id)}
    found = db.execute(_RUN, this).one_or_none()
    if found is None or owner not in (None, found.owner):
        raise NotFoundError("run", run_id)
    row = RunRow(**{column.name: found._mapping[column.name] for column in RUN.c})
    session = find_row(db, name_of(db, row.session_pk), owner)
    fill_outputs(db, session, [row])
    first = {"session": row.session_pk, "run": row.pk}
    status = RunStatus(row.status)
    if status is RunStatus.RUNNING and not liveness.living(db, [found.pk]):
        status = RunStatus.INTERRUPTED
    return FoundRun(
        row=row,
        session_id=session.id,
        root=session.root,
        first_seq=db.execute(_FIRST, first).scalar_one(),
        status=status,
    )


_RUN = (
    select(RUN, SESSION.c.owner)
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
)
_FIRST = (
    select(EVENT.c.seq)
    .where(EVENT.c.session_pk == bindparam("session"), EVENT.c.run_pk == bindparam("run"))
    .order_by(EVENT.c.seq)
    .limit(1)
)
