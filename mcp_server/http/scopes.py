"""What a token's scopes open of the operator's grant; never more than that grant."""

from collections.abc import Iterable

from mcp_server.fence.grant import WRITING_TOOLS, Grant

FILES_READ = "files:read"
FILES_WRITE = "files:write"
AGENTS_RUN = "agents:run"
"""For the tools that run agents, where they are offered."""
SCOPES = (FILES_READ, FILES_WRITE, AGENTS_RUN)


def known_scopes(given: Iterable[str]) -> list[str]:
    """Return those of `given` that mean something here."""
    held = set(given)  # once: what comes one by one is used up then
    return [scope for scope in SCOPES if scope in held]


def read_only(grant: Grant) -> Grant:
    """Return the part of `grant` that changes nothing."""
    tools = tuple(name for name in grant.tools if name not in WRITING_TOOLS)
    narrower = {"tools": tools, "read": ("**",), "write": (), "allow": ("**",)}
    return grant.narrowed_by(Grant.from_values({**narrower, "limits": grant.limits}))
