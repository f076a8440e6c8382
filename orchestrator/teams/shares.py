"""What delegates use, while they use it: the budget of who has asked them is theirs too.

A delegate's run has a conversation and a usage of its own, on record too. What is counted here is
for the limits alone, and goes up the line: what the last one uses counts for all above it.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable  # Any: deps of any type

from pydantic_ai import RunContext, RunUsage, UsageLimitExceeded
from pydantic_ai.capabilities import AbstractCapability, WrapToolExecuteHandler
from pydantic_ai.messages import ModelResponse, ToolCallPart
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.tools import ToolDefinition


class Meter(AbstractCapability[Any], ABC):
    """A capability that ends a run which has used up what it may use.

    What its own run asks and calls goes through it, and what delegates ask and call for that run.
    """

    @abstractmethod
    def check_budget(self, ctx: RunContext[Any], model: Model) -> None:
        """Refuse one more request, of the run itself or of somebody who works for it.

        Args:
            ctx: That of the run itself.
            model: What is to be asked.

        Raises:
            BudgetExceededError: A limit is reached.
            PriceUnknownError: The cost is limited and cannot be counted.
        """

    @abstractmethod
    def note_answer(self, model: Model, response: ModelResponse) -> None:
        """Take note of what a model has answered."""

    @abstractmethod
    def take_call(self) -> None:
        """Count one more call of a tool.

        Raises:
            ToolFailed: It must not be made; the run ends before the next request.
        """

    def allows(self, ctx: RunContext[Any], model: Model, *, requests: int) -> bool:
        """Say whether so many more requests may be made, as far as that can be told."""
        try:
            self.check_budget(ctx, model)
        except UsageLimitExceeded:
            return False
        return True

    async def check(self, ctx: RunContext[Any], model: Model) -> None:
        """Refuse one more request of the run itself; raises as `check_budget` does."""
        self.check_budget(ctx, model)

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Let the request pass, or end the run; raises as `check_budget` does."""
        await self.check(ctx, request_context.model)
        return request_context

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Take note of the answer."""
        self.note_answer(request_context.model, response)
        return response

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Make a call that may be made; raises as `take_call` does."""
        self.take_call()
        return await handler(args)


@runtime_checkable
class Spender(Protocol):
    """A capability that knows of what others use for a run."""

    def spent_by_delegates(self) -> RunUsage:
        """Return what they have used by now."""
        ...


def spent_for(ctx: RunContext[Any]) -> RunUsage:
    """Return what others have used for a run."""
    spenders = (one for one in ctx.capabilities.values() if isinstance(one, Spender))
    return sum((one.spent_by_delegates() for one in spenders), RunUsage())


@dataclass
class Share(Meter):
    """A delegate's share in the budgets of who has asked it, and of those above."""

    parent: RunContext[Any]

    def __post_init__(self) -> None:
        self._own: RunContext[Any] | None = None
        self._before = RunUsage()

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only who asks a delegate can make one."""
        return None

    @property
    def spent(self) -> RunUsage:
        """What the delegate has used by now, with what others have used for it."""
        if self._own is None:
            return RunUsage()
        return self._own.usage + spent_for(self._own) - self._before

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Count from here: what earlier attempts have used, those above know from the record."""
        self._own, self._before = ctx, ctx.usage + spent_for(ctx)

    def check_budget(self, ctx: RunContext[Any], model: Model) -> None:
        """Ask those above."""
        self._own = ctx
        for one in self._above:
            one.check_budget(self.parent, model)

    def allows(self, ctx: RunContext[Any], model: Model, *, requests: int) -> bool:
        """Ask those above."""
        self._own = ctx
        return all(one.allows(self.parent, model, requests=requests) for one in self._above)

    def note_answer(self, model: Model, response: ModelResponse) -> None:
        """Tell those above."""
        for one in self._above:
            one.note_answer(model, response)

    def take_call(self) -> None:
        """Ask those above, and count it there."""
        for one in self._above:
            one.take_call()

    @property
    def _above(self) -> list[Meter]:
        return [one for one in self.parent.capabilities.values() if isinstance(one, Meter)]
