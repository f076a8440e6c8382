"""Questions and answers of runs that wait for a person's yes.

Both are events of the run: what is open are the questions of its last attempt that no answer comes
after. An answer is written while nobody holds the session of the run, nor those of the runs for
which it works, under the lock of the top one's row, so that a question has one.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any  # rows of several tables

from sqlalchemy import Connection, Row, bindparam, exists, select

from orchestrator.errors import (
    ApprovalNeededError,
    ConflictError,
    HistoryUnreadableError,
    NotFoundError,
)
from orchestrator.events import ApprovalDecided, ApprovalRequested, EventAdapter, RunResumed
from orchestrator.lifecycle import RunStatus
from orchestrator.store.additions import add_to_free
from orchestrator.store.claimed import Decision
from orchestrator.store.finding import askable
from orchestrator.store.tables import EVENT, RUN, SESSION
from orchestrator.store.writer import Transaction

_Told = ApprovalRequested | ApprovalDecided | RunResumed
_Row = Row[*tuple[Any, ...]]
_Line = Sequence[_Row]
"""A run, the one that has asked it, and so on, up to the one that nobody has asked."""


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
    top_run_id: str
    """The run that nobody has asked, for which this one works; itself, if nobody has asked it."""
    top_session_id: str
    """The session of that run: the one to resume."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a person has said."""

    is_approved: bool
    by: str
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What is to be done when an answer is on record."""

    left: int
    """How many questions are still open of all runs that wait together."""
    top_session_id: str
    """The session to resume when none is left."""


def open_questions(db: Connection, owner: str | None, run_id: str | None) -> list[Question]:
    """Return what runs wait for, the oldest run first.

    A run goes on together with the one that has asked it. So its questions are open while all of
    these wait, and none of their sessions has gone on without them.

    Args:
        db: Where to read.
        owner: Whose; None for everybody's.
        run_id: Of this run and of those that work for it; None for all.

    Raises:
        HistoryUnreadableError: If a question cannot be read.
    """
    return [
        Question(
            session_id=run.session_id,
            run_id=run.id,
            agent=run.agent,
            root=run.root,
            prompt=run.prompt,
            asked_at=at,
            request=request,
            top_run_id=line[-1].id,
            top_session_id=line[-1].session_id,
        )
        for run, line in _waiting(db, owner, run_id)
        if _hindrance(line) is None
        for at, request in _open(db, run.session_pk, run.pk)
    ]


def answer(
    run_id: str, owner: str | None, call_id: str | None, said: Answer, tx: Transaction
) -> Answered:
    """Write down what was said to questions of a run and of those that work for it.

    To say the same again does nothing: whoever has said it may not have lived to let the run go on.

    Raises:
        NotFoundError: If there is no such run or question.
        ConflictError: If the run does not wait, the opposite has been said, or more than one call
            that waits has this id.
    """
    tx.flush()
    db = tx.connection
    run = db.execute(_RUN, {"this": askable(run_id)}).one_or_none()
    if run is None or owner not in (None, run.owner):
        raise NotFoundError("run", run_id)
    top = _line(db, run.pk)[-1]
    # Who answers or goes on at the same moment, by whatever run of these, waits for this.
    db.execute(_LOCKED, {"this": top.session_pk})
    hindrance = _hindrance(_line(db, run.pk))
    if hindrance is not None:
        raise ConflictError(f"Run {run_id!r} does not wait for a yes: {hindrance}.")
    waiting = open_questions(db, None, run_id)
    meant = [each for each in waiting if call_id in (None, each.request.call_id)]
    if call_id is not None and len(meant) > 1:
        runs = ", ".join(each.run_id for each in meant)
        raise ConflictError(f"{len(meant)} calls have the id {call_id!r}; name the run: {runs}.")
    if not meant:
        _check_said(db, run_id, call_id, said)
    for question in meant:
        _write(tx, question, said)
    tx.flush()
    left = open_questions(db, None, top.id)
    return Answered(left=len(left), top_session_id=top.session_id)


def _write(tx: Transaction, question: Question, said: Answer) -> None:
    run = tx.connection.execute(_RUN, {"this": question.run_id}).one()
    event = ApprovalDecided(
        call_id=question.request.call_id,
        is_approved=said.is_approved,
        by=said.by,
        reason=said.reason,
    )
    add_to_free(tx, run.session_pk, run.pk, event)


def _line(db: Connection, run_pk: int) -> _Line:
    line = [db.execute(_OF_LINE, {"this": run_pk}).one()]
    # A run is younger than the one that has asked it; a damaged row may say otherwise.
    while isinstance(above := line[-1].parent_pk, int) and above < line[-1].pk:
        line.append(db.execute(_OF_LINE, {"this": above}).one())
    return line


def _hindrance(line: _Line) -> str | None:
    """Return why a run cannot go on with an answer, if it cannot."""
    for run in line:
        if run.status != RunStatus.WAITING:
            whose = "it" if run is line[0] else f"run {run.id!r}, for which it works,"
            return f"{whose} is {run.status}"
        if run.is_left:
            return f"session {run.session_id!r} has gone on without it"
    return None


def _waiting(db: Connection, owner: str | None, run_id: str | None) -> Iterator[tuple[_Row, _Line]]:
    """Yield the runs that wait, each with its line; `run_id` is in each line, if it is given."""
    query = _WAITING if owner is None else _WAITING.where(SESSION.c.owner == owner)
    if run_id is not None:  # of all that wait, those below it are few
        query = query.where(RUN.c.pk.in_(_BELOW)).params(top=askable(run_id))
    for run in db.execute(query).all():
        line = _line(db, run.pk)
        if run_id in (None, *(each.id for each in line)):
            yield run, line


def _check_said(db: Connection, run_id: str, call_id: str | None, said: Answer) -> None:
    """Refuse an answer to what nobody asks, unless it is on record as it is.

    Raises:
        NotFoundError: Nobody has asked.
        ConflictError: The opposite is on record.
    """
    decided = [
        each.said
        for run, _ in _waiting(db, None, run_id)
        for each in decisions_of(db, run.session_pk, run.pk).values()
        if each.attempts == 0
    ]
    meant = [each for each in decided if call_id in (None, each.call_id)]
    if not meant:
        asked = [each.request.call_id for each in open_questions(db, None, run_id)]
        known = [*asked, *(each.call_id for each in decided)]
        raise NotFoundError("question", call_id or run_id, known=known)
    for each in meant:
        if each.is_approved != said.is_approved:
            answer = "yes" if each.is_approved else "no"
            raise ConflictError(
                f"{each.by!r} has said {answer} to call {each.call_id!r}, and the run has "
                f"yet to go on with that: say {answer} again to let it."
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
        match event:
            case ApprovalRequested(call_id=call_id):
                asked[call_id] = event
                decisions.pop(call_id, None)  # another call of the same id
            case ApprovalDecided(call_id=call_id) if call_id in asked:
                decisions[call_id] = Decision(asked[call_id], event)
            case RunResumed():
                for call_id, decision in decisions.items():
                    decisions[call_id] = replace(decision, attempts=decision.attempts + 1)
            case _:
                pass
    return decisions


def _open(db: Connection, session_pk: int, run_pk: int) -> list[tuple[datetime, ApprovalRequested]]:
    waiting: dict[str, tuple[datetime, ApprovalRequested]] = {}
    for at, event in _events(db, session_pk, run_pk):
        match event:
            case ApprovalRequested(call_id=call_id):
                waiting[call_id] = (at, event)
            case ApprovalDecided(call_id=call_id):
                waiting.pop(call_id, None)
            case RunResumed():  # it asks again for what it still wants to do
                waiting.clear()
    return [*waiting.values()]


def _events(db: Connection, session_pk: int, run_pk: int) -> Sequence[tuple[datetime, _Told]]:
    found: list[tuple[datetime, _Told]] = []
    for row in db.execute(_ASKED, {"session": session_pk, "run": run_pk}):
        try:
            fields = json.loads(row.body or "{}")
            event = EventAdapter.validate_python({**fields, "type": row.type})
        except (ValueError, TypeError) as error:  # pydantic's is a ValueError
            raise HistoryUnreadableError(row.session_id, row.seq, what="Event") from error
        if isinstance(event, _Told):
            found.append((row.at, event))
    return found


_KINDS = ("approval_requested", "approval_decided", "run_resumed")
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
_NAMED = select(RUN.c.pk).where(RUN.c.id == bindparam("top")).cte("below", recursive=True)
_BELOW = select(_NAMED.union(select(RUN.c.pk).join(_NAMED, RUN.c.parent_pk == _NAMED.c.pk)).c.pk)
_LATER = RUN.alias("later")
_OF_LINE = (
    select(
        *(RUN.c[name] for name in ("pk", "id", "parent_pk", "status", "session_pk")),
        SESSION.c.id.label("session_id"),
        exists()
        .where(_LATER.c.session_pk == RUN.c.session_pk, _LATER.c.pk > RUN.c.pk)
        .label("is_left"),
    )
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
