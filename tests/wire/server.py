"""A real HTTP server on 127.0.0.1 that plays one script in the wire format of every provider."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from tests.wire import anthropic_messages, gemini, openai_chat, openai_responses
from tests.wire.script import Answer, Fail, Received, Script

DEADLINE_S = 10
"""For the server to start and to stop; both take some 0.1 s."""


class Wire:
    """One pretend model: the script it plays, the requests it got, the routes it answers on."""

    def __init__(self, script: Script, *, models: Sequence[str] = ("pretend",)) -> None:
        self.script = script
        self.models = tuple(models)
        self.requests: list[Received] = []
        openai = [*openai_chat.routes(self, self.models), *openai_responses.routes(self)]
        anthropic, google = anthropic_messages.routes(self), gemini.routes(self)
        gateway = [
            Mount("/openai", routes=[_without_version(route) for route in openai]),
            Mount("/anthropic", routes=anthropic),
            Mount("/google-vertex", routes=google),
        ]
        routes = [*openai, *anthropic, *google, Mount("/gateway", routes=gateway)]
        self.app = Starlette(routes=routes)

    def next_number(self) -> int:
        return len(self.requests) + 1

    def answer(self, received: Received) -> Answer:
        """Record the request and say what comes next; 418 when the script is at its end."""
        self.requests.append(received)
        if not isinstance(self.script, Sequence):
            return self.script(received)
        if received.number > len(self.script):
            told = f"The script has {len(self.script)} answers; this is request {received.number}."
            return Fail(418, told)
        return self.script[received.number - 1]


def _without_version(route: Route) -> Route:
    return Route(route.path.removeprefix("/v1"), route.endpoint, methods=list(route.methods or ()))


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready, and that closes while clients are still connected."""

    def __init__(self, app: Starlette) -> None:
        config = uvicorn.Config(
            app, http="h11", ws="none", lifespan="off", log_config=None, log_level=None
        )
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await super().shutdown(sockets)


def _listen() -> socket.socket:
    # asyncio sets TCP_NODELAY only where the protocol is named, which `socket.create_server` does
    # not do; without it every answer on a connection in use takes 40 ms more.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


@contextmanager
def serving(wire: Wire) -> Iterator[str]:
    """Serve `wire` from a thread; yield its base URL, such as `http://127.0.0.1:40123`.

    A thread, so that a test may block in `subprocess.run` or a `CliRunner` meanwhile.
    """
    server = _Server(wire.app)
    with _listen() as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=server.run, args=([listener],), name="wire", daemon=True)
        thread.start()
        try:
            assert server.ready.wait(DEADLINE_S), f"no server after {DEADLINE_S} s"
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(DEADLINE_S)
            assert not thread.is_alive(), f"the server still runs after {DEADLINE_S} s"


@asynccontextmanager
async def serve(wire: Wire) -> AsyncIterator[str]:
    """Serve `wire` like `serving`, without blocking the event loop while it starts and stops."""
    server = serving(wire)
    base_url = await anyio.to_thread.run_sync(server.__enter__)
    try:
        yield base_url
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(server.__exit__, None, None, None)
