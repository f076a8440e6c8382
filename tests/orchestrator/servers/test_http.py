"""Servers at an address: reached with the operator's headers, and bounded as those of a command."""

import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any  # what JSON holds

import anyio
import anyio.lowlevel
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from orchestrator.bootstrap import Orchestrator
from orchestrator.errors import ServerUnavailableError
from orchestrator.servers.address import AddressTransport
from tests.listening import listening_here, tokens_for
from tests.orchestrator.by_hand import rows
from tests.orchestrator.servers.conftest import KEY, Desks, call, uses
from tests.orchestrator.servers.test_runs import returned
from tests.orchestrator.test_teams import team_of

TOKEN = {"Authorization": "Bearer ${DESK_KEY}"}
Answering = Callable[[Request, int], Response]


@asynccontextmanager
async def desk_at(called: Answering) -> AsyncIterator[str]:
    """Serve MCP by hand: calls are answered by `called`, which gets the request and its id."""

    async def answer(request: Request) -> Response:
        asked = await request.json()
        known: dict[str, Any] = {
            "initialize": {
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "desk", "version": "1"},
            },
            "tools/list": {"tools": [{"name": "search", "inputSchema": {"type": "object"}}]},
        }
        if "id" not in asked:
            return Response(status_code=202)
        if asked["method"] == "tools/call":
            return called(request, asked["id"])
        if asked["method"] in known:
            return reply(asked["id"], known[asked["method"]])
        error = {"code": -32601, "message": "There is no such method."}
        return JSONResponse({"jsonrpc": "2.0", "id": asked["id"], "error": error})

    app = Starlette(routes=[Route("/mcp", answer, methods=["POST"])])
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = _Server(uvicorn.Config(app, log_config=None, lifespan="off", ws="none"))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
            finally:
                server.should_exit = server.force_exit = True


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:  # they are pytest's
        yield


def reply(number: int, result: dict[str, Any]) -> Response:
    return JSONResponse({"jsonrpc": "2.0", "id": number, "result": result})


def text(number: int, said: str) -> bytes:
    result = {"content": [{"type": "text", "text": said}]}
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


async def much(piece: bytes) -> AsyncIterator[bytes]:
    for _ in range(500):
        yield piece
        await anyio.lowlevel.checkpoint()  # what is sent to nobody takes no time


async def test_server_at_an_address_is_shown_the_token_that_the_operator_names(
    yard: Orchestrator, desks: Desks, project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tokens = tokens_for(tmp_path / "tokens", clerk=["files:read"])
    monkeypatch.setenv("DESK_KEY", tokens["clerk"])
    desks.agent("clerk", uses("read_file"))
    model = team_of(clerk=[[("desk__read_file", {"path": "README.md"})], "Done."])

    async with listening_here(project, trusts=tmp_path / "tokens") as url:
        desks.enter("desk", url=url, headers=TOKEN, tools=["read_file"])
        run = await yard.run("clerk", "go", model=model)
        monkeypatch.setenv("DESK_KEY", "another")
        with pytest.raises(ServerUnavailableError, match=r"cannot be opened: .*HTTP 401"):
            await yard.run("clerk", "go", model=model)

    ((tool, outcome, content),) = await returned(yard, run.session_id)
    assert (tool, outcome) == ("desk__read_file", "success")
    assert "A till that adds prices." in content


ANSWERS: dict[str, tuple[Answering, str]] = {
    "repeats its header": (
        lambda request, number: Response(
            text(number, request.headers["authorization"]), media_type="application/json"
        ),
        "Bearer ***",
    ),
    "floods": (
        lambda request, number: StreamingResponse(
            much(b"x" * 65536), media_type="application/json"
        ),
        "the answer is longer than 4,000,000 bytes",
    ),
    "floods with events": (
        lambda request, number: StreamingResponse(
            much(b": " + b"x" * 65536 + b"\n\n"), media_type="text/event-stream"
        ),
        "MCP server 'desk' has failed",
    ),
    "packs a lot into little": (
        lambda request, number: Response(
            gzip.compress(text(number, "x" * 5_000_000)),
            headers={"content-encoding": "gzip"},
            media_type="application/json",
        ),
        "Failed to parse JSON response",
    ),
    "leads elsewhere": (
        lambda request, number: Response(
            status_code=307, headers={"location": "http://127.0.0.2:1/mcp"}
        ),
        "Redirect to http://127.0.0.2:1/mcp not followed",
    ),
    "is broken": (lambda request, number: Response(status_code=500), "it answers with HTTP 500"),
    "is a web page": (
        lambda request, number: Response("<p>", media_type="text/html"),
        "Unexpected content type: text/html",
    ),
    "repeats it in what is no MCP": (
        lambda request, number: Response(
            f'{{"no": "{request.headers["authorization"]}"}}', media_type="application/json"
        ),
        "Failed to parse JSON response",
    ),
}


@pytest.mark.parametrize("how", ANSWERS)
async def test_what_an_address_answers_is_bounded_and_told(
    yard: Orchestrator, desks: Desks, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    called, expected = ANSWERS[how]
    desks.agent("clerk", uses("search"))

    async with desk_at(called) as url:
        desks.enter("desk", url=url, headers=TOKEN)
        model = team_of(clerk=[[call("desk__search")], "Done."])
        run = await yard.run("clerk", "go", model=model)

    ((_, _, content),) = await returned(yard, run.session_id)
    assert expected in content
    assert len(content) < 1000
    for table in ("event", "message", "tool_call", "run"):
        assert KEY not in str(rows(f"SELECT * FROM {table}"))
    assert KEY not in caplog.text


async def test_address_where_nobody_listens_is_told(yard: Orchestrator, desks: Desks) -> None:
    desks.agent("clerk", uses("search"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        desks.enter("desk", url=f"http://127.0.0.1:{free.getsockname()[1]}/mcp")
        with pytest.raises(ServerUnavailableError, match="'desk' cannot be opened: Client failed"):
            await yard.run("clerk", "go", model=team_of(clerk=["Done."]))


def test_headers_are_in_no_word_about_a_transport() -> None:
    assert KEY not in repr(AddressTransport("http://x/mcp", {"Authorization": KEY}))
    assert logging.getLogger("mcp.client.streamable_http").level in (0, logging.CRITICAL)
