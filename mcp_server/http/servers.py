"""One MCP server for each holder of a token: what one does is nothing to another."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.abc
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from mcp_server.http.holders import Holder, holder_in
from mcp_server.http.scopes import FILES_READ, FILES_WRITE

MAX_SERVERS = 1000
"""Who comes when there are as many takes the place of who has been idle longest."""
_RETRY_S = 5


@dataclass(slots=True)
class _Served:
    manager: StreamableHTTPSessionManager
    leaving: anyio.Event = field(default_factory=anyio.Event)
    requests: int = 0
    """Those under way."""


class Servers:
    """An ASGI application, behind the authentication: each request goes to its holder's server."""

    def __init__(self, serve: Callable[[Holder], StreamableHTTPSessionManager]) -> None:
        """Serve each holder by what `serve` makes for it, at its first request."""
        self._serve = serve
        self._served: OrderedDict[Holder, _Served] = OrderedDict()
        self._starting = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Be ready for requests meanwhile."""
        async with anyio.create_task_group() as self._tasks:
            yield
            self._tasks.cancel_scope.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, if its token opens anything."""
        holder = holder_in(scope)
        if not holder.scopes & {FILES_READ, FILES_WRITE}:
            await _insufficient()(scope, receive, send)
            return
        async with self._starting:
            served = self._served.get(holder) or await self._start(holder)
            if served is not None:
                self._served.move_to_end(holder)
                served.requests += 1
        if served is None:
            busy = {"error": "Too many callers are being served; try again soon."}
            answer = JSONResponse(busy, 503, {"Retry-After": str(_RETRY_S)})
            await answer(scope, receive, send)
            return
        try:
            await served.manager.handle_request(scope, receive, send)
        finally:
            served.requests -= 1

    async def _start(self, holder: Holder) -> _Served | None:
        if len(self._served) >= MAX_SERVERS and not self._one_has_left():
            return None
        assert self._tasks is not None, "requests come while it runs"
        served = _Served(self._serve(holder))
        await self._tasks.start(_hold, served)
        self._served[holder] = served
        return served

    def _one_has_left(self) -> bool:
        """End the server that nobody has asked for longest; its sessions are gone with it."""
        idle = next((holder for holder, each in self._served.items() if not each.requests), None)
        if idle is None:
            return False
        self._served.pop(idle).leaving.set()
        return True


async def _hold(served: _Served, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    async with served.manager.run():
        task_status.started()
        await served.leaving.wait()


def _insufficient() -> JSONResponse:
    # An agent works within what its caller may do with files: without that, it could do nothing.
    said = f"Needs {FILES_READ} or {FILES_WRITE}, also to run agents."
    headers = {"WWW-Authenticate": f'Bearer error="insufficient_scope", scope="{FILES_READ}"'}
    return JSONResponse({"error": "insufficient_scope", "error_description": said}, 403, headers)
