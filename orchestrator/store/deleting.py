"""Sessions deleted, with all that nothing else refers to.

A fork shares its origin's messages. A session that has forks leaves to them what they share, and
nothing else: its row stays, found by nobody, until the last of them is gone. So to delete one
session changes nothing in another.
"""

import json
from datetime import UTC, datetime

from sqlalchemy import Connection, delete, exists, func, select, update

from orchestrator.errors import NotFoundError, SessionBusyError
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.finding import lock_row
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
    SessionRow,
)
from orchestrator.store.writer import Transaction


def delete_session(session_id: str, owner: str | None, liveness: Liveness, tx: Transaction) -> None:
    """Delete a session: messages, events, runs, calls, and instructions that no other has.

    Raises:
        NotFoundError: If there is no such session.
        SessionBusyError: If a run holds it whose process is alive.
    """
    tx.flush()
    db = tx.connection
    try:
        session = lock_row(db, session_id, owner)
    except NotFoundError:
        if tx.again:  # it is done
            return
        raise
    _end_the_dead(db, session, liveness)
    db.execute(delete(EVENT).where(EVENT.c.session_pk == session.pk))
    emptied: dict[str, object] = {
        "external_id": None,
        "title": "",
        "state": {},
        "usage": {},
        "active_run_pk": None,
        "last_event_seq": 0,
        "deleted_at": datetime.now(UTC),
    }
    db.execute(update(SESSION).where(SESSION.c.pk == session.pk).values(emptied))
    pk = session.pk
    while pk is not None:
        pk = _leave_to_forks(db, pk)


def _end_the_dead(db: Connection, session: SessionRow, liveness: Liveness) -> None:
    if session.active_run_pk is None:
        return
    this = RUN.c.pk == session.active_run_pk
    run_id = db.execute(select(RUN.c.id).where(this)).scalar_one()
    if liveness.living(db, [session.active_run_pk]):
        raise SessionBusyError(session.id, run_id)
    # Not as others end it: what it has used need not be read, and cannot always be.
    status = next_status(run_id, RunStatus.RUNNING, "process_died").value
    db.execute(update(RUN).where(this).values(status=status, ended_at=datetime.now(UTC)))


def _leave_to_forks(db: Connection, pk: int) -> int | None:
    """Reduce a deleted session to what its forks share; return the next that may be reduced."""
    row = db.execute(
        select(SESSION.c.origin_pk, SESSION.c.origin_seq, SESSION.c.deleted_at)
        .where(SESSION.c.pk == pk)
        .with_for_update()
    ).one()
    if row.deleted_at is None:
        return None
    forks = SESSION.c.origin_pk == pk
    # These share nothing that is this one's own: they are forks of its origin, or of none.
    earlier = update(SESSION).where(forks, SESSION.c.origin_seq <= (row.origin_seq or 0))
    of_origin = {"origin_pk": row.origin_pk}
    db.execute(earlier.values(of_origin if row.origin_pk else of_origin | {"origin_seq": None}))
    shared = db.execute(select(func.max(SESSION.c.origin_seq)).where(forks)).scalar_one()
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
    stay = (MESSAGE.c.session_pk == pk, MESSAGE.c.seq <= after, MESSAGE.c.run_pk == run)
    requests = select(MESSAGE.c.body).where(*stay, MESSAGE.c.kind == "request")
    calls = {call for body in db.execute(requests).scalars() for call in _calls_in(body)}
    not_shown = (TOOL_CALL.c.run_pk == run, TOOL_CALL.c.call_id.not_in(calls))
    db.execute(delete(TOOL_CALL).where(*not_shown))
    cut = {"output": None, "output_seq": None, "output_part": None, "error_text": None}
    db.execute(update(RUN).where(RUN.c.pk == run).values(cut))


def _calls_in(body: str) -> list[str]:
    try:
        return [part[IN_LEDGER] for part in json.loads(body)["parts"] if IN_LEDGER in part]
    except (ValueError, LookupError, TypeError):
        return []  # what is damaged refers to nothing that could be read
