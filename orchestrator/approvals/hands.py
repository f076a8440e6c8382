"""Where a run has its hands, for who wants to know what a call of it would do."""

from typing import Any, Protocol, runtime_checkable  # Any: a run's deps are of any type

from pydantic_ai import RunContext

from mcp_server.fence.grant import Grant
from orchestrator.connections import WorkspaceConnection

WORKSPACE = "workspace"
"""The name of the toolset of workspace tools, by which its calls are known."""


@runtime_checkable
class Hands(Protocol):
    """A capability that works in a workspace."""

    @property
    def place(self) -> WorkspaceConnection:
        """Where that is."""
        ...

    @property
    def grant(self) -> Grant:
        """What it may do there."""
        ...


def hands_of(ctx: RunContext[Any]) -> tuple[WorkspaceConnection, Grant] | None:
    """Return where a run works and what it may do there; None if it does not work anywhere."""
    found = [one for one in ctx.capabilities.values() if isinstance(one, Hands)]
    return (found[0].place, found[0].grant) if len(found) == 1 else None
