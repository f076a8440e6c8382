"""What runs have used together, added up by the database.

A run that still goes on has no sums on its row yet: for these few, its messages are counted. Where
a row is damaged, the database would add up nonsense or nothing: then all are read one by one.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any  # rows and columns of several types

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    case,
    func,
    literal,
    select,
)
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from orchestrator.errors import HistoryUnreadableError, InvalidInputError
from orchestrator.events import Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.store.answered import NOTED, moved
from orchestrator.store.broken import usage_on_record
from orchestrator.store.tables import RUN, SESSION, plain
from orchestrator.totals import By, Total, UsageFilters, sum_of

UNKNOWN = "?"
"""In place of a name or a day that cannot be read."""

_FIRST_DAY = date(1970, 1, 1)
_MAX_COUNT = 2**53
"""Nobody gets so far; and programs that read JSON hold no larger number exactly."""
_DAYS = (date.max - _FIRST_DAY).days


class _day_of(GenericFunction[int]):  # noqa: N801 - the name of a function of SQL
    """Days since 1970, in UTC, of a `Moment`."""

    type = BigInteger()
    inherit_cache = True


@compiles(_day_of, "sqlite")
def _by_microseconds(element: _day_of, compiler: Any, **kwargs: Any) -> str:
    return f"({compiler.process(element.clauses, **kwargs)} / 86400000000)"


@compiles(_day_of, "postgresql")
def _by_epoch(element: _day_of, compiler: Any, **kwargs: Any) -> str:
    moment = compiler.process(element.clauses, **kwargs)
    return f"CAST(floor(EXTRACT(epoch FROM {moment}) / 86400) AS BIGINT)"


_KEYS: dict[By, ColumnElement[Any]] = {
    By.DAY: _day_of(RUN.c.started_at),
    By.AGENT: RUN.c.agent,
    By.SESSION: RUN.c.session_pk,
    By.MODEL: RUN.c.model,
    By.OWNER: RUN.c.session_pk,
    By.RUN: RUN.c.id,
}
_OF_SESSION: dict[By, ColumnElement[Any]] = {By.SESSION: SESSION.c.id, By.OWNER: SESSION.c.owner}
"""What is looked up once the runs of each session are added up: a join would go through all."""

_OF_RUN = ("requests", "tool_calls", "input_tokens", "cache_read_tokens", "output_tokens")
_IS_RUNNING = RUN.c.status == RunStatus.RUNNING.value
_SUMS = (
    func.count().label("runs"),
    *(func.sum(RUN.c[name]).label(name) for name in (*_OF_RUN, "cost")),
    func.sum(case((RUN.c.cost.is_(None), 1), else_=0)).label("unpriced_runs"),
)


def totals(db: Connection, by: By, which: UsageFilters) -> tuple[Total, ...]:
    """Return what the runs that fit have used. Those whose numbers are damaged are named instead.

    Days come in their order; anything else with what cost most first, then what used most tokens.

    Raises:
        InvalidInputError: If a time has no time zone.
    """
    try:
        found = _added_up(db, by, which)
    except (ValueError, OperationalError) as error:
        _raise_unless_of_a_row(error)
        runs = db.execute(_fitting(select(RUN.c.pk), which)).scalars().all()
        found = [_of_one(db, by, run) for run in runs]
    if by is By.MODEL:
        damaged = {run for total in found for run in total.damaged_runs}
        found += moved(db, db.execute(_fitting(NOTED, which)).all(), damaged)
    groups: dict[str, list[Total]] = {}
    for total in found:
        groups.setdefault(total.of, []).append(total)
    together = (sum_of(parts, of) for of, parts in groups.items())
    return tuple(sorted(together, key=_in_time if by is By.DAY else _by_use))


def _added_up(db: Connection, by: By, which: UsageFilters) -> list[Total]:
    found = [_total(_named(by, row[0]), row) for row in db.execute(_sums(by, which))]
    key = _OF_SESSION.get(by, _KEYS[by])
    going_on = select(key, RUN.c.pk, RUN.c.session_pk).select_from(RUN).outerjoin(SESSION)
    found += [
        _so_far(db, _named(by, row[0]), row)
        for row in db.execute(_fitting(going_on, which).where(_IS_RUNNING)).all()
    ]
    return found


def _raise_unless_of_a_row(error: ValueError | OperationalError) -> None:
    """Raise what is wrong with the database, and not with a row of it."""
    if isinstance(error, OperationalError):
        cause = str(error.orig)  # SQLite's, of text that is no UTF-8 and of what is no count
        if "decode" not in cause and "integer overflow" not in cause:
            raise error


def _of_one(db: Connection, by: By, pk: int) -> Total:
    of = _read_or(UNKNOWN, lambda: _key_of_one(db, by, pk))
    try:
        row = db.execute(_ONE, {"this": pk}).one()
        return _so_far(db, of, row) if row.status == RunStatus.RUNNING else _total(of, row)
    except (ValueError, OperationalError) as error:
        _raise_unless_of_a_row(error)
    run_id = _read_or(f"number {pk}", lambda: _key_of_one(db, By.RUN, pk))
    return Total(of=of, damaged_runs=(run_id,))


def _read_or(otherwise: str, read: Callable[[], str]) -> str:
    try:
        return read()
    except (ValueError, OperationalError) as error:
        _raise_unless_of_a_row(error)
        return otherwise


def _key_of_one(db: Connection, by: By, pk: int) -> str:
    column = RUN.c.started_at if by is By.DAY else _OF_SESSION.get(by, _KEYS[by])
    query = select(column).select_from(RUN).outerjoin(SESSION).where(RUN.c.pk == pk)
    key = db.execute(query).scalar_one()
    return key.astimezone(UTC).date().isoformat() if by is By.DAY else _named(by, key)


def _sums(by: By, which: UsageFilters) -> Select[Any]:
    key = _KEYS[by]
    query = select(key.label("key"), *_SUMS).where(~_IS_RUNNING).group_by(key)
    sums = _fitting(query, which)
    if by not in _OF_SESSION:
        return sums
    each = sums.subquery()
    columns = (each.c[column.name] for column in _SUMS)
    return (
        select(_OF_SESSION[by], *columns)
        .select_from(each)
        .outerjoin(SESSION, SESSION.c.pk == each.c.key)
    )


def _fitting(query: Select[Any], which: UsageFilters) -> Select[Any]:
    for column, value in (
        (RUN.c.agent, which.get("agent")),
        (RUN.c.model, which.get("model")),
    ):
        if value is not None:
            query = query.where(column == plain(value))
    for column, value in (
        (SESSION.c.id, which.get("session")),
        (SESSION.c.owner, which.get("owner")),
    ):
        if value is not None:
            theirs = select(SESSION.c.pk).where(column == plain(value))
            query = query.where(RUN.c.session_pk.in_(theirs))
    if (since := _aware(which.get("since"))) is not None:
        # A session's time leads to its runs: an index of theirs would cost a page with each turn.
        active = select(SESSION.c.pk).where(SESSION.c.updated_at >= since)
        query = query.where(RUN.c.session_pk.in_(active), RUN.c.started_at >= since)
    if (until := _aware(which.get("until"))) is not None:
        query = query.where(RUN.c.started_at < until)
    return query


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInputError(f"{moment.isoformat()} has no time zone; give it one.")
    return moment


def _named(by: By, key: Any) -> str:
    if by is not By.DAY:
        if not isinstance(key, str):
            raise ValueError(f"{key!r} is no name")
        return key
    # SQLite's day of what is no time is the first one; the sound ones on it are read one by one.
    if not (isinstance(key, int) and 0 < key < _DAYS):
        raise ValueError(f"{key!r} is no day")
    return (_FIRST_DAY + timedelta(days=key)).isoformat()


def _total(of: str, row: Row[Any]) -> Total:
    sums: dict[str, Any] = {name: _whole(row._mapping[name]) for name in _COUNTS}
    return Total(of=of, cost=row.cost, **sums)


def _whole(count: Any) -> int:
    # PostgreSQL adds up large integers as decimals, SQLite what is none as floating point.
    if not (isinstance(count, int | Decimal) and count < _MAX_COUNT):
        raise ValueError(f"{count!r} is no count")
    return int(count)


_COUNTS = tuple(column.name for column in _SUMS if column.name != "cost")
_OF_ONE: tuple[ColumnElement[Any], ...] = (
    *(RUN.c[name] for name in ("pk", "session_pk", "status", *_OF_RUN, "cost")),
    literal(1).label("runs"),
    case((RUN.c.cost.is_(None), 1), else_=0).label("unpriced_runs"),
)
_ONE: Select[Any] = select(*_OF_ONE).where(RUN.c.pk == bindparam("this"))


def _so_far(db: Connection, of: str, run: Row[Any]) -> Total:
    try:
        used = usage_on_record(db, run.session_pk, run.pk)
    except HistoryUnreadableError:  # what it has used is unknown, and its session says why
        used = Usage()
    return Total(
        of=of,
        runs=1,
        running=1,
        cost=used.cost,
        unpriced_runs=int(used.cost is None),
        **used.model_dump(include={*_OF_RUN}),
    )


def _in_time(total: Total) -> tuple[Any, ...]:
    return (total.of,)


def _by_use(total: Total) -> tuple[Any, ...]:
    return -(total.cost or Decimal()), -(total.input_tokens + total.output_tokens), total.of
