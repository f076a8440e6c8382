"""What runs have used together, added up by the database.

A run that still goes on has no sums on its row yet: for these few, its messages are counted.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any  # rows and columns of several types

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    case,
    func,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

from orchestrator.errors import HistoryUnreadableError, InvalidInputError
from orchestrator.events import Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.store.broken import usage_on_record
from orchestrator.store.tables import RUN, SESSION, plain
from orchestrator.totals import By, Total, UsageFilters, sum_of

_FIRST_DAY = date(1970, 1, 1)


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

_IS_RUNNING = RUN.c.status == RunStatus.RUNNING.value
_SUMS = (
    func.count().label("runs"),
    func.sum(RUN.c.requests).label("requests"),
    func.sum(RUN.c.tool_calls).label("tool_calls"),
    func.sum(RUN.c.input_tokens).label("input_tokens"),
    func.sum(RUN.c.cache_read_tokens).label("cache_read_tokens"),
    func.sum(RUN.c.output_tokens).label("output_tokens"),
    func.sum(RUN.c.cost).label("cost"),
    func.sum(case((RUN.c.cost.is_(None), 1), else_=0)).label("unpriced_runs"),
)


def totals(db: Connection, by: By, which: UsageFilters) -> tuple[Total, ...]:
    """Return what the runs that fit have used.

    Days come in their order; anything else with what cost most first, then what used most tokens.

    Raises:
        InvalidInputError: If a time has no time zone.
    """
    found = [_total(by, row) for row in db.execute(_sums(by, which))]
    key = _OF_SESSION.get(by, _KEYS[by])
    going_on = select(key, RUN.c.pk, RUN.c.session_pk).select_from(RUN).join(SESSION)
    found += [
        _so_far(db, _named(by, row[0]), row)
        for row in db.execute(_fitting(going_on, which).where(_IS_RUNNING)).all()
    ]
    groups: dict[str, list[Total]] = {}
    for total in found:
        groups.setdefault(total.of, []).append(total)
    together = (sum_of(parts, of) for of, parts in groups.items())
    return tuple(sorted(together, key=_in_time if by is By.DAY else _by_use))


def _sums(by: By, which: UsageFilters) -> Select[Any]:
    key = _KEYS[by]
    query = select(key.label("key"), *_SUMS).where(~_IS_RUNNING).group_by(key)
    sums = _fitting(query, which)
    if by not in _OF_SESSION:
        return sums
    each = sums.subquery()
    columns = (each.c[column.name] for column in _SUMS)
    return select(_OF_SESSION[by], *columns).join(each, SESSION.c.pk == each.c.key)


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
        query = query.where(RUN.c.started_at >= since)
    if (until := _aware(which.get("until"))) is not None:
        query = query.where(RUN.c.started_at < until)
    return query


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise InvalidInputError(f"{moment.isoformat()} has no time zone; give it one.")
    return moment


def _named(by: By, key: Any) -> str:
    return (_FIRST_DAY + timedelta(days=key)).isoformat() if by is By.DAY else str(key)


def _total(by: By, row: Row[Any]) -> Total:
    # PostgreSQL adds up large integers as decimals.
    sums = {name: int(row._mapping[name]) for name in _COUNTS}
    return Total(of=_named(by, row[0]), cost=row.cost, **sums)


_COUNTS = tuple(column.name for column in _SUMS if column.name != "cost")


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
        **used.model_dump(include={"requests", "tool_calls", *_TOKENS}),
    )


_TOKENS = ("input_tokens", "cache_read_tokens", "output_tokens")


def _in_time(total: Total) -> tuple[Any, ...]:
    return (total.of,)


def _by_use(total: Total) -> tuple[Any, ...]:
    return -(total.cost or Decimal()), -(total.input_tokens + total.output_tokens), total.of
