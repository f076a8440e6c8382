"""Sessions found by their id, for whoever owns them: what another owns is not there.

SQLite keeps in a column whatever was put there. A session whose own id is none any more is named by
the key of its row, as `row:12`, so that its owner can be rid of it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, TypeGuard  # Any: a row of several tables' columns

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.exc import OperationalError

from orchestrator.errors import NotFoundError, SessionDamagedError
from orchestrator.session import ID, DamagedSession, Session, SessionStatus
from orchestrator.store.liveness import Liveness
from orchestrator.store.log import fill_outputs
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import RUN, SESSION, RunRow, SessionRow

_ORIGIN = SESSION.alias("origin")

SESSIONS = (
    select(
        *(column for column in SESSION.c if column.name != "state"),
        RUN.c.id.label("active_run_id"),
        _ORIGIN.c.id.label("origin_id"),
        _ORIGIN.c.deleted_at.label("origin_deleted_at"),
    )
    .outerjoin(RUN, RUN.c.pk == SESSION.c.active_run_pk)
    .outerjoin(_ORIGIN, _ORIGIN.c.pk == SESSION.c.origin_pk)
    .where(SESSION.c.deleted_at.is_(None))
)
"""The rows that `sessions_of` takes; a query adds which."""

_BY_ID = Prepared(SESSIONS.where(SESSION.c.id == bindparam("this")))
_THIS = select(SESSION).where(SESSION.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
_ROW = Prepared(_THIS)
_LOCKED_ROW = Prepared(_THIS.with_for_update())
_RUNS = select(RUN).where(RUN.c.session_pk == bindparam("this")).order_by(RUN.c.pk)


_SESSION = TypeAdapter(Session)
_BY_KEY = SESSIONS.where(SESSION.c.pk == bindparam("this"))
_ID = select(SESSION.c.id).where(SESSION.c.pk == bindparam("this"))
_THERE = select(SESSION.c.pk).where(
    SESSION.c.pk == bindparam("this"), SESSION.c.deleted_at.is_(None)
)
_NAMED_BY_ROW = re.compile("row:([0-9]{1,18})")
_TEXTS = ("owner", "agent", "root", "title")
_NUMBERS = ("state_version", "window_seq", "last_event_seq", "last_message_seq")
_NUMBERS_OR_NONE = ("origin_pk", "origin_seq", "active_run_pk")
_UNREADABLE = (ValueError, OperationalError)


@dataclass(frozen=True)
class Damaged:
    """A row that cannot be read, and how many that can be stand before it."""

    pk: int
    before: int
    session: DamagedSession


def rows_of(
    db: Connection, query: Select[Any], limit: int
) -> tuple[Sequence[Row[Any]], Sequence[Damaged]]:
    """Return the first rows of a query of `SESSIONS` that can be read, and those that cannot."""
    try:
        rows = db.execute(query.limit(limit)).all()
        for row in rows:
            _session(row, alive=False)
    except _UNREADABLE as error:
        problem_of(error)
        return _whole_rows(db, query, limit)
    return rows, []


def _whole_rows(
    db: Connection, query: Select[Any], limit: int
) -> tuple[Sequence[Row[Any]], Sequence[Damaged]]:
    """Do as `rows_of` does, row by row: one that cannot be read must not hide the others."""
    whole: list[Row[Any]] = []
    damaged: list[Damaged] = []
    for (pk,) in db.execute(query.with_only_columns(SESSION.c.pk)):
        try:
            row: Row[Any] = db.execute(_BY_KEY, {"this": pk}).one()  # type: ignore[assignment]  # it counts ten columns
            _session(row, alive=False)
            whole.append(row)
        except _UNREADABLE as error:
            session = DamagedSession(name_of(db, pk), problem_of(error))
            damaged.append(Damaged(pk, len(whole), session))
        if len(whole) == limit:
            break
    return whole, damaged


def name_of(db: Connection, pk: int) -> str:
    """Return by what a session can be named whose row is damaged."""
    try:
        session_id = db.execute(_ID, {"this": pk}).scalar_one()
    except OperationalError as error:
        problem_of(error)
        session_id = None
    return session_id if _is_id(session_id) else f"row:{pk}"


def _is_id(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and re.fullmatch(ID, value) is not None


def nameless(db: Connection, name: str, owner: str | None) -> int | None:
    """Return the key of a session whose own id is damaged, if a name is that of such a row."""
    match = _NAMED_BY_ROW.fullmatch(name)
    if match is None:
        return None
    query = _THERE if owner is None else _THERE.where(SESSION.c.owner == owner)
    pk: int | None = db.execute(query, {"this": int(match[1])}).scalar_one_or_none()
    return None if pk is None or name_of(db, pk) != name else pk


def problem_of(error: ValueError | OperationalError) -> str:
    """Return what is wrong with a row; raise what is wrong with the database."""
    if not isinstance(error, OperationalError):
        return str(error)
    cause = str(error.orig)
    if "decode" not in cause:  # SQLite's word for text that is no UTF-8
        raise error
    return cause.partition(" with text")[0]  # which is not for a terminal


def sessions_of(db: Connection, rows: Sequence[Any], liveness: Liveness) -> list[Session]:
    """Return the sessions that rows of `SESSIONS` tell of, in the same order.

    Raises:
        ValueError: If one of them is damaged.
    """
    held = [row.active_run_pk for row in rows if row.active_run_pk is not None]
    living = liveness.living(db, held) if held else set()
    return [_session(row, alive=row.active_run_pk in living) for row in rows]


def _session(row: Any, *, alive: bool) -> Session:
    if not _is_id(row.id):
        raise ValueError("id: it is none")
    fields = {
        "id": row.id,
        "owner": row.owner,
        "external_id": row.external_id,
        "agent": row.agent,
        "root": row.root,
        "title": row.title,
        "status": SessionStatus.RUNNING if alive else SessionStatus.IDLE,
        "active_run_id": row.active_run_id,
        "origin_id": row.origin_id if row.origin_deleted_at is None else None,
        "origin_seq": row.origin_seq,
        "window_seq": row.window_seq,
        "last_message_seq": row.last_message_seq,
        "last_event_seq": row.last_event_seq,
        "state_version": row.state_version,
        "usage": row.usage,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }
    try:
        return _SESSION.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"{first['loc'][0]}: {first['msg']}") from None


def find_session(db: Connection, session_id: str, owner: str | None, liveness: Liveness) -> Session:
    """Return a session.

    Raises:
        NotFoundError: If there is none of this id, or another owns it. No owner owns all.
        SessionDamagedError: If its row cannot be read.
    """
    row = _found(db, _BY_ID, session_id, owner)
    try:
        return sessions_of(db, [row], liveness)[0]
    except ValueError as error:
        raise SessionDamagedError(session_id, str(error)) from error


def find_row(db: Connection, session_id: str, owner: str | None) -> SessionRow:
    """Return a session's row, to look at. Raises as `find_session` does."""
    return SessionRow(**vars(_found(db, _ROW, session_id, owner)))


