"""What a hostile client sends over HTTP, and what becomes of everybody else meanwhile."""

import json
import resource
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_server.fence.grant import Grant
from mcp_server.http.connections import BoundedProtocol
from mcp_server.http.limits import HttpLimits
from tests.listening import (
    ACCEPT,
    FILES_ALONE,
    bearer,
    connected,
    listening,
    listening_here,
    port_of,
    tokens_for,
)
from tests.mcp_server.conftest import Yard

pytestmark = pytest.mark.anyio
MODERN = {**ACCEPT, "MCP-Protocol-Version": "2026-07-28"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "probe", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
READ_APP = {"name": "read_file", "arguments": {"path": "src/app.py"}}
WRITE_APP = {"name": "write_file", "arguments": {"path": "src/app.py", "content": "x"}}


def request(method: str, **params: Any) -> dict[str, Any]:  # JSON
    """Return a request of 2026-07-28."""
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": method,
        "params": {**params, "_meta": ENVELOPE},
    }


def named(method: str, name: str | None = None) -> dict[str, str]:
    """Return the headers that say what a request asks for."""
    return {**MODERN, "Mcp-Method": method, **({"Mcp-Name": name} if name else {})}


async def test_headers_that_say_something_else_than_the_body_are_refused(yard: Yard) -> None:
    """Who stands in between may go by them: a proxy that lets `read_file` pass, say."""
    write = request("tools/call", **WRITE_APP)
    forged = [
        named("tools/list"),
        named("tools/call", "read_file"),
        {**MODERN, "Mcp-Name": "write_file"},
        {**ACCEPT, "MCP-Protocol-Version": "2099-01-01", "Mcp-Method": "tools/call"},
    ]
    app = yard.root / "src/app.py"
    before = app.read_text()
    async with listening_here(yard.root) as url, httpx2.AsyncClient() as http:
        refused = [await http.post(url, json=write, headers=headers) for headers in forged]
        assert app.read_text() == before
        honest = await http.post(url, json=write, headers=named("tools/call", "write_file"))
    assert [answer.status_code for answer in refused] == [400] * 4
    assert all("error" in answer.json() for answer in refused)
    assert honest.status_code == 200
    assert app.read_text() == "x"


async def test_forged_session_or_request_state_opens_nothing(yard: Yard, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    (token,) = tokens_for(tokens, reader=["files:read"]).values()
    states = ["forged", "e30.e30.", json.dumps({"user": "admin", "scopes": ["files:write"]})]
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    async with (
        listening_here(yard.root, trusts=tokens) as url,
        httpx2.AsyncClient(headers=bearer(token)) as http,
    ):
        for session in ("f" * 32, "../../x", "\x7f" * 5000):
            answer = await http.post(url, json=ping, headers=ACCEPT | {"Mcp-Session-Id": session})
            assert answer.status_code in (400, 404), session[:40]
        for state in states:
            write = request("tools/call", **WRITE_APP, requestState=state)
            answer = await http.post(url, json=write, headers=named("tools/call", "write_file"))
            assert "'write_file' is not granted here" in answer.text
    assert (yard.root / "src/app.py").read_text() != "x"


async def test_who_sends_a_body_piece_by_piece_keeps_nobody_else_waiting(
    yard: Yard, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    slow, other = tokens_for(tokens, slow=["files:read"], other=["files:read"]).values()
    limits = HttpLimits(at_once_each=3)
    async with (
        listening_here(yard.root, trusts=tokens, limits=limits) as url,
        httpx2.AsyncClient(headers=named("tools/list") | bearer(slow)) as http,
    ):

        async def status() -> int:
            return (await http.post(url, json=request("tools/list"))).status_code

        with anyio.fail_after(20):
            with ExitStack() as opened:
                while await status() == 200:  # until all of the caller's places are taken
                    opened.enter_context(_begun(port_of(url), slow))
                async with connected(url, other) as client:
                    read = await client.call_tool("read_file", {"path": "src/app.py"})
            while await status() == 429:  # until it is known that they have gone
                await anyio.sleep(0.01)
        assert await status() == 200
    assert not read.is_error


async def test_body_that_does_not_come_is_not_waited_for(
    yard: Yard, caplog: pytest.LogCaptureFixture
) -> None:
    limits = HttpLimits(wait_s=0.2)
    async with listening_here(yard.root, limits=limits) as url:
        with _begun(port_of(url), "none") as client, anyio.fail_after(20):
            answer = await anyio.to_thread.run_sync(client.recv, 1000)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert "Traceback" not in caplog.text


async def test_who_does_not_read_the_answer_is_dropped_and_keeps_nobody_waiting(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.http.connections.IDLE_S", 1)
    dropped: set[int] = set()

    class Watched(BoundedProtocol):
        def connection_lost(self, exc: Exception | None) -> None:
            assert self.client is not None
            dropped.add(self.client[1])
            super().connection_lost(exc)

    monkeypatch.setattr("tests.listening.BoundedProtocol", Watched)
    size = 8_000_000  # more than the system keeps for who does not read
    (yard.root / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n".ljust(size, b"\0"))
    grant = Grant.from_values(
        {"tools": ["read_file"], "read": ["**"], "limits": {"media_bytes": size}}
    )
    async with listening_here(yard.root, grant=grant) as url:
        with ExitStack() as opened, anyio.fail_after(20):
            readers = [opened.enter_context(_unread(port_of(url))) for _ in range(3)]
            async with connected(url, "none") as client:
                assert not (await client.call_tool("read_file", {"path": "src/app.py"})).is_error
            while not {reader.getsockname()[1] for reader in readers} <= dropped:
                await anyio.sleep(0.02)
            for reader in readers:
                got = await anyio.to_thread.run_sync(_read_to_the_end, reader)
                assert 0 < got < size


def _read_to_the_end(client: socket.socket) -> int:
    got = 0
    with suppress(ConnectionResetError):
        while piece := client.recv(1_000_000):
            got += len(piece)
    return got


def _begun(port: int, token: str) -> socket.socket:
    """Send a request whose body is not all there."""
    return _sent(port, _head(port, token, 1000) + b'{"jsonrpc"')


def _unread(port: int) -> socket.socket:
    """Ask for more than the system keeps for a reader, and read nothing."""
    body = json.dumps(request("tools/call", name="read_file", arguments={"path": "large.png"}))
    return _sent(port, _head(port, "none", len(body)) + body.encode())


def _sent(port: int, content: bytes) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
    client.connect(("127.0.0.1", port))
    client.sendall(content)
    return client


def _head(port: int, token: str, length: int) -> bytes:
    headers = {
        **named("tools/call", "read_file"),
        **bearer(token),
        "Host": f"127.0.0.1:{port}",
        "Content-Type": "application/json",
        "Content-Length": str(length),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode()


async def test_thousand_connections_that_say_nothing_keep_nobody_waiting(yard: Yard) -> None:
    with ExitStack() as opened, _files_at_once(4000), listening(FILES_ALONE, yard.root) as (url, _):
        for number in range(1000):
            idle = opened.enter_context(socket.create_connection(("127.0.0.1", port_of(url))))
            if number % 2:
                idle.sendall(b"POST /mcp HTTP/1.1\r\nHost: 127")
        with anyio.fail_after(20):
            async with connected(url, "none", "legacy") as client:
                read = await client.call_tool("read_file", {"path": "src/app.py"})
    assert not read.is_error


@contextmanager
def _files_at_once(count: int) -> Iterator[None]:
    """Let this process and its children have so many open files, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(count, hard), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
