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
from orchestrator.approvals.rehearsal import Rehearsal, rehearse, writes_nothing
from orchestrator.errors import OrchestratorError
from orchestrator.events import ApprovalDecided

PREVIEW = "preview"
"""In the metadata of a call that waits: what it would change, as diffs."""


@runtime_checkable
class Answering(Protocol):
    """A capability that knows what has been said to a question."""

    def take_decision(self, call: ToolCallPart) -> ApprovalDecided | None:
        """Return what was said to a call, once."""
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
        if ctx.tool_call_approved:
            return await handler(args)
        said = said_to(ctx, call)
        if said is not None and not said.is_approved:
            return denied(said)
        if said is None:
            await self._ask(ctx, tool_def, args)
        return await handler(args)

    async def _ask(
        self, ctx: RunContext[Any], tool: ToolDefinition, args: Mapping[str, Any]
    ) -> None:
        """Let a call wait that needs a yes, with what it would change.

        Raises:
            ApprovalRequired: It needs one.
        """
        is_ours = tool.toolset_id == WORKSPACE and tool.name in WRITING_TOOLS
        is_named = tool.name in self.tools
        changes = is_ours and not writes_nothing(tool.name, args)
        if not is_named and not (changes and (self.writes or self.paths)):
            return
        rehearsal, preview = await _rehearsed(ctx, tool.name, args) if is_ours else (None, "")
        by_path = rehearsal if not (is_named or self.writes) else None
        if by_path is not None and not any(map(self._guarded.may_write, by_path.paths)):
            return
        raise ApprovalRequired({PREVIEW: preview})


async def _rehearsed(
    ctx: RunContext[Any], tool: str, args: Mapping[str, Any]
) -> tuple[Rehearsal | None, str]:
    """Return what a call would do, if it can be told, and the same for a person."""
    hands = hands_of(ctx)
    if hands is None:
        return None, ""
    try:
        rehearsal = await rehearse(*hands, tool, args)
    except OrchestratorError as error:  # what cannot be told is asked for
        return None, f"It would fail now: {error}"
    return rehearsal, rehearsal.shown


def is_asked_about(ctx: RunContext[Any], tool: str) -> bool:
    """Say whether the run's spec lets every call of a tool wait for a yes."""
    known = (one for one in ctx.capabilities.values() if isinstance(one, Approvals))
    return any(tool in one.tools for one in known)


def said_to(ctx: RunContext[Any], call: ToolCallPart) -> ApprovalDecided | None:
    """Return what a person has said to a call, once; None if nobody has said anything."""
    known = (one for one in ctx.capabilities.values() if isinstance(one, Answering))
    return next((said for one in known if (said := one.take_decision(call)) is not None), None)


def denied(said: ApprovalDecided) -> ToolDenied:
    """Return what a model is told of a no."""
    reason = f": {said.reason}" if said.reason else "."
    return ToolDenied(f"A person has said no to this call{reason}")
