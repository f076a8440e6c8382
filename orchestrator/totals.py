"""What runs have used together: by day, agent, session, model, owner or run."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TypedDict


class By(StrEnum):
    """What runs are counted together by."""

    DAY = "day"
    """The day on which they began, in UTC: the same on every machine, and on a provider's bill."""
    AGENT = "agent"
    SESSION = "session"
    """Where they ran: a fork has runs of its own, and not those whose messages it shares."""
    MODEL = "model"
    """Requests, tokens and cost count with the model that has answered; the run itself and its
    calls of tools with the one with which it began."""
    OWNER = "owner"
    RUN = "run"
    """Each for itself. A run that another has started is one of its own, and counted once."""


class UsageFilters(TypedDict, total=False):
    """Which runs are counted: those that fit everything that is given."""

    since: datetime | None
    """Those that began then or later. Aware."""
    until: datetime | None
    """Those that began before then. Aware."""
    agent: str | None
    session: str | None
    """Its id."""
    model: str | None
    """That with which they began, whoever has answered."""
    owner: str | None


@dataclass(frozen=True, kw_only=True)
class Total:
    """What some runs have used together.

    A run that still goes on counts with what is on record of it: with its finished answers.
    """

    of: str
    """What they have in common: a day as 2026-11-23, a name, an id; `?` where none can be read."""
    runs: int = 0
    running: int = 0
    """How many of them go on, or were left by a process that died and not looked at since."""
    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    """Tokens sent, cached ones included."""
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """US dollars, of the runs whose price is known; None when it is of none."""
    unpriced_runs: int = 0
    """Runs whose price is not known. They cost what nobody here can say: nothing is assumed. By
    model, one counts with each model whose answers in it have no price."""
    damaged_runs: tuple[str, ...] = ()
    """Ids of runs whose numbers cannot be read: they are counted in nothing here."""


def sum_of(totals: Iterable[Total], of: str) -> Total:
    """Return totals of different runs as one.

    >>> sum_of([Total(of="a", runs=1, cost=Decimal(2)), Total(of="b", runs=2)], "both").cost
    Decimal('2')
    """
    parts = list(totals)
    costs = [part.cost for part in parts if part.cost is not None]
    return Total(
        of=of,
        runs=sum(part.runs for part in parts),
        running=sum(part.running for part in parts),
        requests=sum(part.requests for part in parts),
        tool_calls=sum(part.tool_calls for part in parts),
        input_tokens=sum(part.input_tokens for part in parts),
        cache_read_tokens=sum(part.cache_read_tokens for part in parts),
        output_tokens=sum(part.output_tokens for part in parts),
        cost=sum(costs, Decimal()) if costs else None,
        unpriced_runs=sum(part.unpriced_runs for part in parts),
        damaged_runs=tuple(run for part in parts for run in part.damaged_runs),
    )
