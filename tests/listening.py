"""A server of ours over HTTP, in a process of its own or in this one, and its clients."""

import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Literal

import anyio
import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.http.app import Access
from mcp_server.http.connections import BoundedProtocol
from mcp_server.http.limits import HttpLimits
from mcp_server.http.oauth import Issuer
from mcp_server.http.serving import open_app
from mcp_server.http.tokens import StaticTokens, add_token
from mcp_server.ports import Offers

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")
ACCEPT = {"Accept": "application/json, text/event-stream"}
INITIALIZE: dict[str, Any] = {  # JSON
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}
FILES_ALONE = (sys.executable, "-m", "mcp_server")
WITH_AGENTS = (
    sys.executable,
    "-c",
    "import sys; from orchestrator.cli import main; sys.argv[0] = 'workyard'; main()",
    "serve",
)
_START_S = 30


@contextmanager
def listening(
    program: Sequence[str], root: Path, *flags: str, env: Mapping[str, str] | None = None
) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """Serve `root` on a free port of loopback; yield the address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*program, "--root", str(root), "--http", f"127.0.0.1:{port}", *flags]
    with subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stderr=subprocess.PIPE
    ) as process:
        try:
            _wait_for(port, process)
            yield f"{'https' if '--tls-cert' in flags else 'http'}://127.0.0.1:{port}/mcp", process
        finally:
            process.kill()


@asynccontextmanager
async def listening_here(
    root: Path,
    *,
    trusts: Path | Issuer | None = None,
    grant: Grant | None = None,
    limits: HttpLimits = HttpLimits(),  # noqa: B008 - frozen
    offers: Offers = Offers(),  # noqa: B008 - frozen
) -> AsyncIterator[str]:
    """Serve `root` on loopback from this process, as `serve_http` does; yield the address.

    Tokens are those of the file, or the issuer, that it `trusts`; if there is none, nobody is asked
    for one.
    """
    access = Access(
        hosts=("127.0.0.1:*",),
        origins=("http://127.0.0.1:*",),
        tokens=StaticTokens(trusts, root) if isinstance(trusts, Path) else None,
        issuer=trusts if isinstance(trusts, Issuer) else None,
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        async with (
            Workspace.open(root, grant or Grant.full()) as workspace,
            open_app(workspace, offers, access, limits) as app,
            anyio.create_task_group() as tasks,
        ):
            config = uvicorn.Config(
                app, http=BoundedProtocol, ws="none", log_config=None, timeout_graceful_shutdown=1
            )
            server = _Server(config)
            tasks.start_soon(server.serve, [listener])
            while not server.started:
                await anyio.sleep(0.01)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # they are pytest's
        yield


def port_of(url: str) -> int:
    """Return the port of an address."""
    port = httpx2.URL(url).port
    assert port is not None
    return port


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


def tokens_for(file: Path, **scopes: Sequence[str]) -> dict[str, str]:
    """Return a token for each name, after their hashes have been put into `file`."""
    return {name: add_token(file, name, opened, days=1) for name, opened in scopes.items()}


@asynccontextmanager
async def connected(url: str, token: str, mode: Era = "auto") -> AsyncIterator[Client]:
    """Connect a client that shows `token`."""
    async with (
        httpx2.AsyncClient(headers=bearer(token), timeout=60) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode) as client,
    ):
        yield client


def _wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    deadline = monotonic() + _START_S
    while monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            sleep(0.02)
    process.kill()
    raise AssertionError(process.communicate()[1].decode())
