"""Pydantic AI's `MCPToolset`, which has no completion: no agent types."""

from fastmcp.client import Client
from pydantic_ai.mcp import MCPToolset

from tests.clients.contract import CALL, PROMPT, README, Found, Server
from tests.clients.fastmcp_client import transport


async def talk(server: Server) -> Found:
    """Return what the toolset finds."""
    client = Client(transport(server))
    async with MCPToolset(client) as toolset:
        return {
            "protocol": str(client.protocol_version),
            "tools": [each.name for each in await toolset.list_tools()],
            "call": str(await toolset.direct_call_tool(*CALL)),
            "prompts": [each.name for each in await toolset.list_prompts()],
            "prompt": str(await toolset.get_prompt(*PROMPT)),
            "resources": [str(each.uri) for each in await toolset.list_resources()],
            "read": str(await toolset.read_resource(README)),
        }
