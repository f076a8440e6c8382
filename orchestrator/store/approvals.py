"""Questions and answers of runs that wait for a person's yes.

Both are events of the run: what is open are the questions that no answer comes after. An answer is
written while nobody holds the session, under the lock of its row, so that a question has one.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, select, update

from orchestrator.errors import (
    ApprovalNeededError,
    ConflictError,
    HistoryUnreadableError,
    NotFoundError,
)
from orchestrator.events import ApprovalDecided, ApprovalRequested, EventAdapter
from orchestrator.lifecycle import RunStatus
from orchestrator.store.additions import event_row
from orchestrator.store.claimed import Decision
from orchestrator.store.facts import Said
from orchestrator.store.tables import EVENT, RUN, SESSION
from orchestrator.store.writer import Transaction


@dataclass(frozen=True, kw_only=True)
class Question:
    """A call that waits for a person's yes."""

    session_id: str
    run_id: str
    agent: str
    root: str
    prompt: str
    asked_at: datetime
    request: ApprovalRequested
    top_session_id: str
    """The session to resume: that of the run that nobody has asked."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person has said."""

    is_approved: bool
    by: str
    reason: str = ""


def open_questions(db: Connection, owner: str | None, run_id: str | None) -> list[Question]:
    """Return what runs wait for, the oldest run first.

    Args:
        db: Where to read.
        owner: Whose; None for everybody's.
        run_id: Of which run; None for all.

    Raises:
        HistoryUnreadableError: If a question cannot be read.
    """
    query = _WAITING
    if owner is not None:
        query = query.where(SESSION.c.owner == owner)
    if run_id is not None:
        query = query.where(RUN.c.id == (run_id if run_id.isascii() else ""))
    found: list[Question] = []
    for run in db.execute(query).all():
        for at, request in _open(db, run.session_pk, run.pk):
            question = Question(
                session_id=run.session_id,
                run_id=run.id,
                agent=run.agent,
                root=run.root,
                prompt=run.prompt,
                asked_at=at,
                request=request,
                top_session_id=_top_session(db, run.pk),
            )
            found.append(question)
    return found


def answer(
    run_id: str, owner: str | None, call_id: str | None, said: Answer, tx: Transaction
) -> int:
    """Write down what was said to one question of a run, or to all; return how many are left.

    Raises:
        NotFoundError: If there is no such run or question.
        ConflictError: If the run does not wait.
    """
    tx.flush()
    db = tx.connection
    run = db.execute(_RUN, {"this": run_id if run_id.isascii() else ""}).one_or_none()
    if run is None or owner not in (None, run.owner):
        raise NotFoundError("run", run_id)
    session = db.execute(_LOCKED, {"this": run.session_pk}).one()
    status = db.execute(_STATUS, {"this": run.pk}).scalar_one()
    if status != RunStatus.WAITING:
        raise ConflictError(f"Run {run_id!r} does not wait for a yes: it is {status}.")
    waiting = [request.call_id for _, request in _open(db, run.session_pk, run.pk)]
    if call_id is not None and call_id not in waiting:
        if tx.again and _is_said(db, run.session_pk, run.pk, call_id, said):
            return len(waiting)
        raise NotFoundError("question", call_id, known=waiting)
    answered = waiting if call_id is None else [call_id]
    now = datetime.now(UTC)
    for seq, each in enumerate(answered, session.last_event_seq + 1):
        event = ApprovalDecided(
            call_id=each, is_approved=said.is_approved, by=said.by, reason=said.reason
        )
        tx.insert(EVENT, event_row(run.session_pk, run.pk, seq, event, Said(), now))
    seqs = {"this": run.session_pk, "to": session.last_event_seq + len(answered)}
    db.execute(_MOVE_ON, seqs)
    return len(waiting) - len(answered)


def _top_session(db: Connection, run_pk: int) -> str:
    run = db.execute(_ABOVE, {"this": run_pk}).one()
    return run.session_id if run.parent_pk is None else _top_session(db, run.parent_pk)


