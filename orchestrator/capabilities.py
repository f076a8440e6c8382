"""What a spec can give an agent beyond Pydantic AI: hands in the workspace, a budget, servers.

All work in plain Pydantic AI, with no other code of ours:

    Agent.from_file("agent_specs/repo_guide.yaml", custom_capability_types=CAPABILITIES)

A file with limits must not load anywhere without them; that is why they are capabilities and not
metadata: `Agent.from_file` without these classes refuses the file by name.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, reduce
from pathlib import Path
from typing import Any, ClassVar  # Any: a capability serves agents with deps of any type

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.mcp import CallToolFunc, MCPToolset
from pydantic_ai.messages import ModelResponse, ToolReturn

from mcp_server.callers import meta_of
from mcp_server.changed import ChangedFiles
from mcp_server.errors import InvalidInputError
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Grant
from orchestrator.approvals.capability import Approvals
from orchestrator.approvals.hands import WORKSPACE
from orchestrator.budget.budget import Budget
from orchestrator.compaction.capability import Compaction
from orchestrator.connections import MetaClient, StdioConnection, WorkspaceConnection, hearing
from orchestrator.events import FileChanged
from orchestrator.ids import run_of
from orchestrator.servers.capability import McpServer, held_by
from orchestrator.servers.reach import RegisteredServers, Servers
from orchestrator.session_state import SessionState, session_state_in
from orchestrator.settings import load_settings
from orchestrator.state import States
from orchestrator.teams.plain import PlainTeam
from orchestrator.teams.subagents import Team, placed

START_TIMEOUT_S = 60.0
"""A server process needs about a second; a busy machine gets a minute before it counts as dead."""

CALL_TIMEOUT_S = 120.0
"""Above the server's own deadline for a call, which is the one that gives a useful message."""


@dataclass
class WorkspaceTools(AbstractCapability[Any]):
    """Lets an agent work in a directory, through our MCP server and within this grant.

    The server enforces the grant. What is left out is not allowed: no tools, nothing readable,
    nothing writable. Paths are globs relative to the root. `allow` names what is denied by default,
    such as `.env.example`; it opens that only where the operator allows it too.
    """

    tools: list[str] = field(default_factory=list)
    read: list[str] = field(default_factory=list)
    write: list[str] = field(default_factory=list)
    allow: list[str] = field(default_factory=list)

    connection: ClassVar[WorkspaceConnection | None] = None
    """Where the workspace is; the current directory when nobody has said so."""

    def __post_init__(self) -> None:
        names = ("tools", "read", "write", "allow")
        try:
            self.grant = Grant.from_values({name: getattr(self, name) for name in names})
        except InvalidInputError as error:  # what Pydantic AI expects of a bad argument
            raise ValueError(str(error)) from None

    @property
    def place(self) -> WorkspaceConnection:
        """Where the workspace is."""
        return self.connection or StdioConnection(Path.cwd())

    def get_toolset(self) -> MCPToolset[Any] | None:
        """Return the server's tools; the connection is made when a run begins.

        Pydantic AI asks again for each run. It always gets the same toolset: another one would
        start another server beside the one that the agent has opened.

        Raises:
            OrchestratorError: If no server can be started with this grant at this place.
        """
        if not self.grant.tools:
            return None
        if self.connection is not None:
            self.connection.check(self.grant)
        return self._toolset

    @cached_property
    def _toolset(self) -> MCPToolset[Any]:
        client = MetaClient(
            self.place.transport(self.grant),
            init_timeout=START_TIMEOUT_S,
            timeout=CALL_TIMEOUT_S,
        )
        return MCPToolset(
            client,
            id=WORKSPACE,
            # The model reads an error and goes on. The default counts it as a retry, and the second
            # "no such file" would end the run.
            tool_error_behavior="failed",
            process_tool_call=_call_by_name,
        )


@dataclass(frozen=True)
class FilesChanged:
    """What a call has changed: the metadata of its result, which no model is sent.

    Only the workspace's toolset makes one; what another server says of itself stays text.
    """

    files: tuple[FileChanged, ...]


