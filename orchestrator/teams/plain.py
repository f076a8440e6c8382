"""Delegates in plain Pydantic AI: with the model of who asks, and on no record."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any  # a capability serves agents with deps of any type

from pydantic import JsonValue
from pydantic_ai import Agent, AgentSpec, RunContext, UsageLimits
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import AgentRunError
from pydantic_ai.models import Model

from orchestrator.catalogue import open_catalogue
from orchestrator.errors import UnavailableError
from orchestrator.settings import load_settings
from orchestrator.specs import Spec
from orchestrator.teams.members import check_below
from orchestrator.teams.shares import Share
from orchestrator.teams.subagents import Order, Team

Types = Sequence[type[AbstractCapability[Any]]]


@dataclass(frozen=True)
class PlainTeam:
    """The agents of the user's catalogue, run in this process for whoever asks."""

    types_for: Callable[[RunContext[Any], Team], Types]
    """Returns the capabilities of ours for a delegate: within the rights of the run that asks."""
    path: tuple[str, ...] = ()
    """The delegates above, the first one first."""

    def member(self, name: str) -> Spec:
        """Return the spec of an agent; see `Team`."""
        return open_catalogue(load_settings()).get(name)

    async def run(self, order: Order, ctx: RunContext[Any], share: Share) -> JsonValue:
        """Let an agent do something, and return its answer; see `Team`."""
        spec = self.member(order.agent)
        check_below(self.path, spec.reference)
        inputs = spec.complete_inputs(order.inputs)
        if not isinstance(ctx.model, Model):
            raise UnavailableError("nobody can be asked in a conversation by voice.")
        below = replace(self, path=(*self.path, spec.reference))
        agent: Agent[Any, JsonValue] = Agent.from_spec(
            AgentSpec.from_dict(dict(spec.values)),
            model=ctx.model,
            custom_capability_types=self.types_for(ctx, below),
        )
        try:
            result = await agent.run(
                order.task,
                deps=inputs or None,
                capabilities=[share],
                usage_limits=UsageLimits(request_limit=None),  # its Budget limits it
            )
        except AgentRunError as error:
            raise UnavailableError(str(error)) from error
        return result.output
