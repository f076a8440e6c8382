"""What a spec says of the operator's servers, held against what there is; nothing is started."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.errors import NotFoundError, SpecError
from orchestrator.servers.registry import FILE, Registry, Server
from orchestrator.spec_source import Place, Trust
from orchestrator.specs import Spec

MCP_SERVER = "McpServer"
"""The name of the capability in a spec."""


@dataclass(frozen=True)
class Naming:
    """Where a spec names a server, and what it wants of it."""

    server: str
    tools: tuple[str, ...]
    place: Place

    def of_tool(self, tool: str) -> Place:
        """Return where it names a tool."""
        return (*self.place, "tools", self.tools.index(tool))


def servers_of(spec: Spec) -> Iterator[Naming]:
    """Yield the servers that a spec names; what is no proper naming is left to its capability."""
    for index, entry in enumerate(spec.document.capabilities):
        given = entry.get(MCP_SERVER) if isinstance(entry, dict) else None
        name, tools = (given.get("name"), given.get("tools")) if isinstance(given, dict) else (0, 0)
        if isinstance(name, str) and isinstance(tools, list):
            named = tuple(tool for tool in tools if isinstance(tool, str))
            yield Naming(name, named, ("capabilities", index, MCP_SERVER))


def server_problems(spec: Spec, registry: Registry) -> Iterator[SpecError]:
    """Yield why an agent could not use the servers that its spec names."""
    seen: set[str] = set()
    for naming in servers_of(spec):
        if naming.server in seen:
            problem = f"{naming.server!r} is named twice; give one entry all its tools."
            yield spec.error(problem, (*naming.place, "name"))
        seen.add(naming.server)
        try:
            server = registry.get(naming.server)
        except NotFoundError as error:
            yield spec.error(str(error), (*naming.place, "name"))
        else:
            yield from _problems(spec, naming, server)


def _problems(spec: Spec, naming: Naming, server: Server) -> Iterator[SpecError]:
    if spec.origin.trust is Trust.SHARED and not server.shared:
        problem = (
            f"{naming.server!r} is not for agents that are shared; 'shared = true' in {FILE} "
            "opens it to them."
        )
        yield spec.error(problem, (*naming.place, "name"))
    if naming.tools and not any(map(server.allows, naming.tools)):
        allowed = ", ".join(server.tools or ()) or "none"
        problem = f"{FILE} allows none of these tools of {naming.server!r}; it allows: {allowed}."
        yield spec.error(problem, (*naming.place, "tools"))


def check_servers(spec: Spec, registry: Registry) -> None:
    """Refuse a spec that names servers which its agent cannot use.

    Raises:
        SpecError: With file, line and field: the first fault.
    """
    for problem in server_problems(spec, registry):
        raise problem
