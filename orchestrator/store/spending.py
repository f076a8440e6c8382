"""What an owner's runs of a day have used together, and a session's delegates; by indexes alone."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any  # rows of several columns

from sqlalchemy import ColumnElement, Connection, Select, bindparam, func, select

from orchestrator.events import Usage
from orchestrator.store.ending import COUNTED
from orchestrator.store.tables import RUN, SESSION, TOOL_CALL

NOT_MADE = "This call was not made: "
"""How the result of a call begins that a budget has refused."""


@dataclass(frozen=True)
class Spent:
    """What runs have used."""

    cost: Decimal
    """US dollars, of what has a price."""
    tokens: int


def owner_of(db: Connection, session_pk: int) -> str:
    """Return whose session it is."""
    owner: str = db.execute(_OWNER, {"session": session_pk}).scalar_one()
    return owner


def spent_since(db: Connection, owner: str, since: datetime) -> Spent:
    """Return what an owner's runs have used that began then or later.

    Of a run under way it is what earlier attempts at it have used.
    """
    return _spent(db, SINCE, {"owner": owner, "since": since})


def spent_by_delegates(db: Connection, session_pk: int) -> Spent:
    """Return what others have used for the runs of a session, in sessions of their own."""
    return _spent(db, BELOW, {"session": session_pk})


def used_by_delegates(db: Connection, run_pk: int) -> Usage:
    """Return what others have used for a run, and others again for those."""
    sums = db.execute(_USED_BELOW, {"run": run_pk}).one()
    return Usage(**{name: used for name, used in sums._mapping.items() if used is not None})


def calls_made(db: Connection, run_pk: int) -> int:
    """Return how many calls a run has made, with those of others who have worked for it.

    Also those that have failed, but none that a person or a budget has refused.
    """
    made: int = db.execute(MADE, {"run": run_pk}).scalar_one()
    return made


def _spent(db: Connection, query: Select[Any], values: dict[str, Any]) -> Spent:
    cost, tokens = db.execute(query, values).one()
    return Spent(cost or Decimal(), int(tokens or 0))


_SUMS = (func.sum(RUN.c.cost), func.sum(RUN.c.input_tokens + RUN.c.output_tokens))
_OWNER = select(SESSION.c.owner).where(SESSION.c.pk == bindparam("session"))
# A session's time is that at which its last run began: it leads to those with runs of the day.
SINCE = (
    select(*_SUMS)
    .select_from(SESSION)
    .join(RUN, RUN.c.session_pk == SESSION.c.pk)
    .where(
        SESSION.c.owner == bindparam("owner"),
        SESSION.c.updated_at >= bindparam("since"),
        RUN.c.started_at >= bindparam("since"),
    )
)


def _below(runs: ColumnElement[bool], of: ColumnElement[int] = RUN.c.pk) -> ColumnElement[bool]:
    """Return what is true of some runs, and of those that work for them, and for those again."""
    first = select(RUN.c.pk).where(runs).cte("below", recursive=True)
    every = first.union_all(select(RUN.c.pk).join(first, RUN.c.parent_pk == first.c.pk))
    return of.in_(select(every.c.pk))


_OWN = select(RUN.c.pk).where(RUN.c.session_pk == bindparam("session"))
BELOW = select(*_SUMS).where(_below(RUN.c.parent_pk.in_(_OWN)))
MADE = select(func.count()).where(
    _below(RUN.c.pk == bindparam("run"), TOOL_CALL.c.run_pk),
    TOOL_CALL.c.outcome != "denied",
    # As JSON: in what a tool has returned, the quotes would be escaped.
    ~func.coalesce(TOOL_CALL.c.result, "").contains(f'"content":"{NOT_MADE}', autoescape=True),
)
_USED_BELOW = select(*(func.sum(RUN.c[name]).label(name) for name in COUNTED)).where(
    _below(RUN.c.parent_pk == bindparam("run"))
)
