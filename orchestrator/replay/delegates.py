"""Delegates in a replay: what they have answered is on record, as the model's own answers are."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any  # a run's deps are of any type

from pydantic import JsonValue
from pydantic_ai import RunContext

from orchestrator.definitions.cast import Cast
from orchestrator.errors import UnavailableError
from orchestrator.specs import Spec
from orchestrator.store.recorded_run import RecordedRun
from orchestrator.teams.shares import Share
from orchestrator.teams.subagents import Order


@dataclass(frozen=True)
class RecordedAnswers:
    """A team that runs nobody: it gives what was answered then."""

    cast: Cast
    recorded: RecordedRun
    step: Callable[[], int]
    """Says how many answers the model has given."""

    def member(self, name: str) -> Spec:
        """Return the spec of an agent; see `Team`."""
        return self.cast.member(name)

    async def run(self, order: Order, ctx: RunContext[Any], share: Share) -> JsonValue:
        """Return what a delegate has answered to this call; see `Team`."""
        part = self.recorded.steps[self.step() - 1].results.get(ctx.tool_call_id or "")
        if part is not None and part.outcome == "success":
            return part.model_response_str()
        raise UnavailableError("the record has no answer to this call.")
