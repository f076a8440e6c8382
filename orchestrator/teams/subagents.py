"""`SubAgents`: a tool with which an agent gives a task to another one and waits for the answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable  # Any: deps of any type

import anyio
from pydantic import JsonValue
from pydantic_ai import FunctionToolset, ModelRetry, RunContext, RunUsage, Tool, ToolFailed
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.tools import ToolDefinition

from orchestrator.errors import InputsError, OrchestratorError
from orchestrator.specs import Spec
from orchestrator.teams.shares import Share
from orchestrator.words import as_text

DELEGATES = "delegates"
"""The name of the toolset, by which its calls are known."""

MAX_AT_ONCE = 16
MAX_RUNS = 1000
MAX_AGENTS = 32
"""Every request tells the model of each of them."""

_ABOUT = (
    "Give a task to another agent and wait for its answer. It knows nothing of this conversation: "
    "the task has to say all that it needs. It works on the same files, with its own rights and "
    "never more than yours."
)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a delegate is asked to do."""

    agent: str
    task: str
    inputs: Mapping[str, JsonValue]


class Team(Protocol):
    """Where delegates come from, and where they run."""

    def member(self, name: str) -> Spec:
        """Return the spec of an agent.

        Raises:
            NotFoundError: There is none of that name.
            SpecError: It cannot be used.
        """
        ...

    async def run(self, order: Order, ctx: RunContext[Any], share: Share) -> JsonValue:
        """Let an agent do something for the run of `ctx`, and return its answer.

        Args:
            order: What it is asked.
            ctx: The call of the tool.
            share: A capability that the delegate's run must have.

        Raises:
            OrchestratorError: It cannot be asked, or its run has ended without an answer.
        """
        ...


@runtime_checkable
class Resumed(Protocol):
    """A capability that knows of earlier attempts at a run."""

    @property
    def tasks_given(self) -> int:
        """How many tasks these have given, but for those that are given once more."""
        ...


@dataclass
class SubAgents(AbstractCapability[Any]):
    """Lets an agent give tasks to others of the catalogue, each within this agent's own rights.

    Their requests, tokens and cost count to the budget of the agent that has asked.
    """

    agents: list[str] = field(default_factory=list)
    """The names of those that it may ask."""
    at_once: int = 4
    """How many of them may work at the same time."""
    runs: int = 16
    """How many tasks one run may give, in all."""

    team: ClassVar[Team]

    def __post_init__(self) -> None:
        if not self.agents or len(set(self.agents)) != len(self.agents):
            raise ValueError("agents has to name at least one agent, and none twice")
        if len(self.agents) > MAX_AGENTS:
            raise ValueError(f"agents names at most {MAX_AGENTS} agents, not {len(self.agents)}")
        for name, most in (("at_once", MAX_AT_ONCE), ("runs", MAX_RUNS)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise ValueError(f"{name} must be a number from 1 to {most}, not {value!r}")
        self._shares: list[Share] = []
        self._given_before = 0
        self._room = anyio.CapacityLimiter(self.at_once)

    async def for_run(self, ctx: RunContext[Any]) -> "SubAgents":
        """Return one that counts from here."""
        return replace(self)

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Count the tasks that earlier attempts at the run have given."""
        earlier = (one for one in ctx.capabilities.values() if isinstance(one, Resumed))
        self._given_before = sum(one.tasks_given for one in earlier)

    def spent_by_delegates(self) -> RunUsage:
        """Return what the delegates of this run have used by now."""
        return sum((share.spent for share in self._shares), RunUsage())

    def get_toolset(self) -> FunctionToolset[Any]:
        """Return the tool `delegate`; Pydantic AI asks again for each run."""
        return self._toolset

    @cached_property
    def _toolset(self) -> FunctionToolset[Any]:
        async def delegate(
            ctx: RunContext[Any],
            agent: str,
            task: str,
            inputs: dict[str, JsonValue] | None = None,
        ) -> str:
            return await _of_run(ctx).ask(Order(agent=agent, task=task, inputs=inputs or {}), ctx)

        tool = Tool[Any](delegate, takes_ctx=True, description=_ABOUT, prepare=self._described)
        return FunctionToolset([tool], id=DELEGATES)

    async def ask(self, order: Order, ctx: RunContext[Any]) -> str:
        """Let an agent do something, and return its answer as text.

        Raises:
            ModelRetry: The order can be put right.
            ToolFailed: There is no answer, and why.
        """
        if order.agent not in self.agents:
            raise ModelRetry(f"There is no agent {order.agent!r}; there is {self._names()}.")
        if not order.task.strip():
            raise ModelRetry("The task is empty; say what the agent is to do.")
        if self._given_before + len(self._shares) >= self.runs:
            raise ToolFailed(f"{self.runs} tasks have been given, as many as may be. Go on alone.")
        share = Share(ctx)
        self._shares.append(share)
        try:
            async with self._room:
                return as_text(await self.team.run(order, ctx, share))
        except InputsError as error:
            raise ModelRetry(str(error)) from error
        except OrchestratorError as error:
            raise ToolFailed(f"{order.agent} has no answer: {error}") from error

    async def _described(self, ctx: RunContext[Any], tool: ToolDefinition) -> ToolDefinition:
        schema = {**tool.parameters_json_schema}
        of_agent = {"type": "string", "enum": self.agents}
        schema["properties"] = {**schema["properties"], "agent": of_agent}
        return replace(tool, description=self._description, parameters_json_schema=schema)

    @cached_property
    def _description(self) -> str:
        return "\n".join([_ABOUT, "", "Agents:", *self._members()])

    def _members(self) -> Iterator[str]:
        for name in self.agents:
            try:
                spec = self.team.member(name)
            except OrchestratorError as error:
                yield f"- {name}: cannot be asked now: {error}"
            else:
                yield f"- {name}: {spec.document.description}{_inputs(spec)}"

    def _names(self) -> str:
        return ", ".join(map(repr, self.agents))


def _inputs(spec: Spec) -> str:
    if not spec.inputs:
        return ""
    needed = spec.required_inputs
    told = (
        f"{name}{'' if name in needed else ' (optional)'}: {schema.get('description', '')}"
        for name, schema in spec.inputs.items()
    )
    return f" Inputs: {'; '.join(told)}"


def _of_run(ctx: RunContext[Any]) -> SubAgents:
    """Return the capability as it is for the run of a call: the toolset is older than that."""
    return next(one for one in ctx.capabilities.values() if isinstance(one, SubAgents))


def placed(home: Team) -> type[SubAgents]:
    """Return the capability with the agents of a team."""

    @dataclass
    class Placed(SubAgents):
        team: ClassVar[Team] = home

        @classmethod
        def get_serialization_name(cls) -> str:
            return SubAgents.__name__

    return Placed
