"""Whose sessions the callers of an MCP server get at."""

import hashlib
import re

from mcp_server.fence.grant import Grant
from orchestrator.session import LOCAL_OWNER

_NAME_CHARS = 80
_HOST = re.compile("host:[0-9a-f]{16}")


def owner_of(caller: str, grant: Grant) -> str | None:
    """Return whose sessions a caller with a grant gets at; None for everybody's.

    Sessions hold what agents have read. Who may do less than the default must not go on with, or
    read, a session of somebody who may do more; so each narrower grant has sessions of its own.

    Args:
        caller: One of several that must not meet; none where whoever has the connection is meant.
        grant: What the caller may do.
    """
    if not caller and grant == Grant.full():
        return None
    text = grant.model_dump_json()
    if not caller:
        return f"host:{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    # Of the name a person sees the beginning; who it is, the hash of all of it says.
    said = f"{caller}\n{text}".encode("utf-8", "surrogatepass")
    seen = "".join(each for each in caller if each.isprintable())[:_NAME_CHARS]
    return f"{seen}#{hashlib.sha256(said).hexdigest()[:32]}"


def names_agents_of(owner: str) -> str:
    """Return whose definitions the runs in an owner's sessions find by their names.

    A narrower grant of who has the connection has sessions of its own, and the same agents.
    """
    return LOCAL_OWNER if _HOST.fullmatch(owner) else owner
