"""`Approvals`: which calls of an agent are made only when a person has said yes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable  # Any: deps of any type

from pydantic_ai import ApprovalRequired, RunContext, ToolDenied
from pydantic_ai.capabilities import AbstractCapability, WrapToolExecuteHandler
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition

from mcp_server.errors import ServerError
from mcp_server.fence.grant import WRITING_TOOLS, Grant
from orchestrator.approvals.hands import WORKSPACE, hands_of
from orchestrator.approvals.rehearsal import rehearse, writes_nothing
from orchestrator.errors import OrchestratorError
from orchestrator.events import ApprovalDecided


@runtime_checkable
class Answering(Protocol):
    """A capability that knows what has been said to a question."""

    def decision(self, call_id: str) -> ApprovalDecided | None:
        """Return what was said, if anything."""
        ...


@dataclass
class Approvals(AbstractCapability[Any]):
    """Lets calls wait for a person's yes.

    In plain Pydantic AI they are deferred as any call is that needs approval; a recorded run ends
    and waits.
    """

    writes: bool = False
    """Whether every call that changes a file needs one."""
    paths: list[str] = field(default_factory=list)
    """Globs; a call that would change what one of them names needs one."""
    tools: list[str] = field(default_factory=list)
    """The names of tools, also others than the workspace's, whose calls need one."""

    def __post_init__(self) -> None:
        if not isinstance(self.writes, bool):
            raise ValueError(f"writes is true or false, not {self.writes!r}")
        if not (self.writes or self.paths or self.tools):
            raise ValueError("say which calls need a yes: writes, paths or tools")
        try:
            self._guarded = Grant.from_values({"write": self.paths})
        except ServerError as error:  # what Pydantic AI expects of a bad argument
            raise ValueError(str(error)) from None

    async def wrap_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        handler: WrapToolExecuteHandler,
    ) -> Any:
        """Make a call, let it wait, or refuse it."""
        said = _said(ctx, call.tool_call_id)
        if said is not None and not said.is_approved:
            reason = f": {said.reason}" if said.reason else "."
            return ToolDenied(f"A person has said no to this call{reason}")
        is_free = ctx.tool_call_approved or said is not None
        if is_free or not await self._needs_a_yes(ctx, tool_def, args):
            return await handler(args)
        raise ApprovalRequired

    async def _needs_a_yes(
        self, ctx: RunContext[Any], tool: ToolDefinition, args: Mapping[str, Any]
    ) -> bool:
        if tool.name in self.tools:
            return True
        if (
            tool.toolset_id != WORKSPACE
            or tool.name not in WRITING_TOOLS
            or writes_nothing(tool.name, args)
        ):
            return False
        return self.writes or (bool(self.paths) and await self._is_guarded(ctx, tool.name, args))

    async def _is_guarded(self, ctx: RunContext[Any], tool: str, args: Mapping[str, Any]) -> bool:
        hands = hands_of(ctx)
        if hands is None:
            return True
        try:
            rehearsal = await rehearse(*hands, tool, args)
        except OrchestratorError:  # what cannot be told is asked for
            return True
        return any(map(self._guarded.may_write, rehearsal.paths))


def _said(ctx: RunContext[Any], call_id: str) -> ApprovalDecided | None:
    known = (one for one in ctx.capabilities.values() if isinstance(one, Answering))
    return next((said for one in known if (said := one.decision(call_id)) is not None), None)
