"""`workyard serve` as a host starts it, with a record that the test can read."""

import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Literal

from mcp import Client, StdioServerParameters
from mcp_types import CallToolResult, TextContent

from orchestrator.settings import load_settings
from orchestrator.store.store import Store, open_store
from tests.acceptance.conftest import COMMAND

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
START_S = 60


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a server whose record is that of this test."""
    kept = {name: os.environ[name] for name in os.environ if name.startswith("WORKYARD_")}
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **kept, **(extra or {})}


def served(
    root: Path, *arguments: str, env: Mapping[str, str] | None = None
) -> StdioServerParameters:
    """Return how a client starts the server."""
    words = ["serve", "--root", str(root), *arguments]
    return StdioServerParameters(command=COMMAND, args=words, env=environment(env))


def record() -> AbstractAsyncContextManager[Store]:
    """Open the record that the server has written."""
    return open_store(load_settings().effective_database_url)


def text_of(result: CallToolResult) -> str:
    (block,) = result.content
    assert isinstance(block, TextContent)
    return block.text


def run_of(result: CallToolResult) -> dict[str, Any]:  # JSON as it came
    """Return what a result's `_meta` says of the run."""
    assert result.meta is not None, text_of(result)
    told: dict[str, Any] = result.meta["workyard/run"]
    return told


async def tools_of(client: Client) -> list[str]:
    return [tool.name for tool in (await client.list_tools()).tools]
