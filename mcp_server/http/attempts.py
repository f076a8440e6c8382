"""How many wrong tokens one address may show: to look at one costs more than to refuse it.

Behind a proxy, all callers come from one address. So a token that was good a while ago is looked at
whatever others do; what is refused then are tokens that nobody has seen yet.
"""

import hashlib
import secrets
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address, ip_network

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.http.bucket import Bucket
from mcp_server.http.limits import HttpLimits

_MAX_KEPT = 10_000
_IPV6_HOME = 64
"""Bits of an IPv6 address that are one customer's: the rest is theirs to choose."""


class Attempts:
    """An ASGI application before the authentication, which it spares what is likely in vain."""

    def __init__(self, app: ASGIApp, limits: HttpLimits) -> None:
        """Stand before `app`, which says in its scope whose token it was."""
        self._app, self._limits = app, limits
        self._failures: OrderedDict[str, Bucket] = OrderedDict()
        self._good: OrderedDict[bytes, None] = OrderedDict()
        self._key = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say when to come again."""
        token = _token_in(scope)
        if token is None:
            await self._app(scope, receive, send)
            return
        digest = hashlib.blake2b(token, key=self._key).digest()
        failures = self._failures_of(scope)
        wait_s = 0 if digest in self._good else failures.take()
        if wait_s:
            message = f"Too many wrong tokens from this address; try again in {wait_s} s."
            answer = JSONResponse({"error": message}, 429, {"Retry-After": str(wait_s)})
            await answer(scope, receive, send)
            return

        async def watch(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Not the status: what is asked for beside `/mcp` is answered without a token too.
                self._note(digest, failures, isinstance(scope.get("user"), AuthenticatedUser))
            await send(message)

        await self._app(scope, receive, watch)

    def _note(self, digest: bytes, failures: Bucket, was_good: bool) -> None:
        if not was_good:
            self._good.pop(digest, None)
            return
        if digest not in self._good:
            failures.give_back()
        self._good[digest] = None
        self._good.move_to_end(digest)
        _keep_latest(self._good)

    def _failures_of(self, scope: Scope) -> Bucket:
        address = _home(scope["client"][0] if scope.get("client") else "")
        bucket = self._failures.setdefault(address, Bucket(self._limits.failures_per_minute))
        self._failures.move_to_end(address)
        _keep_latest(self._failures)
        return bucket


def _token_in(scope: Scope) -> bytes | None:
    if scope["type"] != "http":
        return None
    given: list[bytes] = [value for name, value in scope["headers"] if name == b"authorization"]
    return given[0] if given else None


def _home(address: str) -> str:
    try:
        found = ip_address(address)
    except ValueError:  # a socket of another kind
        return address
    if isinstance(found, IPv6Address):
        return str(ip_network((int(found), _IPV6_HOME), strict=False))
    return address


def _keep_latest(kept: OrderedDict[str, Bucket] | OrderedDict[bytes, None]) -> None:
    while len(kept) > _MAX_KEPT:
        kept.popitem(last=False)
