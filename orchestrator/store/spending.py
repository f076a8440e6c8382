"""What an owner's runs of a day have used together, and a session's delegates; by indexes alone."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any  # rows of several columns

from sqlalchemy import Connection, Select, bindparam, func, select

from orchestrator.store.tables import RUN, SESSION


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
_OWN = select(RUN.c.pk).where(RUN.c.session_pk == bindparam("session"))
_FIRST = select(RUN.c.pk).where(RUN.c.parent_pk.in_(_OWN)).cte("below", recursive=True)
_ALL_BELOW = _FIRST.union_all(select(RUN.c.pk).join(_FIRST, RUN.c.parent_pk == _FIRST.c.pk))
BELOW = select(*_SUMS).where(RUN.c.pk.in_(select(_ALL_BELOW.c.pk)))
