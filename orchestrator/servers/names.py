"""What servers and their tools are called: in `servers.toml`, in specs, and before a model."""

import re
from collections.abc import Collection

from orchestrator.errors import NotFoundError, ServerNotFoundError

NAME_PATTERN = r"^[a-z][a-z0-9]*(?:[_-][a-z0-9]+)*$"
"""Of a server: no two `_` in a row and none at the end, so that `shown_name` has one meaning."""

TOOL_PATTERN = r"^[A-Za-z0-9_.-]{1,128}$"
"""Of a tool. Source: MCP, "Tool Names". One of another name cannot be asked for."""

MAX_NAME_CHARS = 32
MAX_SHOWN_CHARS = 64
"""The longest name of a tool that every provider takes."""

_MAX_KNOWN = 50
"""Tools that an error names; a server can have any number."""


def is_name(name: object) -> bool:
    """Say whether a server can be called so."""
    is_short = isinstance(name, str) and len(name) <= MAX_NAME_CHARS
    return is_short and re.fullmatch(NAME_PATTERN, str(name)) is not None


def is_tool(name: object) -> bool:
    """Say whether a tool that is called so can be asked for."""
    return isinstance(name, str) and re.fullmatch(TOOL_PATTERN, name) is not None


def shown_name(server: str, tool: str) -> str:
    """Return what a model calls a tool of a server; no tool of Workyard's own has such a name.

    >>> shown_name("github", "search_issues"), shown_name("read", "file"), shown_name("a", "b.c")
    ('github__search_issues', 'read__file', 'a__b_c')
    """
    return f"{server}__{tool.replace('.', '_')}"


def no_such_tool(server: str, tool: str, there: Collection[str]) -> NotFoundError:
    """Return the error that says that a server has no such tool, and what it has."""
    known = sorted(filter(is_tool, there))[:_MAX_KNOWN]
    return ServerNotFoundError(
        f"MCP server {server!r} has no tool {tool!r}",
        tool,
        known=known,
        way_out=f"'workyard servers {server} --check' shows what it has.",
    )
