"""The Python SDK 1.x, which knows no protocol but that of before 2026-07-28.

It runs in an environment of its own: `make clients` installs it from `mcp-1.txt`.
"""

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import PromptReference
from pydantic import AnyUrl

from tests.clients.contract import CALL, PROMPT, README, TYPED, Found, Server


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[ClientSession]:
    """Connect to a server."""
    if server.url:
        async with (
            httpx.AsyncClient(headers=server.headers, timeout=60) as http,
            streamable_http_client(server.url, http_client=http) as (read, write, _),
            ClientSession(read, write) as session,
        ):
            yield session
    else:
        command, *arguments = server.command
        parameters = StdioServerParameters(command=command, args=arguments, env={**server.env})
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            yield session


async def talk(server: Server) -> Found:
    """Return what the client finds."""
    async with connected(server) as session:
        hello = await session.initialize()
        called = await session.call_tool(*CALL)
        prompt = await session.get_prompt(*PROMPT)
        ref = PromptReference(type="ref/prompt", name=PROMPT[0])
        completed = await session.complete(ref, {"name": "agent", "value": TYPED})
        read = await session.read_resource(AnyUrl(README))
        return {
            "protocol": str(hello.protocolVersion),
            "tools": [each.name for each in (await session.list_tools()).tools],
            "call": called.content[0].text,
            "prompts": [each.name for each in (await session.list_prompts()).prompts],
            "prompt": prompt.messages[0].content.text,
            "completion": completed.completion.values,
            "resources": [str(each.uri) for each in (await session.list_resources()).resources],
            "read": read.contents[0].text,
        }


if __name__ == "__main__":
    print(json.dumps(anyio.run(talk, Server(**json.loads(sys.argv[1])))))
