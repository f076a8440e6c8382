"""Sessions deleted, with all that nothing else refers to.

A fork shares its origin's messages. A session that has forks leaves to them what they share, and
nothing else: its row stays, found by nobody, until the last of them is gone. So to delete one
session changes nothing in another.

Delegates have sessions of their own, which are found through the one for which they work alone:
they go with it.

Of what is deleted no more is read than that takes: whoever wants to be rid of a session whose rows
are damaged deletes it as any other.
"""

import json
from datetime import UTC, datetime
from typing import Any  # columns of several types

from sqlalchemy import (
    ColumnElement,
    Connection,
    Integer,
    Row,
    Select,
    and_,
    bindparam,
    case,
    cast,
    delete,
    exists,
    func,
    select,
    update,
)
from sqlalchemy.exc import OperationalError

from orchestrator.errors import NotFoundError, SessionBusyError
from orchestrator.ids import new_id
from orchestrator.lifecycle import TRANSITIONS, RunStatus
from orchestrator.store.finding import askable, name_of, nameless, problem_of
from orchestrator.store.liveness import Liveness
from orchestrator.store.messages import IN_LEDGER
from orchestrator.store.tables import (
    BLOB,
    EVENT,
    MESSAGE,
    RUN,
    SESSION,
    SESSION_BLOB,
    TOOL_CALL,
)
from orchestrator.store.writer import Transaction


def delete_session(session_id: str, owner: str | None, liveness: Liveness, tx: Transaction) -> None:
    """Delete a session: messages, events, runs, calls, and instructions that no other has.

    Raises:
        NotFoundError: If there is no such session.
        SessionBusyError: If a run holds it whose process is alive.
    """
    tx.flush()
    key = nameless(tx.connection, session_id, owner)
    this = SESSION.c.id == askable(session_id) if key is None else SESSION.c.pk == key
    session = _locked(tx.connection, this if owner is None else this & (SESSION.c.owner == owner))
    if session is not None:
        _delete(tx.connection, session, liveness)
    elif not tx.again:  # else it is done
        raise NotFoundError("session", session_id)


def _delete(db: Connection, session: Row[Any], liveness: Liveness) -> None:
    for pk in db.execute(_DELEGATES, {"session": session.pk}).scalars().all():
        delegate = _locked(db, SESSION.c.pk == pk)
        if delegate is not None:
            _delete(db, delegate, liveness)
    if session.active_run_pk is not None:
        _end_the_dead(db, session, liveness)
    db.execute(update(SESSION).where(SESSION.c.pk == session.pk).values(_emptied()))
    pk, seen = session.pk, set[int]()
    while pk is not None and pk not in seen:  # a damaged row may name itself as its origin
        seen.add(pk)
        pk = _leave_to_forks(db, pk)


def _locked(db: Connection, this: ColumnElement[bool]) -> Row[Any] | None:
    """Return the keys of a session and its holder; nobody else changes it in this transaction."""
    query: Select[Any] = (
        select(SESSION.c.pk, RUN.c.pk.label("active_run_pk"))
        .outerjoin(RUN, RUN.c.pk == SESSION.c.active_run_pk)
        .where(this, SESSION.c.deleted_at.is_(None))
        .with_for_update(of=SESSION)
    )
    return db.execute(query).one_or_none()


def _emptied() -> dict[str, Any]:
    # Of a damaged row, one may be there without the other.
    origin_seq = case((SESSION.c.origin_pk.is_(None), None), else_=_OWN_SEQ)
    return {
        "id": new_id(),  # its own may be damaged, and is free for an import
        "external_id": None,
        "title": "",
        "state": {},
        "usage": {},
        "active_run_pk": None,
        "last_event_seq": 0,
        "origin_seq": origin_seq,
        "deleted_at": datetime.now(UTC),
    }


def _end_the_dead(db: Connection, session: Row[Any], liveness: Liveness) -> None:
    this = RUN.c.pk == session.active_run_pk
    if liveness.living(db, [session.active_run_pk]):
        run_id = db.execute(select(RUN.c.id).where(this)).scalar_one()
        raise SessionBusyError(name_of(db, session.pk), run_id)
    # Not as others end it: what it has used need not be read, and cannot always be.
    status = TRANSITIONS[RunStatus.RUNNING]["process_died"].value
    db.execute(update(RUN).where(this).values(status=status, ended_at=datetime.now(UTC)))


def _leave_to_forks(db: Connection, pk: int) -> int | None:
    """Reduce a deleted session to what its forks share; return the next that may be reduced."""
    row = db.execute(_LOCKED, {"this": pk}).one_or_none()
    if row is None or not row.is_deleted:
        return None
    db.execute(delete(EVENT).where(EVENT.c.session_pk == pk))
    forks = (SESSION.c.origin_pk == pk, SESSION.c.pk != pk)
    # These share nothing that is this one's own: they are forks of its origin, or of none.
    earlier = update(SESSION).where(*forks, SESSION.c.origin_seq <= row.origin_seq)
    of_origin = {"origin_pk": row.origin_pk}
    db.execute(earlier.values(of_origin if row.origin_pk else of_origin | {"origin_seq": None}))
    try:
        shared = db.execute(select(func.max(SESSION.c.origin_seq)).where(*forks)).scalar_one()
    except OperationalError as error:
        shared = problem_of(error)
    if not isinstance(shared, int | None):
        return None  # a fork is damaged that may need any of it
    _remove_messages(db, pk, after=shared or 0)
    if shared is None:
        db.execute(delete(SESSION).where(SESSION.c.pk == pk))
    else:
        left = update(SESSION).where(SESSION.c.pk == pk)
        db.execute(left.values(last_message_seq=shared))
    origin: int | None = row.origin_pk
    return origin