def lock_row(db: Connection, session_id: str, owner: str | None) -> SessionRow:
    """Return a session's row, which nobody else changes in this transaction.

    Raises as `find_session` does.
    """
    return SessionRow(**vars(_found(db, _LOCKED_ROW, session_id, owner)))


def runs_of(db: Connection, session: SessionRow) -> list[RunRow]:
    """Return a session's own runs, in the order in which they began, with their answers."""
    runs = [RunRow(**row._mapping) for row in db.execute(_RUNS, {"this": session.pk})]
    fill_outputs(db, session, runs)
    return runs


def askable(name: str) -> str:
    """Return an id that may be asked for, or one that nothing has.

    An id is ASCII; what is not may be text that no database takes.
    """
    return name if name.isascii() and "\0" not in name else ""


def _found(db: Connection, query: Prepared, session_id: str, owner: str | None) -> SimpleNamespace:
    try:
        rows = query.named(db, {"this": askable(session_id)})
    except _UNREADABLE as error:
        raise SessionDamagedError(session_id, problem_of(error)) from error
    found = SimpleNamespace(**rows[0]) if rows else None
    if found is None and nameless(db, session_id, owner) is not None:
        raise SessionDamagedError(session_id, "its id is none")
    if found is None or owner not in (None, found.owner):
        raise NotFoundError("session", session_id)
    _check(session_id, found)
    return found


def _check(session_id: str, row: SimpleNamespace) -> None:
    texts = [*(getattr(row, name) for name in _TEXTS), row.external_id or ""]
    if not all(isinstance(text, str) for text in texts):
        raise SessionDamagedError(session_id, "a text in it is none")
    if not isinstance(getattr(row, "state", {}), dict):
        raise SessionDamagedError(session_id, "its state is no object")
    check_numbers(session_id, (getattr(row, name) for name in _NUMBERS))
    check_numbers(session_id, (getattr(row, name) or 0 for name in _NUMBERS_OR_NONE))


def check_run(session_id: str, run: Row[Any]) -> None:
    """Refuse the row of a run that holds bytes, which no column of it takes, or no numbers.

    Raises:
        SessionDamagedError: If it does.
    """
    if any(isinstance(value, bytes) for value in run):
        raise SessionDamagedError(session_id, "a run of it holds bytes")
    places = (0 if place is None else place for place in (run.output_seq, run.output_part))
    check_numbers(session_id, (run.first_message_seq, *places))


def check_numbers(session_id: str, numbers: Iterable[object]) -> None:
    """Refuse a row whose columns of numbers hold something else.

    Raises:
        SessionDamagedError: If one does.
    """
    if not all(isinstance(number, int) for number in numbers):
        raise SessionDamagedError(session_id, "a number in it is none")
