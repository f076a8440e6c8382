"""Who holds the token of a request: a name that nobody else has, and what it opens."""

from dataclasses import dataclass, replace
from urllib.parse import quote

from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.types import Scope

from mcp_server.fence.changes.change import Caller
from mcp_server.http.scopes import SCOPES


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom a server is for."""

    name: str
    scopes: frozenset[str]


ANYBODY = Holder("", frozenset(SCOPES))
"""Where nobody is asked for a token."""


def holder_in(scope: Scope) -> Holder:
    """Return the holder of the token that a request has shown; it opens nothing without."""
    user = scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        return Holder("", frozenset())
    return Holder(_name(user.access_token), frozenset(user.access_token.scopes))


def apart(caller: Caller) -> Caller:
    """Return `caller` with its session and key set apart from those of every other token.

    What a request says of itself can be forged; its token cannot.
    """
    token = get_access_token()
    if token is None:
        return caller
    owner = _name(token)
    key = None if caller.key is None else f"{owner}/{caller.key}"
    run = f"{owner}/{caller.run}" if caller.run else ""
    return replace(caller, session=f"{owner}/{caller.session}", run=run, key=key)


def _name(token: AccessToken) -> str:
    # Without `/` in it, no name followed by a session reads as another name with another session.
    return "/".join(quote(part or "", safe="@:") for part in (token.client_id, token.subject))