async def _call_by_name(
    ctx: RunContext[Any], call: CallToolFunc, tool: str, arguments: dict[str, Any]
) -> Any:  # a ToolReturn is taken too, although `ToolResult` leaves it out
    """Make a call, and say who makes it: the server's journal keeps that of what it changes."""
    caller = Caller(
        actor=(ctx.agent.name if ctx.agent else None) or "",
        session=ctx.conversation_id or "",
        run=run_of(ctx.run_id or ""),
        key=_key(ctx),
    )
    with hearing() as meta:
        result = await call(tool, arguments, metadata=meta_of(caller))
    files = _told_in(meta, ctx.tool_call_id or "")
    return ToolReturn(result, metadata=FilesChanged(files)) if files else result


def _told_in(meta: Mapping[str, Any], call_id: str) -> tuple[FileChanged, ...]:
    changed = ChangedFiles.from_meta(meta)
    last = len(changed.files) - 1
    return tuple(
        FileChanged(call_id=call_id, more=changed.more if at == last else 0, **dict(file))
        for at, file in enumerate(changed.files)
    )


def _key(ctx: RunContext[Any]) -> str | None:
    """Return what this call alone has, also when a run that goes on after a crash repeats it.

    Not its id alone: some models count anew in each answer. The answer that asks for the call has a
    run and a moment, and keeps them on record; the number of a step would begin anew.
    """
    answers = (m for m in reversed(ctx.messages) if isinstance(m, ModelResponse))
    answer = next(answers, None)
    if answer is None:
        return None
    parts = (run_of(answer.run_id or ""), answer.timestamp.isoformat(), ctx.tool_call_id)
    return hashlib.sha256(repr(parts).encode()).hexdigest()  # an id may be long, and of any kind


def grant_of(ctx: RunContext[Any]) -> Grant:
    """Return what a run may do in its workspace: nothing, if its spec gives it no hands there."""
    grants = [one.grant for one in ctx.capabilities.values() if isinstance(one, WorkspaceTools)]
    return reduce(Grant.narrowed_by, grants) if grants else Grant.from_values({})


def capabilities_at(
    connection: WorkspaceConnection,
    states: States | None = None,
    team: Team | None = None,
    *,
    servers: Servers | None = None,
) -> tuple[type[AbstractCapability[Any]], ...]:
    """Return `CAPABILITIES` at a given place.

    Args:
        connection: Where the workspace is.
        states: Those of a record; in memory when there is none.
        team: Where delegates run; in this process, on no record, when there is none.
        servers: The operator's; those of the user's config directory when there are none.
    """
    place, named = connection, servers

    @dataclass
    class Placed(WorkspaceTools):
        connection: ClassVar[WorkspaceConnection | None] = place

        @classmethod
        def get_serialization_name(cls) -> str:
            return WorkspaceTools.__name__

    @dataclass
    class Named(McpServer):
        servers: ClassVar[Servers | None] = named

        @classmethod
        def get_serialization_name(cls) -> str:
            return McpServer.__name__

    kept = SessionState if states is None else session_state_in(states)
    asked = placed(team or PlainTeam(_within))
    return (Placed, Budget, Compaction, kept, asked, Approvals, Named)


def _within(ctx: RunContext[Any], team: Team) -> tuple[type[AbstractCapability[Any]], ...]:
    """Return the capabilities for a delegate of a run: at its place, and within its rights."""
    places = (one.place for one in ctx.capabilities.values() if isinstance(one, WorkspaceTools))
    place = next(places, None) or StdioConnection(Path.cwd())
    named = (one.place for one in ctx.capabilities.values() if isinstance(one, McpServer))
    servers = next(named, None) or RegisteredServers(load_settings().config_dir)
    narrowed = servers.within(held_by(ctx))
    return capabilities_at(place.within(grant_of(ctx)), team=team, servers=narrowed)


CAPABILITIES: tuple[type[AbstractCapability[Any]], ...] = (
    WorkspaceTools,
    Budget,
    Compaction,
    SessionState,
    placed(PlainTeam(_within)),
    Approvals,
    McpServer,
)
"""For `custom_capability_types=` of Pydantic AI."""
