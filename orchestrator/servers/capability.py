"""`McpServer`: tools of a server that the operator has registered, for an agent's spec."""

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar  # Any: a capability serves agents with deps of any type

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.toolsets import AbstractToolset

from orchestrator.servers.names import MAX_SHOWN_CHARS, is_name, is_tool, shown_name
from orchestrator.servers.reach import Held, RegisteredServers, Servers
from orchestrator.servers.registry import FILE
from orchestrator.settings import load_settings


@dataclass
class McpServer(AbstractCapability[Any]):
    """Lets an agent use tools of an MCP server that the operator has registered by name.

    Where the server is, and what of it may be used at all, stands in the operator's `servers.toml`.
    An agent calls its tools by `name__tool`.
    """

    name: str = ""
    """The server's, in `servers.toml`."""
    tools: list[str] = field(default_factory=list)
    """Those that it may use, by the server's own names."""

    servers: ClassVar[Servers | None] = None
    """Those that there are; the ones in the user's config directory when nobody has said so."""

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ValueError(
                f"name is that of a server in {FILE}: small letters, digits, - and _; what it is "
                "started with and where it is stand there, and nowhere in a spec"
            )
        if not self.tools:
            raise ValueError(
                f"tools names those that may be used; 'workyard servers {self.name} --check' shows "
                "what the server has"
            )
        shown = list(map(self._shown, self.tools))
        for one, tool in zip(shown, self.tools, strict=True):
            if shown.count(one) > 1:
                raise ValueError(f"two tools would be called {one!r}: {tool!r} is one of them")

    def _shown(self, tool: str) -> str:
        if not is_tool(tool):
            raise ValueError("a tool's name has letters, digits and _ . - only")
        shown = shown_name(self.name, tool)
        if len(shown) > MAX_SHOWN_CHARS:
            raise ValueError(f"{shown!r} is longer than {MAX_SHOWN_CHARS} characters")
        return shown

    @property
    def held(self) -> tuple[str, ...]:
        """Those of its tools that whoever asks for the agent holds too."""
        return self.place.narrowed(self.name, tuple(self.tools))

    @cached_property
    def place(self) -> Servers:
        """Where its server comes from."""
        return self.servers or RegisteredServers(load_settings().config_dir)

    def get_toolset(self) -> AbstractToolset[Any] | None:
        """Return the server's tools; it is always the same toolset: see `WorkspaceTools`."""
        return self._toolset

    @cached_property
    def _toolset(self) -> AbstractToolset[Any] | None:
        return self.place.toolset(self.name, tuple(self.tools))


def held_by(ctx: RunContext[Any]) -> Held:
    """Return what a run holds of servers, for those it asks: nothing, if its spec names none."""
    held: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
    for one in ctx.capabilities.values():
        if isinstance(one, McpServer):
            held[one.name] |= frozenset(one.held)
    return held
