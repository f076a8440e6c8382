"""Sessions found by their id, for whoever owns them: what another owns is not there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any  # a row of several tables' columns

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Row, Select, bindparam, select
from sqlalchemy.exc import OperationalError

from orchestrator.errors import NotFoundError, SessionDamagedError
from orchestrator.session import DamagedSession, Session, SessionStatus
from orchestrator.store.liveness import Liveness
from orchestrator.store.log import fill_outputs
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

_BY_ID = SESSIONS.where(SESSION.c.id == bindparam("this"))
_ROW = select(SESSION).where(SESSION.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
_LOCKED_ROW = _ROW.with_for_update()
_RUNS = select(RUN).where(RUN.c.session_pk == bindparam("this")).order_by(RUN.c.pk)


_SESSION = TypeAdapter(Session)
_BY_KEY = SESSIONS.where(SESSION.c.pk == bindparam("this"))
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
    for pk, session_id in db.execute(query.with_only_columns(SESSION.c.pk, SESSION.c.id)):
        try:
            row: Row[Any] = db.execute(_BY_KEY, {"this": pk}).one()  # type: ignore[assignment]  # it counts ten columns
            _session(row, alive=False)
            whole.append(row)
        except _UNREADABLE as error:
            session = DamagedSession(str(session_id), problem_of(error))
            damaged.append(Damaged(pk, len(whole), session))
        if len(whole) == limit:
            break
    return whole, damaged


def problem_of(error: ValueError | OperationalError) -> str:
    """Return what is wrong with a row; raise what is wrong with the database."""
    if not isinstance(error, OperationalError):
        return str(error)
    cause = str(error.orig)
    if "decode" not in cause:  # SQLite's word for text that is no UTF-8
        raise error
    return cause.partition(" with text")[0]  # which is not for a terminal


def sessions_of(db: Connection, rows: Sequence[Row[Any]], liveness: Liveness) -> list[Session]:
    """Return the sessions that rows of `SESSIONS` tell of, in the same order.

    Raises:
        ValueError: If one of them is damaged.
    """
    held = [row.active_run_pk for row in rows if row.active_run_pk is not None]
    living = liveness.living(db, held) if held else set()
    return [_session(row, alive=row.active_run_pk in living) for row in rows]


def _session(row: Row[Any], *, alive: bool) -> Session:
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
    return SessionRow(**_found(db, _ROW, session_id, owner)._mapping)


def lock_row(db: Connection, session_id: str, owner: str | None) -> SessionRow:
    """Return a session's row, which nobody else changes in this transaction.

    Raises as `find_session` does.
    """
    return SessionRow(**_found(db, _LOCKED_ROW, session_id, owner)._mapping)


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


def _found(db: Connection, query: Select[Any], session_id: str, owner: str | None) -> Row[Any]:
    try:
        found = db.execute(query, {"this": askable(session_id)}).one_or_none()
    except _UNREADABLE as error:
        raise SessionDamagedError(session_id, problem_of(error)) from error
    if found is None or owner not in (None, found.owner):
        raise NotFoundError("session", session_id)
    if not all(isinstance(text, str) for text in (found.agent, found.root, found.title)):
        raise SessionDamagedError(session_id, "a text in it is none")
    return found
