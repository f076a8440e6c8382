"""A server of the registry asked for its tools, by who runs no agent."""

from collections.abc import Iterable
from dataclasses import dataclass

import anyio

from orchestrator.errors import ServerUnavailableError
from orchestrator.servers.client import NamedServer
from orchestrator.servers.names import is_tool
from orchestrator.servers.registry import Registry
from orchestrator.servers.results import Cleaning
from orchestrator.servers.toolset import server_toolset

DESCRIPTION_BYTES = 300


@dataclass(frozen=True)
class OfferedTool:
    """A tool that a server has."""

    name: str
    description: str
    """Its beginning, in the server's words."""
    may_be_used: bool
    """Whether the operator lets agents have it."""
    is_asked_about: bool
    """Whether each call needs a person's yes."""


async def tools_of(server: NamedServer) -> list[OfferedTool]:
    """Start or reach a server, and return its tools; those that cannot be asked for are left out.

    Raises:
        ServerUnavailableError: It does not start, or does not answer in time.
    """
    cleaning = Cleaning(DESCRIPTION_BYTES, server.cleaning.secrets)
    async with server_toolset(server.name, (), lambda: server) as toolset:
        return [
            OfferedTool(
                name=tool.name,
                description=cleaning.text(tool.description or ""),
                may_be_used=server.settings.allows(tool.name),
                is_asked_about=server.settings.asks(tool.name),
            )
            for tool in await toolset.wrapped.list_tools()
            if is_tool(tool.name)
        ]


async def ask_servers(
    registry: Registry, names: Iterable[str]
) -> dict[str, list[OfferedTool] | str]:
    """Return the tools of several servers, all asked at once; what is wrong where one has none.

    Raises:
        NotFoundError: There is no server of a name.
    """
    servers = [NamedServer.of(registry, name) for name in names]
    answers: dict[str, list[OfferedTool] | str] = {}

    async def ask(server: NamedServer) -> None:
        try:
            answers[server.name] = await tools_of(server)
        except ServerUnavailableError as error:
            answers[server.name] = error.problem

    async with anyio.create_task_group() as tasks:
        for server in servers:
            tasks.start_soon(ask, server)
    return {server.name: answers[server.name] for server in servers}
