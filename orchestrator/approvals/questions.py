"""A run that needs a yes puts its questions on record and ends; who has answers lets it go on.

Nothing is held meanwhile: no process, no connection, no lease. The answers are on record too.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart

from mcp_server.fence.grant import WRITING_TOOLS
from orchestrator.approvals.hands import hands_of
from orchestrator.approvals.rehearsal import rehearse
from orchestrator.errors import OrchestratorError
from orchestrator.events import ApprovalDecided, ApprovalRequested

WAITS_FOR = "waits_for"
"""In the metadata of a call that waits: the run of a delegate that has asked somebody."""


class WaitsError(Exception):
    """Ends a run whose questions are on record."""


@dataclass
class Questions(AbstractCapability[Any]):
    """The questions of a run, and what has been said to them."""

    decisions: Mapping[str, ApprovalDecided]
    put: Callable[[Sequence[ApprovalRequested]], Awaitable[None]]
    """Writes questions down."""

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only a runner can make one."""
        return None

    def decision(self, call_id: str) -> ApprovalDecided | None:
        """Return what was said to a call, if anything."""
        return self.decisions.get(call_id)

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Write the questions down, and end the run.

        The other calls of the answer are made by now, and their results on record.

        Raises:
            WaitsError: When they are.
        """
        if not requests.approvals:
            return None
        own = [
            call
            for call in requests.approvals
            if WAITS_FOR not in (requests.metadata.get(call.tool_call_id) or {})
        ]
        await self.put([await _question(ctx, call) for call in own])
        raise WaitsError


async def _question(ctx: RunContext[Any], call: ToolCallPart) -> ApprovalRequested:
    return ApprovalRequested(
        call_id=call.tool_call_id,
        tool=call.tool_name,
        arguments=call.args_as_dict(),
        preview=await _preview(ctx, call),
    )


async def _preview(ctx: RunContext[Any], call: ToolCallPart) -> str:
    hands = hands_of(ctx)
    if hands is None or call.tool_name not in WRITING_TOOLS:
        return ""
    try:
        return (await rehearse(*hands, call.tool_name, call.args_as_dict())).shown
    except OrchestratorError as error:
        return f"It would fail now: {error}"
