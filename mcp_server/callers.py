"""Who makes a call, as the request's `_meta` and the host's name tell.

    "_meta": {"workyard/key": "…", "workyard/agent": "…", "workyard/session": "…", …}

What is said there is for the journal and grants nothing. With the key a call can be repeated after
a crash without being done twice.
"""

from collections.abc import Mapping
from typing import TypeGuard

from mcp_server.errors import InvalidInputError
from mcp_server.fence.changes.change import Caller
from mcp_server.text import quoted

KEY, AGENT, SESSION, RUN = (f"workyard/{name}" for name in ("key", "agent", "session", "run"))
"""What a request's `_meta` may hold."""
_MAX_CHARS = 200


def caller_from(meta: Mapping[str, object], host: str, session: str = "") -> Caller:
    """Return on whose behalf a request is made.

    Args:
        meta: the request's `_meta`.
        host: the client's name and version, in the place of an agent's name.
        session: the one of a caller that names none.

    Raises:
        InvalidInputError: something of ours in it is not a text of 1 to 200 characters.
    """
    known = {
        name: _checked(name, meta[name]) for name in (KEY, AGENT, SESSION, RUN) if name in meta
    }
    return Caller(
        actor=known.get(AGENT, host[:_MAX_CHARS]),
        session=known.get(SESSION, session),
        run=known.get(RUN, ""),
        key=known.get(KEY),
    )


def meta_of(caller: Caller) -> dict[str, str]:
    """Return the `_meta` that says who calls; what no server would take is left out."""
    said = {KEY: caller.key, AGENT: caller.actor, SESSION: caller.session, RUN: caller.run}
    return {name: value for name, value in said.items() if _is_sound(value)}


def _is_sound(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and 0 < len(value) <= _MAX_CHARS and value.isprintable()


def _checked(name: str, value: object) -> str:
    if _is_sound(value):
        return value
    given = quoted(value) if isinstance(value, str) else type(value).__name__
    raise InvalidInputError(
        f"The request's _meta holds {name!r} as {given}; it must be a text of 1 to {_MAX_CHARS} "
        "printable characters."
    )
