"""The Python SDK 2.x, in either era."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp_types import PromptReference

from tests.clients.contract import CALL, PROMPT, README, TYPED, Found, Server
from tests.listening import Era


@asynccontextmanager
async def connected(server: Server, era: Era) -> AsyncIterator[Client]:
    """Connect to a server."""
    if server.url:
        async with (
            httpx2.AsyncClient(headers=server.headers, timeout=60) as http,
            Client(streamable_http_client(server.url, http_client=http), mode=era) as client,
        ):
            yield client
    else:
        command, *arguments = server.command
        parameters = StdioServerParameters(command=command, args=arguments, env={**server.env})
        async with Client(parameters, mode=era) as client:
            yield client


async def talk(era: Era, server: Server) -> Found:
    """Return what the client finds."""
    async with connected(server, era) as client:
        called = await client.call_tool(*CALL)
        prompt = await client.get_prompt(*PROMPT)
        ref = PromptReference(type="ref/prompt", name=PROMPT[0])
        completed = await client.complete(ref, {"name": "agent", "value": TYPED})
        return {
            "protocol": str(client.protocol_version),
            "tools": [each.name for each in (await client.list_tools()).tools],
            "call": str(called.content),
            "prompts": [each.name for each in (await client.list_prompts()).prompts],
            "prompt": str(prompt.messages),
            "completion": completed.completion.values,
            "resources": [str(each.uri) for each in (await client.list_resources()).resources],
            "read": str((await client.read_resource(README)).contents),
        }
