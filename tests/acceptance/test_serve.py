"""`workyard serve`, as a host starts it."""

from pathlib import Path
from typing import Literal

import pytest
from mcp import Client, StdioServerParameters
from mcp_types import TextContent

from tests.acceptance.conftest import COMMAND


@pytest.mark.parametrize(("mode", "version"), [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
async def test_host_of_either_era_lists_and_calls_the_tools(
    mode: Literal["auto", "legacy"], version: str, project: Path
) -> None:
    server = StdioServerParameters(command=COMMAND, args=["serve", "--root", str(project)])

    async with Client(server, mode=mode) as client:
        tools = (await client.list_tools()).tools
        read = await client.call_tool("read_file", {"path": "README.md"})
        escape = await client.call_tool("read_file", {"path": "../secret"})
        negotiated = client.protocol_version

    assert negotiated == version
    assert {tool.name for tool in tools} >= {"read_file", "write_file", "list_directory", "grep"}
    (text,) = read.content
    assert isinstance(text, TextContent)
    assert "A till that adds prices." in text.text
    assert escape.is_error
