"""A run that needs a yes puts its questions on record and ends; who has answers lets it go on.

Nothing is held meanwhile: no process, no connection, no lease. The answers are on record too.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart

from orchestrator.approvals.capability import PREVIEW
from orchestrator.events import ApprovalDecided, ApprovalRequested
from orchestrator.store.claimed import Decision

WAITS_FOR = "waits_for"
"""In the metadata of a call that waits: the run of a delegate that has asked somebody."""


ENDS = "ends"
"""In the metadata of a call that is left as it is: the error that ends the run."""


class WaitsError(Exception):
    """Ends a run whose questions are on record."""


@dataclass
class Questions(AbstractCapability[Any]):
    """The questions of a run, and what has been said to them."""

    decisions: Mapping[str, Decision]
    put: Callable[[Sequence[ApprovalRequested]], Awaitable[None]]
    """Writes questions down."""

    def __post_init__(self) -> None:
        self._left = dict(self.decisions)

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: only a runner can make one."""
        return None

    def take_decision(self, call: ToolCallPart) -> ApprovalDecided | None:
        """Return what was said to a call, once; some providers give several calls one id."""
        decision = self._left.get(call.tool_call_id)
        if decision is None or not _is_of(decision.asked, call):
            return None
        return self._left.pop(call.tool_call_id).said

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """Write the questions down, and end the run.

        The other calls of the answer are made by now, and their results on record.

        Raises:
            WaitsError: When they are.
            Exception: What ends the run, if that is another thing.
        """
        for about in requests.metadata.values():
            if ENDS in about:
                raise about[ENDS]
        if not requests.approvals:
            return None
        told = [
            (call, requests.metadata.get(call.tool_call_id) or {}) for call in requests.approvals
        ]
        await self.put([_question(call, about) for call, about in told if WAITS_FOR not in about])
        raise WaitsError


def _question(call: ToolCallPart, about: Mapping[str, Any]) -> ApprovalRequested:
    return ApprovalRequested(
        call_id=call.tool_call_id,
        tool=call.tool_name,
        arguments=call.args_as_dict(),
        preview=about.get(PREVIEW, ""),
    )


def _is_of(asked: ApprovalRequested, call: ToolCallPart) -> bool:
    return (asked.tool, asked.arguments) == (call.tool_name, call.args_as_dict())
