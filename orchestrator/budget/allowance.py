"""The operator's budgets: what a session may use, and an owner in a day, whatever specs say."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import RunContext, RunUsage
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model

from orchestrator.budget.errors import BudgetExceededError, PriceUnknownError
from orchestrator.budget.prices import is_free, is_priced
from orchestrator.settings import Settings
from orchestrator.store.claimed import ClaimedRun
from orchestrator.store.sessions import Sessions
from orchestrator.store.spending import Spent
from orchestrator.store.usage import in_all
from orchestrator.teams.shares import Meter, spent_for

_SESSION, _DAY = "session", "day"
_WAY_ON = {
    _SESSION: "A new session begins anew; {variable} is the operator's to raise.",
    _DAY: "A new day begins at 00:00 UTC; {variable} is the operator's to raise.",
}
_PRICED = "{variable} limits it: name a model whose price is known, or limit tokens instead."


@dataclass(frozen=True)
class Limit:
    """One of the operator's limits."""

    of: str
    """`session` or `day`."""
    unit: str
    """`US dollars` or `tokens`."""
    limit: Decimal
    variable: str
    """The name of the setting."""

    def check(self, spent: Spent) -> None:
        """Refuse to let more be used.

        Raises:
            BudgetExceededError: The limit is reached.
        """
        actual = spent.cost if self.unit == "US dollars" else Decimal(spent.tokens)
        if actual >= self.limit:
            raise BudgetExceededError(
                limit=self.limit,
                actual=actual,
                unit=self.unit,
                whose=f"a {self.of}",
                advice=_WAY_ON[self.of].format(variable=self.variable),
            )


def limits_of(settings: Settings) -> tuple[Limit, ...]:
    """Return the limits that the operator has set."""
    given = (
        (_SESSION, "US dollars", "budget_session_usd"),
        (_SESSION, "tokens", "budget_session_tokens"),
        (_DAY, "US dollars", "budget_day_usd"),
        (_DAY, "tokens", "budget_day_tokens"),
    )
    return tuple(
        Limit(of, unit, Decimal(value), f"WORKYARD_{name}".upper())
        for of, unit, name in given
        if (value := getattr(settings, name)) is not None
    )


@dataclass
class Allowances:
    """The operator's limits, and the runs that are at work under them in this process.

    The record has what runs have used that have ended. Several processes at once may pass a day's
    limit by what is under way in the others at that moment.
    """

    limits: tuple[Limit, ...]
    sessions: Sessions
    _at_work: "list[Allowance]" = field(default_factory=list)

    @contextmanager
    def for_run(self, run: ClaimedRun) -> "Iterator[list[AbstractCapability[Any]]]":
        """Return what holds a run within the limits, while it is at work; nothing without any."""
        if not self.limits:
            yield []
            return
        allowance = Allowance(self, run)
        self._at_work.append(allowance)
        try:
            yield [allowance]
        finally:
            self._at_work.remove(allowance)

    def check_price(self, model: Model) -> None:
        """Refuse a model whose cost cannot be counted, if a limit is one of cost.

        Raises:
            PriceUnknownError: It cannot.
        """
        for limit in self.limits:
            if limit.unit == "US dollars" and not is_priced(model):
                raise PriceUnknownError(model.model_id, _PRICED.format(variable=limit.variable))

    def of(self, kind: str) -> list[Limit]:
        """Return the limits of a session or a day."""
        return [limit for limit in self.limits if limit.of == kind]

    async def check_day(self, owner: str) -> None:
        """Refuse to let an owner use more today, in UTC.

        Raises:
            BudgetExceededError: A limit is reached.
        """
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        spent = await self.sessions.spent_since(owner, midnight)
        for one in self._at_work:
            if one.owner == owner:
                spent = _with(spent, one.spent)
        for limit in self.of(_DAY):
            limit.check(spent)


@dataclass
class Allowance(Meter):
    """Holds one run within the operator's limits."""

    home: Allowances
    run: ClaimedRun

    def __post_init__(self) -> None:
        self.owner: str | None = None
        """Whose session it is; None before that matters."""
        self._before = self.run.conversation.usage + in_all(self.run.used)
        self._usage = self._before
        self._delegates = Spent(Decimal(), 0)
        self._unpriced_answer: str | None = None

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only a runner can make one."""
        return None

    @property
    def spent(self) -> RunUsage:
        """What this attempt at the run has used by now."""
        return self._usage - self._before

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Look up what does not change while the run is at work."""
        sessions = self.home.sessions
        if self.home.of(_SESSION):
            delegates = await sessions.spent_by_delegates(self.run.session_pk)
            # Those of earlier attempts at this run are told by the run itself.
            earlier = in_all(self.run.used_by_delegates)
            self._delegates = Spent(
                delegates.cost - (earlier.cost or Decimal()),
                delegates.tokens - earlier.total_tokens,
            )
        if self.home.of(_DAY):
            self.owner = await sessions.owner_of(self.run.session_pk)

    async def check(self, ctx: RunContext[Any], model: Model) -> None:
        """Refuse one more request of the run, which the day may be too short for.

        Raises:
            BudgetExceededError: If a limit is reached.
            PriceUnknownError: If the cost is limited and cannot be counted.
        """
        self._usage = ctx.usage
        await super().check(ctx, model)
        if self.owner is not None:
            await self.home.check_day(self.owner)

    def check_budget(self, ctx: RunContext[Any], model: Model) -> None:
        """Refuse one more request of the session, or of a delegate that works for it.

        Raises:
            BudgetExceededError: If a limit is reached.
            PriceUnknownError: If the cost is limited and cannot be counted.
        """
        self.home.check_price(model)
        if self._unpriced_answer is not None:
            advice = _PRICED.format(variable="The operator")
            raise PriceUnknownError(self._unpriced_answer, advice)
        for limit in self.home.of(_SESSION):
            limit.check(_with(self._delegates, ctx.usage + spent_for(ctx)))

    def note_answer(self, model: Model, response: ModelResponse) -> None:
        """Take note of an answer that has no price although its model should have one."""
        is_limited = any(limit.unit == "US dollars" for limit in self.home.limits)
        if is_limited and response.usage.cost is None and not is_free(model):
            self._unpriced_answer = response.model_name or model.model_id

    def take_call(self) -> None:
        """Let every call be made: the operator limits none."""


def _with(spent: Spent, usage: RunUsage) -> Spent:
    return Spent(spent.cost + (usage.cost or Decimal()), spent.tokens + usage.total_tokens)
