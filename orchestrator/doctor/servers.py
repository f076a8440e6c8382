"""The MCP servers of the operator: whether each starts, and has the tools that may be used."""

from collections.abc import AsyncGenerator

from orchestrator.doctor.findings import Finding, failed, ok, warning
from orchestrator.errors import ServerSettingsError, ServerUnavailableError
from orchestrator.servers.asking import tools_of
from orchestrator.servers.client import NamedServer
from orchestrator.servers.registry import FILE, load_servers
from orchestrator.settings import Settings


async def servers(settings: Settings) -> AsyncGenerator[Finding]:
    """Yield a finding for each server."""
    try:
        registry = load_servers(settings.config_dir)
    except ServerSettingsError as error:
        yield failed("servers", str(error))
        return
    for name in registry.servers:
        yield await _tried(NamedServer.of(registry, name))


async def _tried(server: NamedServer) -> Finding:
    check = f"server {server.name}"
    try:
        tools = await tools_of(server)
    except ServerUnavailableError as error:
        return failed(check, error.problem)
    there = {tool.name for tool in tools}
    gone = [name for name in server.settings.tools or () if name not in there]
    if gone:
        return warning(check, f"has no {', '.join(gone)}", f"correct its tools in {FILE}")
    usable = sum(tool.may_be_used for tool in tools)
    return ok(check, f"answers, and has {len(tools)} tools, of which {usable} may be used")
