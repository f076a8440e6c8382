"""A real server on loopback: who gets in, how far, and what it survives."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import cast

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import RequestParamsMeta

from mcp_server.fence.grant import Grant
from mcp_server.http.limits import HttpLimits
from mcp_server.http.tokens import add_token
from tests.listening import (
    ACCEPT,
    ERAS,
    FILES_ALONE,
    INITIALIZE,
    Era,
    bearer,
    connected,
    listening,
    listening_here,
    port_of,
    tokens_for,
)
from tests.mcp_server.conftest import Yard

pytestmark = pytest.mark.anyio


def served(
    yard: Yard, *flags: str
) -> AbstractContextManager[tuple[str, "subprocess.Popen[bytes]"]]:
    """Run the server on a free port; yield its address and the process."""
    state = {"WORKYARD_STATE_DIR": str(yard.outside / "state")}
    return listening(FILES_ALONE, yard.root, *flags, env=state)


@pytest.mark.parametrize("mode", ERAS)
async def test_each_era_calls_tools_within_the_scope_of_its_token(
    yard: Yard, tmp_path: Path, mode: Era
) -> None:
    tokens = tmp_path / "tokens"
    reader = add_token(tokens, "reader", ["files:read"], days=1)
    writer = add_token(tokens, "writer", ["files:write"], days=1)
    assert reader not in tokens.read_text()
    async with listening_here(yard.root, trusts=tokens) as url:
        names = {}
        for token in (reader, writer):
            async with connected(url, token, mode) as client:
                names[token] = {tool.name for tool in (await client.list_tools()).tools}
                read = await client.call_tool("read_file", {"path": "src/app.py"})
                assert "def main" in str(read.content)
        assert "write_file" not in names[reader]
        assert "write_file" in names[writer]


@pytest.mark.parametrize("mode", ERAS)
async def test_two_callers_with_the_same_key_do_not_meet(
    yard: Yard, tmp_path: Path, mode: Era
) -> None:
    tokens = tmp_path / "tokens"
    with_tokens = [add_token(tokens, name, ["files:write"], days=1) for name in ("a", "b")]
    async with listening_here(yard.root, trusts=tokens) as url:
        for number, token in enumerate(with_tokens):
            async with connected(url, token, mode) as client:
                arguments = {"path": f"{number}.txt", "content": "x"}
                meta = cast("RequestParamsMeta", {"workyard/key": "same"})
                done = await client.call_tool("write_file", arguments, meta=meta)
                assert not done.is_error, done
    assert (yard.root / "0.txt").exists()
    assert (yard.root / "1.txt").exists()


async def test_no_token_a_wrong_one_and_a_revoked_one_get_401(yard: Yard, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    token = add_token(tokens, "a", ["files:read"], days=1)
    with served(yard, "--token-file", str(tokens)) as (url, process):
        async with httpx2.AsyncClient(headers=ACCEPT) as http:
            for given in ({}, {"Authorization": "Bearer wy_wrong"}, {"Authorization": "Basic x"}):
                answer = await http.post(url, json=INITIALIZE, headers=given)
                assert answer.status_code == 401
                assert "Bearer" in answer.headers["www-authenticate"]
            good = bearer(token)
            assert (await http.post(url, json=INITIALIZE, headers=good)).status_code == 200
            tokens.write_text("")
            assert (await http.post(url, json=INITIALIZE, headers=good)).status_code == 401
        process.kill()
        assert token.encode() not in process.communicate()[1]


async def test_another_host_or_origin_is_refused(yard: Yard) -> None:
    async with listening_here(yard.root) as url, httpx2.AsyncClient(headers=ACCEPT) as http:
        for header, status in (("Host", 421), ("Origin", 403)):
            given = {header: "http://evil.example" if status == 403 else "evil.example"}
            answer = await http.post(url, json=INITIALIZE, headers=given)
            assert answer.status_code == status


async def test_over_the_rate_gets_429_and_when_to_come_again(yard: Yard) -> None:
    async with listening_here(yard.root, limits=HttpLimits(per_minute=2)) as url:
        async with httpx2.AsyncClient(headers=ACCEPT) as http:
            answers = [await http.post(url, json=INITIALIZE) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert int(answers[2].headers["retry-after"]) > 0


async def test_hostile_requests_leave_a_server_that_serves_the_next(yard: Yard) -> None:
    with served(yard) as (url, process):
        json_ = {"Content-Type": "application/json"}
        forged = {**json_, "Mcp-Session-Id": "f" * 32}
        strange = {**json_, "MCP-Protocol-Version": "1999-01-01"}
        bodies: list[tuple[bytes, dict[str, str]]] = [
            (b"x" * (5 * 1024 * 1024), json_),
            (b"not json", json_),
            (b"[" * 100_000, json_),
            (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', json_),
            (json.dumps(INITIALIZE).encode(), forged),
            (json.dumps(INITIALIZE).encode(), strange),
        ]
        async with httpx2.AsyncClient(headers=ACCEPT) as http:
            for body, headers in bodies:
                answer = await http.post(url, content=body, headers=headers)
                assert 400 <= answer.status_code < 500, (body[:40], answer.text)
        port = port_of(url)
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
        for _, half in opened:
            half.write(b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Le")
        async with Client(streamable_http_client(url)) as client:
            assert (await client.list_tools()).tools
        for _, half in opened:
            half.transport.abort()
        assert process.poll() is None


def test_a_signal_ends_it_with_the_exit_code_of_stdio(yard: Yard) -> None:
    with served(yard) as (_, process):
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 128 + signal.SIGTERM


def test_beyond_localhost_it_does_not_start_without_authentication(yard: Yard) -> None:
    command = [sys.executable, "-m", "mcp_server", "--root", str(yard.root)]
    done = subprocess.run(
        [*command, "--http", "0.0.0.0:0"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "--token-file" in done.stderr


async def test_a_token_without_a_scope_of_ours_gets_403(yard: Yard, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    token = add_token(tokens, "a", ["agents:run"], days=1)
    async with (
        listening_here(yard.root, trusts=tokens) as url,
        httpx2.AsyncClient(headers={**ACCEPT, **bearer(token)}) as http,
    ):
        answer = await http.post(url, json=INITIALIZE)
    assert answer.status_code == 403
    assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_a_session_of_one_token_is_not_there_for_another(yard: Yard, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    one, other = (add_token(tokens, name, ["files:write"], days=1) for name in ("a", "b"))
    async with (
        listening_here(yard.root, trusts=tokens) as url,
        httpx2.AsyncClient(headers=ACCEPT) as http,
    ):
        mine = bearer(one)
        opened = await http.post(url, json=INITIALIZE, headers=mine)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        theirs = bearer(other)
        answers = [await http.post(url, json=ping, headers=h | session) for h in (mine, theirs)]
    assert [answer.status_code for answer in answers] == [200, 404]


async def test_the_metadata_names_the_issuer_to_those_without_a_token(yard: Yard) -> None:
    resource = "https://yard.example/mcp"
    oauth = ("--issuer", "https://as.example", "--jwks-url", "https://as.example/keys")
    with served(yard, *oauth, "--resource", resource) as (url, _):
        async with httpx2.AsyncClient(headers=ACCEPT) as http:
            refused = await http.post(url, json=INITIALIZE)
            where = url.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp"
            metadata = (await http.get(where)).json()
    assert "/.well-known/oauth-protected-resource/mcp" in refused.headers["www-authenticate"]
    assert metadata["resource"] == resource
    assert metadata["authorization_servers"] == ["https://as.example/"]


async def test_calls_of_one_caller_are_not_taken_from_another(yard: Yard, tmp_path: Path) -> None:
    """Nor does a caller get them back with a new session."""
    tokens = tmp_path / "tokens"
    names = tokens_for(tokens, a=["files:read"], b=["files:read"])
    values = {"tools": ["read_file"], "read": ["**"], "limits": {"calls": 2}}
    grant = Grant.from_values(values)
    async with listening_here(yard.root, trusts=tokens, grant=grant) as url:
        answers: list[bool] = []
        for name in ("a", "a", "a", "b"):
            async with connected(url, names[name], "legacy") as client:
                answer = await client.call_tool("read_file", {"path": "src/app.py"})
                answers.append(answer.is_error is True)
    assert answers == [False, False, True, False]


async def test_wrong_tokens_of_one_address_are_refused_unseen_after_a_while(
    yard: Yard, tmp_path: Path
) -> None:
    """Those that were good before are still good: others may share their address."""
    tokens = tmp_path / "tokens"
    limits = HttpLimits(failures_per_minute=3)
    known, other = tokens_for(tokens, known=["files:read"], other=["files:read"]).values()
    async with (
        listening_here(yard.root, trusts=tokens, limits=limits) as url,
        httpx2.AsyncClient(headers=ACCEPT) as http,
    ):

        async def shown(token: str, path: str = url) -> httpx2.Response:
            return await http.post(path, json=INITIALIZE, headers=bearer(token))

        assert (await shown(known)).status_code == 200
        elsewhere = url.removesuffix("/mcp") + "/elsewhere"  # looks at the token all the same
        wrong = [await shown("wy_0", elsewhere)]
        wrong += [await shown(f"wy_{number}") for number in range(3)]
        again, unseen = await shown(known), await shown(other)
        without = await http.post(url, json=INITIALIZE)
    assert [answer.status_code for answer in wrong] == [404, 401, 401, 429]
    assert int(wrong[-1].headers["retry-after"]) > 0
    assert (again.status_code, unseen.status_code, without.status_code) == (200, 429, 401)


async def test_servers_of_idle_callers_make_room_and_their_calls_stay_counted(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.http.servers.MAX_SERVERS", 1)
    tokens = tmp_path / "tokens"
    held = tokens_for(tokens, a=["files:read"], b=["files:read"])
    values = {"tools": ["read_file"], "read": ["**"], "limits": {"calls": 2}}
    grant = Grant.from_values(values)
    async with listening_here(yard.root, trusts=tokens, grant=grant) as url:
        answers: list[bool] = []
        for name in ("a", "b", "a", "b", "a"):
            async with connected(url, held[name]) as client:
                answer = await client.call_tool("read_file", {"path": "src/app.py"})
                answers.append(answer.is_error is True)
    assert answers == [False] * 4 + [True]


async def test_caller_is_told_to_come_again_while_nobody_can_make_room(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_server.http.servers.MAX_SERVERS", 1)
    tokens = tmp_path / "tokens"
    one, other = tokens_for(tokens, a=["files:read"], b=["files:read"]).values()
    async with (
        listening_here(yard.root, trusts=tokens) as url,
        httpx2.AsyncClient(headers=ACCEPT) as http,
    ):
        opened = await http.post(url, json=INITIALIZE, headers=bearer(one))
        session = bearer(one) | {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        async with http.stream("GET", url, headers=session) as listening_to:
            assert listening_to.status_code == 200
            refused = await http.post(url, json=INITIALIZE, headers=bearer(other))
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        with anyio.fail_after(20):
            while (await http.post(url, json=INITIALIZE, headers=bearer(other))).is_error:
                await anyio.sleep(0.02)  # until it is known that the stream has ended
        gone = await http.post(url, json=ping, headers=session)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert gone.status_code == 404
