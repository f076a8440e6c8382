"""The ASGI application: authenticate, limit, and hand to the server of whoever calls."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import BearerAuthBackend, RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken, TokenVerifier
from mcp.server.auth.routes import build_resource_metadata_url, create_protected_resource_routes
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.http.attempts import Attempts
from mcp_server.http.holders import ANYBODY, Holder
from mcp_server.http.limits import HttpLimits, Limited
from mcp_server.http.oauth import Issuer, JwtVerifier
from mcp_server.http.scopes import SCOPES
from mcp_server.http.servers import Servers
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


def create_app(
    server_for: Callable[[Holder], Server[object]], access: Access, limits: HttpLimits
) -> Starlette:
    """Return the application that serves each caller, by a server of its own, at `/mcp`."""

    def managed(holder: Holder) -> StreamableHTTPSessionManager:
        return _managed(server_for(holder), access, limits)

    if not access.is_authenticated:
        manager = managed(ANYBODY)
        endpoint: ASGIApp = Limited(_Endpoint(manager.handle_request), limits)
        routes: list[BaseRoute] = [Route(PATH, endpoint=endpoint)]
        return Starlette(routes=routes, lifespan=_running(manager))
    servers = Servers(managed)
    routes, metadata_url = _metadata(access)
    guarded = RequireAuthMiddleware(Limited(servers, limits), [], metadata_url)
    return Starlette(
        routes=[Route(PATH, endpoint=guarded), *routes],
        middleware=[
            Middleware(Attempts, limits),
            Middleware(AuthenticationMiddleware, backend=BearerAuthBackend(_Verifier(access))),
            Middleware(AuthContextMiddleware),
        ],
        lifespan=_running(servers),
    )


def _running(
    served: StreamableHTTPSessionManager | Servers,
) -> Callable[[Starlette], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with served.run():
            yield

    return running


def _metadata(access: Access) -> tuple[list[BaseRoute], AnyHttpUrl | None]:
    """Return the routes that tell clients whose tokens are taken, and where that is told."""
    if access.issuer is None:
        return [], None
    resource = AnyHttpUrl(access.issuer.resource)
    issuers = [AnyHttpUrl(access.issuer.issuer)]
    routes = create_protected_resource_routes(resource, issuers, list(SCOPES))
    return [*routes], build_resource_metadata_url(resource)


class _Endpoint:
    """An ASGI application as an object: Starlette takes a function for a request handler."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


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
        max_sessions=limits.sessions,
    )
