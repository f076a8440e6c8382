"""Sessions listed, page by page.

A page ends with where it stopped in the order of `updated_at` and `pk`, and the next one goes on
below that. So no session comes twice, and none is left out, unless something has happened in it
meanwhile: then it is at the top of the list, which the reader has passed.
"""

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any  # rows of several tables' columns

from sqlalchemy import Connection, Row, Select, or_

from orchestrator.errors import InvalidInputError
from orchestrator.session import OURS, Filters, Page, SessionStatus
from orchestrator.store.finding import SESSIONS, rows_of, sessions_of
from orchestrator.store.liveness import Liveness
from orchestrator.store.search import saying, words_of
from orchestrator.store.tables import SESSION, plain

MAX_LIMIT = 1000
LOOKED_AT = 500
"""Sessions that one page looks at, when the database alone cannot tell which fit."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Query:
    """Which sessions a page is to hold."""

    owner: str | None
    which: Filters
    limit: int
    cursor: str | None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise InvalidInputError(
                f"A page has between 1 and {MAX_LIMIT} sessions, not {self.limit}."
            )


def list_sessions(db: Connection, query: Query, liveness: Liveness) -> Page:
    """Return the sessions that fit, those that were active last first.

    Raises:
        InvalidInputError: If a filter or the cursor cannot be.
    """
    limit, which = query.limit, query.which
    words = () if (search := which.get("search")) is None else words_of(search)
    status = which.get("status")
    size = limit + 1 if not words and status is None else max(LOOKED_AT, limit + 1)
    rows, damaged = rows_of(db, _below(_fitting(query.owner, which), query.cursor), size)
    looked_at = [*(row.pk for row in rows), *(one.pk for one in damaged)]
    said = saying(db, looked_at, words)
    found = [
        (row, session)
        for row, session in zip(rows, sessions_of(db, rows, liveness), strict=True)
        if row.pk in said and status in (None, session.status)
    ]
    last = rows[-1] if len(rows) == size else None
    if len(found) > limit:
        last = found[limit - 1][0]
    passed = len(rows) if last is None else rows.index(last)
    sessions = tuple(session for _, session in found[:limit])
    hurt = tuple(one.session for one in damaged if one.pk in said and one.before <= passed)
    return Page(sessions, None if last is None else _cursor(last), hurt)


def _fitting(owner: str | None, which: Filters) -> Select[Any]:
    """Return the query for the sessions that fit, as far as the database can tell."""
    of_users = or_(SESSION.c.external_id.is_(None), ~SESSION.c.external_id.startswith(OURS))
    query = SESSIONS.where(of_users).order_by(SESSION.c.updated_at.desc(), SESSION.c.pk.desc())
    for column, value in (
        (SESSION.c.owner, owner),
        (SESSION.c.agent, which.get("agent")),
        (SESSION.c.root, which.get("root")),
    ):
        if value is not None:
            query = query.where(column == plain(value))
    since, until = (_aware(which.get("since")), _aware(which.get("until")))
    if since is not None:
        query = query.where(SESSION.c.updated_at >= since)
    if until is not None:
        query = query.where(SESSION.c.updated_at < until)
    if which.get("status") is SessionStatus.RUNNING:
        query = query.where(SESSION.c.active_run_pk.is_not(None))
    return query


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInputError(f"{moment.isoformat()} has no time zone; give it one.")
    return moment


def _below(query: Select[Any], cursor: str | None) -> Select[Any]:
    if cursor is None:
        return query
    updated_at, pk = _position(cursor)
    # The first condition says where in the index to begin, which the second alone would not.
    return query.where(
        SESSION.c.updated_at <= updated_at,
        or_(SESSION.c.updated_at < updated_at, SESSION.c.pk < pk),
    )


def _cursor(row: Row[Any]) -> str:
    position = [(row.updated_at - _EPOCH) // _MICROSECOND, row.pk]
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode().rstrip("=")


def _position(cursor: str) -> tuple[datetime, int]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        microseconds, pk = json.loads(text)
        if not (type(microseconds) is type(pk) is int and 0 <= pk < 2**63):
            raise ValueError
        return _EPOCH + microseconds * _MICROSECOND, pk
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidInputError(
            f"{cursor[:40]!r} is no cursor of a page; begin without one."
        ) from None
