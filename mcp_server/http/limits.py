"""How much one caller may ask, and how long anybody may hold a request open."""

from collections import OrderedDict
from dataclasses import dataclass

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import principal_components
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.http.bucket import Bucket

_MAX_CALLERS = 10_000


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What one server takes."""

    per_minute: int = 600
    """Requests of one caller."""
    at_once_each: int = 32
    at_once: int = 256
    sessions: int = 200
    """Sessions of one caller that are kept for clients of before 2026-07-28."""
    failures_per_minute: int = 60
    """Tokens that are looked at and turn out to be wrong, of one address."""
    body_bytes: int = 4 * 1024 * 1024
    wait_s: float = 30
    """Seconds for which one piece of a body, or a reader of the answer, is waited for."""


@dataclass(slots=True)
class _Usage:
    requests: Bucket
    running: int = 0


class Limited:
    """An ASGI application that refuses with 429 what is over the limits."""

    def __init__(self, app: ASGIApp, limits: HttpLimits) -> None:
        """Stand before `app`, behind the authentication."""
        self._app, self._limits = app, limits
        self._usages: OrderedDict[object, _Usage] = OrderedDict()
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say when to come again."""
        usage = self._usage_of(_caller_in(scope))
        wait_s = self._taken(usage)
        if wait_s:
            message = f"Too many requests; try again in {wait_s} s."
            headers = {"Retry-After": str(wait_s)}
            await JSONResponse({"error": message}, 429, headers)(scope, receive, send)
            return
        usage.running += 1
        self._running += 1
        try:
            await self._app(scope, self._patient(receive), self._patient_send(send))
        except ClientDisconnect:  # it came from `_patient`, or the client has gone
            await JSONResponse({"error": "The body has not come."}, 408)(scope, receive, send)
        finally:
            usage.running -= 1
            self._running -= 1

    def _usage_of(self, caller: object) -> _Usage:
        usage = self._usages.setdefault(caller, _Usage(Bucket(self._limits.per_minute)))
        self._usages.move_to_end(caller)
        while len(self._usages) > _MAX_CALLERS:
            self._usages.popitem(last=False)
        return usage

    def _taken(self, usage: _Usage) -> int:
        """Take one request out of the bucket; return the seconds to wait, 0 when it was there."""
        limits = self._limits
        if usage.running >= limits.at_once_each or self._running >= limits.at_once:
            return 1
        return usage.requests.take()

    def _patient(self, receive: Receive) -> Receive:
        is_whole = False

        async def receive_in_time() -> Message:
            nonlocal is_whole
            if is_whole:  # what comes now is the news that the client has gone
                return await receive()
            with anyio.move_on_after(self._limits.wait_s):
                message = await receive()
                is_whole = not message.get("more_body", False)
                return message
            return {"type": "http.disconnect"}

        return receive_in_time

    def _patient_send(self, send: Send) -> Send:
        async def send_in_time(message: Message) -> None:
            with anyio.fail_after(self._limits.wait_s):
                await send(message)

        return send_in_time


def _caller_in(scope: Scope) -> object:
    user = scope.get("user")
    if isinstance(user, AuthenticatedUser):
        return principal_components(user.access_token)
    client = scope.get("client")
    return client[0] if client else None
