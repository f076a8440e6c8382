"""Sees what becomes of the calls of a run, as a capability of its agent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import (
    AgentStreamEvent,
    FunctionToolResultEvent,
    OutputToolResultEvent,
    ToolReturnPart,
)
from pydantic_ai.models import Model


@dataclass
class Unsummarized(AbstractCapability[Any]):
    """Lets no summary of the history be made: nothing is asked that was not asked then."""

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs."""
        return None

    def allows(self, ctx: RunContext[Any], model: Model, *, requests: int) -> bool:
        """Say whether so many more requests may be made; see `compaction.capability.Limited`."""
        return False


@dataclass
class Witness(Unsummarized):
    """Keeps what calls give, by the answer that asked for them and their id."""

    step: Callable[[], int] = lambda: 0
    """Says how many answers the model has given."""
    results: dict[tuple[int, str], ToolReturnPart] = field(default_factory=dict)

    async def on_event(self, ctx: RunContext[Any], *, event: AgentStreamEvent) -> None:
        """Take note of a result."""
        if isinstance(event, FunctionToolResultEvent | OutputToolResultEvent):
            self.results[self.step(), event.part.tool_call_id] = event.part
