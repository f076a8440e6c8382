"""Lets a run go on from its last settled step, as a capability of the agent that runs.

Pydantic AI takes up a history that ends with a request, or with calls that have no results: it
asks the model, or makes the calls. What of that is on record already is given to it from there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import ModelRetry, RequestUsage, RunContext, RunUsage, ToolDenied, ToolReturn
from pydantic_ai.capabilities import (
    AbstractCapability,
    CapabilityOrdering,
    WrapModelRequestHandler,
    WrapToolExecuteHandler,
)
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import ModelResponse, ToolCallPart, ToolReturnPart
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.tools import ToolDefinition

from orchestrator.approvals.hands import WORKSPACE
from orchestrator.store.claimed import ClaimedRun
from orchestrator.store.usage import in_all
from orchestrator.teams.subagents import DELEGATES

UNKNOWN = (
    "The process that made this call ended before it had a result. It may have taken effect or "
    "not: look, before you call {tool} again."
)
"""What a model reads in place of a result that nobody knows."""

_HARMLESS_TWICE = ("readOnlyHint", "idempotentHint")
"""What a server of tools says of those that can be called again. Source: MCP, ToolAnnotations."""


@dataclass
class Resumption(AbstractCapability[Any]):
    """What of a run's last step is on record, in place of doing it again."""

    run: ClaimedRun

    def __post_init__(self) -> None:
        self._answer = self.run.settled.answer
        self._results = dict(self.run.settled.results)
        # A call that has waited for a yes was begun by nobody until then.
        first = {key for key, decision in self.run.decisions.items() if decision.attempts == 1}
        self._unknown = {*self.run.settled.unknown} - first

    @property
    def worked_before_s(self) -> float:
        """How long earlier attempts were at work."""
        return self.run.worked_before_s

    @property
    def calls_made(self) -> int:
        """How many calls earlier attempts have made, with those of others for the run."""
        return self.run.calls_made

    @property
    def tasks_given(self) -> int:
        """How many tasks earlier attempts have given to others, but for those given once more."""
        again = self.run.settled.unknown
        return sum(call_id not in again for call_id in self.run.asked.values())

    def spent_by_delegates(self) -> RunUsage:
        """Return what others have used for the run during earlier attempts."""
        return in_all(self.run.used_by_delegates)

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only a runner can make one."""
        return None

    def get_ordering(self) -> CapabilityOrdering:
        """Come before whatever else looks at answers and results: it has seen these."""
        return CapabilityOrdering(position="outermost")

    async def before_run(self, ctx: RunContext[Any]) -> None:
        """Count what earlier attempts have used, once those have looked who count from here."""
        ctx.usage.incr(in_all(self.run.used))

    async def wrap_model_request(
        self,
        ctx: RunContext[Any],
        *,
        request_context: ModelRequestContext,
        handler: WrapModelRequestHandler,
    ) -> ModelResponse:
        """Give the answer that the model has given already, for which it has been paid."""
        if self._answer is None:
            return await handler(request_context)
        answer, self._answer = self._answer, None
        ctx.usage.requests -= 1  # which Pydantic AI adds for each answer
        return replace(answer, usage=RequestUsage())

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Give the result that a call has had already; make no call twice that may not be."""
        if call.tool_call_id in self._results:
            return again(self._results.pop(call.tool_call_id))
        if call.tool_call_id in self._unknown:
            self._unknown.remove(call.tool_call_id)
            if not _may_be_repeated(tool_def):
                raise ToolFailed(UNKNOWN.format(tool=call.tool_name))
        return await handler(args)


def _may_be_repeated(tool_def: ToolDefinition) -> bool:
    """Say whether a second call has no effect beyond that of the first.

    The workspace's calls carry a key by which its server knows them again, and who has been asked
    for this call goes on with that.
    """
    if tool_def.toolset_id in (WORKSPACE, DELEGATES):
        return True
    told = (tool_def.metadata or {}).get("annotations")
    return isinstance(told, Mapping) and any(told.get(hint) is True for hint in _HARMLESS_TWICE)


def again(part: ToolReturnPart) -> object:
    """Return or raise what leads Pydantic AI to the same result."""
    told = part.content if isinstance(part.content, str) else part.model_response_str()
    match part.outcome:
        case "success":
            return ToolReturn(return_value=part.content, metadata=part.metadata)
        case "denied":
            return ToolDenied(told)
        case "retried":
            raise ModelRetry(told)
        case _:
            raise ToolFailed(told)
