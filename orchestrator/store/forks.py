"""Forks: sessions whose past is the beginning of another one, by reference.

A fork's row says of which session it is a branch and after which message; nothing is copied but the
session's state, and nothing that the fork does reaches its origin. What the shared messages have
cost stays with the runs that have spent it: a fork's usage begins at zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, insert, select

from orchestrator.errors import HistoryUnreadableError, InvalidInputError, NotFoundError
from orchestrator.events import Event
from orchestrator.session import TITLE_CHARS
from orchestrator.store.compaction import load_window, window_at
from orchestrator.store.facts import told
from orchestrator.store.messages import COMPACTION, StoredMessage, is_settled, read_messages
from orchestrator.store.tables import RUN, SESSION, SessionRow
from orchestrator.store.window import elsewhere_of, path_to, stored_messages
from orchestrator.store.writer import Transaction

NEAR = 12
"""How far on each side of a message that cannot be the last shared one others are looked for."""


@dataclass(frozen=True, kw_only=True)
class ForkPoint:
    """Where a fork begins."""

    session_id: str
    seq: int
    """The last message that is shared; 0 if none is."""
    window_seq: int
    """The compaction that a model's history begins with there; 0 if there is none."""


@dataclass(frozen=True, kw_only=True)
class Inherited:
    """The past that a fork shares."""

    session_id: str | None
    """The session that it was forked from, which may itself be a fork; None if it is deleted."""
    upto: int
    """The last message that is shared."""
    events: Sequence[tuple[int, Event]]
    """What the shared messages tell, each with the number of its message, oldest first."""


def fork_point(db: Connection, session: SessionRow, *, at: int | None) -> ForkPoint:
    """Return where a session can be forked.

    A history can go on after an answer, after the results of calls, and wherever a run has ended.
    After a prompt or a call alone it cannot: the fork's model would take up what the origin's run
    is about, and do it a second time.

    Args:
        db: An open connection.
        session: The session to fork.
        at: The last message to share. By default the session's last one, or, while a run is under
            way, the last one before it.

    Raises:
        InvalidInputError: If there is no such message, or no history can go on after it; it names
            those near it after which one can.
        HistoryUnreadableError: If the messages up to there cannot be read.
    """
    last = session.last_message_seq
    began = _run_under_way(db, session)
    if at is None:
        at = last if began is None else began - 1
    elif not 0 <= at <= last:
        raise InvalidInputError(
            f"Session {session.id!r} has no message {at} to fork at; its last one is {last}."
        )
    elif at and not (at == last and began is None):
        _check_settled(db, session, at)
    return ForkPoint(session_id=session.id, seq=at, window_seq=_readable_window(db, session, at))


def _readable_window(db: Connection, session: SessionRow, at: int) -> int:
    """Return the compaction that a history up to a message begins with, once both were read.

    Without one that cannot be read: the messages that it stands for are all there.
    """
    assert session.pk is not None, "it was read"
    try:
        window_seq = window_at(db, session.pk, at)
        load_window(db, session.id, session.pk, upto=at, window_seq=window_seq)
    except HistoryUnreadableError as error:
        if error.what != "Compaction":
            raise
        window_seq = 0
        load_window(db, session.id, session.pk, upto=at, window_seq=window_seq)
    return window_seq


def _run_under_way(db: Connection, session: SessionRow) -> int | None:
    """Return the number of the first message of the run that holds a session, if one does."""
    if session.active_run_pk is None:
        return None
    began: int = db.execute(_FIRST_OF_RUN, {"run": session.active_run_pk}).scalar_one()
    return began


def _check_settled(db: Connection, session: SessionRow, at: int) -> None:
    assert session.pk is not None, "it was read"
    upto = min(at + NEAR, session.last_message_seq)
    rows = stored_messages(db, path_to(db, session.pk, upto), after=max(at - NEAR - 1, 0))
    allowed: list[int] = []
    settled = False
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        if row.kind != COMPACTION:  # which changes nothing in what has been asked
            settled = _is_settled(db, session.id, row)
        if settled or (following is not None and following.run_pk != row.run_pk):
            allowed.append(row.seq)
    if at not in allowed:
        near = [max((n for n in allowed if n < at), default=0)]
        near += [n for n in allowed if n > at][:1]
        raise InvalidInputError(
            f"Session {session.id!r} cannot be forked at message {at}: what it asks for has no "
            f"answer there. Fork at {' or '.join(map(str, near))}."
        )


def _is_settled(db: Connection, session_id: str, row: StoredMessage) -> bool:
    try:
        (message,) = read_messages([row], elsewhere_of(db, session_id, [row]))
    except HistoryUnreadableError:
        return False
    return is_settled(message)


def write_fork(tx: Transaction, point: ForkPoint, fork_id: str, title: str | None) -> None:
    """Add a session of this id that goes on from a point of another.

    Raises:
        NotFoundError: If the other one is gone.
    """
    if tx.again and tx.connection.execute(_ORIGIN, {"this": fork_id}).one_or_none():
        return
    origin = tx.connection.execute(_ORIGIN, {"this": point.session_id}).one_or_none()
    if origin is None:
        raise NotFoundError("session", point.session_id)
    now = datetime.now(UTC)
    fork = {
        "id": fork_id,
        "owner": origin.owner,
        "agent": origin.agent,
        "root": origin.root,
        "title": _title(origin.title, point.seq) if title is None else _one_line(title),
        "state": origin.state,
        "state_version": 0,
        "origin_pk": origin.pk,
        "origin_seq": point.seq,
        "window_seq": point.window_seq,
        "last_event_seq": 0,
        "last_message_seq": point.seq,
        "usage": {},
        "created_at": now,
        "updated_at": now,
    }
    tx.connection.execute(_NEW, fork)


def _title(of_origin: str, seq: int) -> str:
    suffix = f" (fork at {seq})"
    return _one_line(of_origin)[: TITLE_CHARS - len(suffix)] + suffix


def _one_line(title: str) -> str:
    return " ".join(title.split())[:TITLE_CHARS]


def inherited(db: Connection, session: SessionRow) -> Inherited | None:
    """Return the past that a session shares with the one it was forked from, if it is a fork.

    Raises:
        HistoryUnreadableError: If a message of it cannot be read.
    """
    if session.origin_pk is None or session.origin_seq is None:
        return None
    assert session.pk is not None, "it was read"
    origin_id = db.execute(_ID, {"pk": session.origin_pk}).scalar_one_or_none()
    path = path_to(db, session.pk, session.origin_seq)
    rows = [row for row in stored_messages(db, path) if row.kind != COMPACTION]
    messages = read_messages(rows, elsewhere_of(db, session.id, rows))
    events = [
        (row.seq, event)
        for row, message in zip(rows, messages, strict=True)
        for event in told(message)
    ]
    return Inherited(session_id=origin_id, upto=session.origin_seq, events=events)


_FIRST_OF_RUN = select(RUN.c.first_message_seq).where(RUN.c.pk == bindparam("run"))
# Whoever deletes the origin waits until the fork is there, and leaves it what it shares.
_ORIGIN = (
    select(
        SESSION.c.pk,
        SESSION.c.owner,
        SESSION.c.agent,
        SESSION.c.root,
        SESSION.c.title,
        SESSION.c.state,
    )
    .where(SESSION.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
    .with_for_update(read=True, key_share=True)
)
_ID = select(SESSION.c.id).where(SESSION.c.pk == bindparam("pk"), SESSION.c.deleted_at.is_(None))
_NEW = insert(SESSION)
