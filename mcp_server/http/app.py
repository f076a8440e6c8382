"""The ASGI application: authenticate, limit, and hand to the server that the scopes open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from urllib.parse import quote

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware, get_access_token
from mcp.server.auth.middleware.bearer_auth import (
    AuthenticatedUser,
    BearerAuthBackend,
    RequireAuthMiddleware,
)
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import JSONResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.fence.changes.change import Caller
from mcp_server.http.limits import HttpLimits, Limited
from mcp_server.http.oauth import Issuer, JwtVerifier
from mcp_server.http.scopes import FILES_READ, FILES_WRITE, SCOPES
from mcp_server.http.tokens import PREFIX, StaticTokens

PATH = "/mcp"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may come in, and by which names."""

    hosts: tuple[str, ...]
    origins: tuple[str, ...]
    tokens: StaticTokens | None = None
    issuer: Issuer | None = None

    @property
    def is_authenticated(self) -> bool:
        """Whether a caller has to show a token."""
        return self.tokens is not None or self.issuer is not None


@dataclass(frozen=True, slots=True)
class Servers:
    """One MCP server for each part of the grant."""

    reading: Server[object]
    writing: Server[object]


def create_app(servers: Servers, access: Access, limits: HttpLimits) -> Starlette:
    """Return the application that serves `servers` at `/mcp`."""
    reading, writing = (
        _managed(server, access, limits) for server in (servers.reading, servers.writing)
    )

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with reading.run(), writing.run():
            yield

    if not access.is_authenticated:
        endpoint: ASGIApp = Limited(_Endpoint(writing.handle_request), limits)
        return Starlette(routes=[Route(PATH, endpoint=endpoint)], lifespan=running)
    chosen = _ByScope(reading.handle_request, writing.handle_request)
    routes: list[BaseRoute] = []
    metadata_url = None
    if access.issuer is not None:
        resource = AnyHttpUrl(access.issuer.resource)
        metadata_url = build_resource_metadata_url(resource)
        routes += create_protected_resource_routes(
            resource, [AnyHttpUrl(access.issuer.issuer)], list(SCOPES)
        )
    guarded = RequireAuthMiddleware(Limited(chosen, limits), [], metadata_url)
    return Starlette(
        routes=[Route(PATH, endpoint=guarded), *routes],
        middleware=[
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_Verifier(access))),
            Middleware(AuthContextMiddleware),
        ],
        lifespan=running,
    )


def apart(caller: Caller) -> Caller:
    """Return `caller` with its session and key set apart from those of every other token.

    What a request says of itself can be forged; its token cannot.
    """
    token = get_access_token()
    if token is None:
        return caller
    # Without `/` in it, no name followed by a session reads as another name with another session.
    owner = "/".join(quote(part or "", safe="@:") for part in (token.client_id, token.subject))
    key = None if caller.key is None else f"{owner}/{caller.key}"
    run = f"{owner}/{caller.run}" if caller.run else ""
    return replace(caller, session=f"{owner}/{caller.session}", run=run, key=key)


class _Endpoint:
    """An ASGI application as an object: Starlette takes a function for a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


class _ByScope:
    """Choose the server by what this request's token allows."""

    def __init__(self, reading: ASGIApp, writing: ASGIApp) -> None:
        self._reading, self._writing = reading, writing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        user = scope["user"]
        scopes = user.access_token.scopes if isinstance(user, AuthenticatedUser) else []
        if FILES_WRITE in scopes:
            await self._writing(scope, receive, send)
        elif FILES_READ in scopes:
            await self._reading(scope, receive, send)
        else:
            needed = f'Bearer error="insufficient_scope", scope="{FILES_READ}"'
            answer = {"error": "insufficient_scope", "error_description": f"Needs {FILES_READ}."}
            headers = {"WWW-Authenticate": needed}
            await JSONResponse(answer, 403, headers)(scope, receive, send)


class _Verifier(TokenVerifier):
    """Send each token to those who know its kind."""

    def __init__(self, access: Access) -> None:
        self._tokens = access.tokens
        self._jwts = None if access.issuer is None else JwtVerifier(access.issuer)

    async def verify_token(self, token: str) -> AccessToken | None:
        verifier = self._tokens if token.startswith(PREFIX) else self._jwts
        return None if verifier is None else await verifier.verify_token(token)


def _managed(
    server: Server[object], access: Access, limits: HttpLimits
) -> StreamableHTTPSessionManager:
    return StreamableHTTPSessionManager(
        server,
        security_settings=TransportSecuritySettings(
            enable_dns_rebinding_protection=True,
            allowed_hosts=list(access.hosts),
            allowed_origins=list(access.origins),
        ),
        max_request_body_size=limits.body_bytes,
        max_sessions=1000,
    )
