"""FastMCP's client."""

from fastmcp.client import Client
from fastmcp.client.transports import ClientTransport, StdioTransport, StreamableHttpTransport
from mcp_types import PromptReference

from tests.clients.contract import CALL, PROMPT, README, TYPED, Found, Server


def transport(server: Server) -> ClientTransport:
    """Return the way to a server."""
    if server.url:
        return StreamableHttpTransport(server.url, headers=server.headers)
    command, *arguments = server.command
    return StdioTransport(command, arguments, env={**server.env}, keep_alive=False)


async def talk(server: Server) -> Found:
    """Return what the client finds."""
    async with Client(transport(server)) as client:
        called = await client.call_tool(*CALL)
        prompt = await client.get_prompt(*PROMPT)
        ref = PromptReference(type="ref/prompt", name=PROMPT[0])
        completed = await client.complete(ref, {"name": "agent", "value": TYPED})
        return {
            "protocol": str(client.protocol_version),
            "tools": [each.name for each in await client.list_tools()],
            "call": str(called.content),
            "prompts": [each.name for each in await client.list_prompts()],
            "prompt": str(prompt.messages),
            "completion": completed.values,
            "resources": [str(each.uri) for each in await client.list_resources()],
            "read": str(await client.read_resource(README)),
        }
