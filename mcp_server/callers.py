"""Who makes a call, as the request's `_meta` and the host's name tell.

    "_meta": {"workyard/key": "…", "workyard/agent": "…", "workyard/session": "…", …}

What is said there is for the journal and grants nothing. With the key a call can be repeated after
a crash without being done twice.
"""

from collections.abc import Mapping

from mcp_server.errors import InvalidInputError
from mcp_server.fence.changes import Caller
from mcp_server.text import quoted

KEY, AGENT, SESSION, RUN = (f"workyard/{name}" for name in ("key", "agent", "session", "run"))
"""What a request's `_meta` may hold."""
_MAX_CHARS = 200


def caller_from(meta: Mapping[str, object], host: str) -> Caller:
    """Return on whose behalf a request is made.

    Args:
        meta: the request's `_meta`.
        host: the client's name and version, in the place of an agent's name.

    Raises:
        InvalidInputError: something of ours in it is not a text of 1 to 200 characters.
    """
    known = {
        name: _checked(name, meta[name]) for name in (KEY, AGENT, SESSION, RUN) if name in meta
    }
    return Caller(
        actor=known.get(AGENT, host[:_MAX_CHARS]),
        session=known.get(SESSION, ""),
        run=known.get(RUN, ""),
        key=known.get(KEY),
    )


def _checked(name: str, value: object) -> str:
    if isinstance(value, str) and 0 < len(value) <= _MAX_CHARS and value.isprintable():
        return value
    given = quoted(value) if isinstance(value, str) else type(value).__name__
    raise InvalidInputError(
        f"The request's _meta holds {name!r} as {given}; it must be a text of 1 to {_MAX_CHARS} "
        "printable characters."
    )
