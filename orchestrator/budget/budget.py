"""The capability that ends a run which has used up what it may use."""

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from time import monotonic
from typing import Any, Protocol, runtime_checkable  # Any: agents with deps of any type

from pydantic_ai import RunContext, RunUsage
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model

from orchestrator.budget.errors import OF_MODEL, BudgetExceededError, PriceUnknownError
from orchestrator.budget.prices import is_free, is_priced
from orchestrator.store.spending import NOT_MADE
from orchestrator.teams.shares import Meter, spent_for

LITTLE = Decimal("0.2")
"""What is left of a limit when the agent is told, so that it can come to an end."""

_TOLD = (
    "Your budget for this task is nearly used up: {used} of {limit} {unit}. Begin nothing new. "
    "Finish what cannot be left as it is, and answer with what you have."
)


@runtime_checkable
class Resumed(Protocol):
    """A capability that knows of earlier attempts at a run."""

    @property
    def worked_before_s(self) -> float:
        """How long these were at work, in seconds."""
        ...

    @property
    def calls_made(self) -> int:
        """How many calls these have made, with those of others for the run."""
        ...


@dataclass
class Budget(Meter):
    """Ends a run that has used up what it may use, and tells the agent when little is left.

    It is checked before each request, so tokens, cost and time may pass their limit by one request.
    It counts the run with all attempts at it, and in it the summaries that the history needs to fit
    its model and what delegates use; it does not count the session. `seconds` are those at work,
    without the time between two attempts. A call beyond `tool_calls` is not made.

    With `cost_usd`, a model whose price is not known is refused, unless `unpriced` is true: then
    the other limits hold alone where there is no price.
    """

    requests: int = 50
    total_tokens: int | None = None
    cost_usd: float | str | None = None
    tool_calls: int | None = None
    seconds: float | None = None
    unpriced: bool = False

    def __post_init__(self) -> None:
        if self.requests is None:
            raise ValueError("requests must be a number above 0; it is what bounds every model")
        self._limits = {
            "requests": positive("requests", self.requests),
            "tokens": positive("total_tokens", self.total_tokens),
            "US dollars": positive("cost_usd", self.cost_usd),
            "tool calls": positive("tool_calls", self.tool_calls),
            "seconds": positive("seconds", self.seconds),
        }
        if not isinstance(self.unpriced, bool):
            raise ValueError(f"unpriced must be true or false, not {self.unpriced!r}")
        if self.unpriced and self.cost_usd is None:
            raise ValueError("unpriced is said of cost_usd, which is not there")
        self._before = RunUsage()
        self._since = monotonic()
        self._worked_before_s = 0.0
        self._calls = 0
        self._has_refused_calls = False
        self._unpriced_answer: str | None = None
        self._told: str | None = None

    async def for_run(self, ctx: RunContext[Any]) -> "Budget":
        """Return a budget that counts from here, whatever the session has used before."""
        mine = replace(self)
        mine._before = copy(ctx.usage)
        return mine

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Count what earlier attempts at the run have used."""
        earlier = [one for one in ctx.capabilities.values() if isinstance(one, Resumed)]
        self._calls = sum(one.calls_made for one in earlier)
        self._worked_before_s = sum(one.worked_before_s for one in earlier)

    def get_instructions(self) -> Callable[[RunContext[Any]], str | None]:
        """Return what the agent is told from the request on before which little is left.

        It stays the same then: a provider's cache holds what does not change.
        """
        return self._when_little_is_left

    def _when_little_is_left(self, ctx: RunContext[Any]) -> str | None:
        if self._told is None:
            for unit, limit, used in self._measured(ctx.usage + spent_for(ctx)):
                if limit - used <= limit * LITTLE:
                    self._told = _TOLD.format(used=used, limit=limit, unit=unit)
                    break
        return self._told

    def check_budget(self, ctx: RunContext[Any], model: Model) -> None:
        """Refuse one more request, of the run itself or of somebody who works for it.

        Raises:
            BudgetExceededError: If a limit is reached.
            PriceUnknownError: If the cost is limited and cannot be counted.
        """
        self.check_price(model)
        if self._unpriced_answer is not None:
            raise PriceUnknownError(self._unpriced_answer, OF_MODEL)
        for unit, limit, used in self._measured(ctx.usage + spent_for(ctx)):
            # Who has made all its calls may still say what came of them.
            if used >= limit and (unit != "tool calls" or self._has_refused_calls):
                raise BudgetExceededError(limit=limit, actual=used, unit=unit)

    def check_price(self, model: Model) -> None:
        """Refuse a model whose answers have no known price, if the cost is limited.

        Raises:
            PriceUnknownError: It is not known, and `unpriced` is not true.
        """
        if self._has_to_know_prices and not is_priced(model):
            raise PriceUnknownError(model.model_id, OF_MODEL)

    def note_answer(self, model: Model, response: ModelResponse) -> None:
        """Take note of an answer that has no price although its model should have one."""
        if self._has_to_know_prices and response.usage.cost is None and not is_free(model):
            self._unpriced_answer = response.model_name or model.model_id

    def take_call(self) -> None:
        """Count one more call, of the run itself or of somebody who works for it.

        Raises:
            ToolFailed: There were as many as may be.
        """
        limit = self._limits["tool calls"]
        if limit is not None and self._calls >= limit:
            self._has_refused_calls = True
            raise ToolFailed(f"{NOT_MADE}the budget of {limit} calls is used up.")
        self._calls += 1

    def allows(self, ctx: RunContext[Any], model: Model, *, requests: int) -> bool:
        """Say whether so many more requests may be made."""
        return all(
            used + (requests - 1 if unit == "requests" else 0) < limit
            for unit, limit, used in self._measured(ctx.usage + spent_for(ctx))
            if unit != "tool calls"
        )

    @property
    def _has_to_know_prices(self) -> bool:
        return self._limits["US dollars"] is not None and not self.unpriced

    def _measured(self, usage: RunUsage) -> Iterator[tuple[str, Decimal, Decimal]]:
        """Yield each limit's unit, the limit, and what the run has used of it."""
        worked_s = self._worked_before_s + monotonic() - self._since
        used = {
            "requests": Decimal(usage.requests - self._before.requests),
            "tokens": Decimal(usage.total_tokens - self._before.total_tokens),
            "US dollars": (usage.cost or Decimal()) - (self._before.cost or Decimal()),
            "tool calls": Decimal(self._calls),
            "seconds": Decimal(f"{worked_s:.1f}"),
        }
        for unit, limit in self._limits.items():
            if limit is not None:
                yield unit, limit, used[unit]


def positive(name: str, value: float | str | None) -> Decimal | None:
    """Return a limit as an exact number.

    Raises:
        ValueError: It is none above 0.
    """
    if value is None:
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal(0)
    if isinstance(value, bool) or not number.is_finite() or number <= 0:
        raise ValueError(f"{name} must be a number above 0, not {value!r}")
    return number