def _remove_messages(db: Connection, pk: int, *, after: int) -> None:
    """Remove a session's messages above a number, and what only they refer to."""
    of_session = MESSAGE.c.session_pk == pk
    _cut_run(db, pk, after)
    db.execute(delete(MESSAGE).where(of_session, MESSAGE.c.seq > after))
    with_messages = select(MESSAGE.c.run_pk).where(of_session)
    without_messages = (RUN.c.session_pk == pk, RUN.c.pk.not_in(with_messages))
    runs = select(RUN.c.pk).where(*without_messages)
    db.execute(update(RUN).where(RUN.c.parent_pk.in_(runs)).values(parent_pk=None))
    db.execute(delete(TOOL_CALL).where(TOOL_CALL.c.run_pk.in_(runs)))
    db.execute(delete(RUN).where(*without_messages))
    _remove_blobs(db, pk)


def _remove_blobs(db: Connection, pk: int) -> None:
    """Remove the blobs that none of a session's messages refers to, nor another session."""
    blob, session = SESSION_BLOB.c.blob_pk, SESSION_BLOB.c.session_pk
    referred = select(MESSAGE.c.instructions_pk).where(
        MESSAGE.c.session_pk == pk, MESSAGE.c.instructions_pk.is_not(None)
    )
    unused = (session == pk, blob.not_in(referred))
    blobs = db.execute(select(blob).where(*unused)).scalars().all()
    db.execute(delete(SESSION_BLOB).where(*unused))
    nowhere = ~exists().where(blob == BLOB.c.pk)
    db.execute(delete(BLOB).where(BLOB.c.pk.in_(blobs), nowhere))


def _cut_run(db: Connection, pk: int, after: int) -> None:
    """Remove what a run has on record of the time after a message that stays."""
    here = (MESSAGE.c.session_pk == pk, MESSAGE.c.seq.in_((after, after + 1)))
    around = db.execute(select(MESSAGE.c.run_pk).where(*here)).scalars().all()
    if len(around) < 2 or around[0] != around[1]:
        return
    (run, _) = around
    cut = {"output": None, "output_seq": None, "output_part": None, "error_text": None}
    db.execute(update(RUN).where(RUN.c.pk == run).values(cut))
    stay = (MESSAGE.c.session_pk == pk, MESSAGE.c.seq <= after, MESSAGE.c.run_pk == run)
    requests = select(MESSAGE.c.body).where(*stay, MESSAGE.c.kind == "request")
    try:
        bodies = db.execute(requests).scalars().all()
    except OperationalError as error:
        problem_of(error)
        return  # one of them is no text: it is not known which calls they show
    calls = {call for body in bodies for call in _calls_in(body)}
    not_shown = (TOOL_CALL.c.run_pk == run, TOOL_CALL.c.call_id.not_in(calls))
    db.execute(delete(TOOL_CALL).where(*not_shown))


def _calls_in(body: str) -> list[str]:
    try:
        return [part[IN_LEDGER] for part in json.loads(body)["parts"] if IN_LEDGER in part]
    except (ValueError, LookupError, TypeError):
        return []  # what is damaged refers to nothing that could be read


_ABOVE = RUN.alias("above")
_DELEGATES = (
    select(SESSION.c.pk)
    .join(RUN, RUN.c.session_pk == SESSION.c.pk)
    # A run is younger than the one that has asked it; a damaged row may say otherwise.
    .join(_ABOVE, and_(_ABOVE.c.pk == RUN.c.parent_pk, _ABOVE.c.pk < RUN.c.pk))
    .where(_ABOVE.c.session_pk == bindparam("session"), SESSION.c.deleted_at.is_(None))
    .where(SESSION.c.pk != _ABOVE.c.session_pk)
    .distinct()
)
_ORIGIN = SESSION.alias("origin")
_OWN_SEQ = func.coalesce(cast(SESSION.c.origin_seq, Integer), 0)
"""The messages that a session shares with its origin: these are not its own."""
_LOCKED = (
    select(
        _ORIGIN.c.pk.label("origin_pk"),
        _OWN_SEQ.label("origin_seq"),
        SESSION.c.deleted_at.is_not(None).label("is_deleted"),
    )
    .select_from(SESSION)
    .outerjoin(_ORIGIN, _ORIGIN.c.pk == SESSION.c.origin_pk)
    .where(SESSION.c.pk == bindparam("this"))
    .with_for_update(of=SESSION)
)