def _is_said(db: Connection, session_pk: int, run_pk: int, call_id: str, said: Answer) -> bool:
    """Whether this very answer is on record: the transaction before may have been committed."""
    known = decisions_of(db, session_pk, run_pk).get(call_id)
    return known is not None and said == Answer(
        is_approved=known.said.is_approved, by=known.said.by, reason=known.said.reason
    )


def refuse_undecided(db: Connection, session_pk: int, run_pk: int, run_id: str) -> None:
    """Let no run go on whose questions are open.

    Raises:
        ApprovalNeededError: It is such a run.
    """
    waiting = _open(db, session_pk, run_pk)
    if waiting:
        raise ApprovalNeededError(run_id, len(waiting))


def decisions_of(db: Connection, session_pk: int, run_pk: int) -> dict[str, Decision]:
    """Return what was said last to each call of a run, by the calls' ids."""
    asked: dict[str, ApprovalRequested] = {}
    decisions: dict[str, Decision] = {}
    for _, event in _events(db, session_pk, run_pk):
        if isinstance(event, ApprovalRequested):
            asked[event.call_id] = event
            decisions.pop(event.call_id, None)  # another call of the same id
        elif event.call_id in asked:
            decisions[event.call_id] = Decision(asked[event.call_id], event)
    return decisions


def _open(db: Connection, session_pk: int, run_pk: int) -> list[tuple[datetime, ApprovalRequested]]:
    waiting: dict[str, tuple[datetime, ApprovalRequested]] = {}
    for at, event in _events(db, session_pk, run_pk):
        if isinstance(event, ApprovalRequested):
            waiting[event.call_id] = (at, event)
        else:
            waiting.pop(event.call_id, None)
    return [*waiting.values()]


def _events(
    db: Connection, session_pk: int, run_pk: int
) -> Sequence[tuple[datetime, ApprovalRequested | ApprovalDecided]]:
    found: list[tuple[datetime, ApprovalRequested | ApprovalDecided]] = []
    for row in db.execute(_ASKED, {"session": session_pk, "run": run_pk}):
        try:
            fields = json.loads(row.body or "{}")
            event = EventAdapter.validate_python({**fields, "type": row.type})
        except (ValueError, TypeError) as error:  # pydantic's is a ValueError
            raise HistoryUnreadableError(row.session_id, row.seq, what="Event") from error
        if isinstance(event, ApprovalRequested | ApprovalDecided):
            found.append((row.at, event))
    return found


_KINDS = ("approval_requested", "approval_decided")
_ASKED = (
    select(EVENT.c.seq, EVENT.c.type, EVENT.c.body, EVENT.c.at, SESSION.c.id.label("session_id"))
    .join(SESSION, SESSION.c.pk == EVENT.c.session_pk)
    .where(
        EVENT.c.session_pk == bindparam("session"),
        EVENT.c.run_pk == bindparam("run"),
        EVENT.c.type.in_(_KINDS),
    )
    .order_by(EVENT.c.seq)
)
_WAITING = (
    select(
        *(RUN.c[name] for name in ("pk", "id", "session_pk", "agent", "prompt")),
        SESSION.c.id.label("session_id"),
        SESSION.c.root,
    )
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.status == RunStatus.WAITING.value, SESSION.c.deleted_at.is_(None))
    .order_by(RUN.c.pk)
)
_ABOVE = (
    select(RUN.c.parent_pk, SESSION.c.id.label("session_id"))
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.pk == bindparam("this"))
)
_RUN = (
    select(RUN.c.pk, RUN.c.session_pk, SESSION.c.owner)
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
)
_LOCKED = (
    select(SESSION.c.last_event_seq).where(SESSION.c.pk == bindparam("this")).with_for_update()
)
_STATUS = select(RUN.c.status).where(RUN.c.pk == bindparam("this"))
_MOVE_ON = (
    update(SESSION).where(SESSION.c.pk == bindparam("this")).values(last_event_seq=bindparam("to"))
)
