"""The local server itself: what is recorded, how it ends, and the bytes on the wire."""

import subprocess
import sys
import threading

import anyio
import httpx2
import pytest

from tests.wire.conftest import Served
from tests.wire.script import Call, Drop, Hang, Received, Say, always
from tests.wire.server import DEADLINE_S, Wire, serve, serving

QUESTION = {"model": "pretend", "messages": [{"role": "user", "content": "hello"}]}
CHAT = "/v1/chat/completions"


async def test_requests_are_recorded_as_they_came(served: Served) -> None:
    wire = served.play([Say("One."), Say("Two.")])
    headers = {"Authorization": "Bearer secret", "X-Mine": "yes"}

    async with httpx2.AsyncClient(base_url=served.base_url) as client:
        for _ in range(2):
            await client.post(CHAT, json=QUESTION, headers=headers)

    assert [request.number for request in wire.requests] == [1, 2]
    request = wire.requests[0]
    assert [request.path, request.body, request.key] == [CHAT, QUESTION, "secret"]
    assert request.headers["x-mine"] == "yes"


async def test_stream_ends_with_usage_only_when_asked(served: Served) -> None:
    """OpenAI counts no tokens in a stream unless `stream_options` say so."""
    served.play(always(Say("Once upon a time")))
    asked = {"stream_options": {"include_usage": True}}

    async with httpx2.AsyncClient(base_url=served.base_url) as client:
        plain = (await client.post(CHAT, json={**QUESTION, "stream": True})).text
        counted = (await client.post(CHAT, json={**QUESTION, "stream": True, **asked})).text

    assert plain.endswith("data: [DONE]\n\n")
    assert '"usage"' not in plain
    assert '"usage"' in counted.split("data: ")[-2]


async def test_call_ids_differ_between_turns(served: Served) -> None:
    served.play(always(Call("add")))

    async with httpx2.AsyncClient(base_url=served.base_url) as client:
        answers = [(await client.post(CHAT, json=QUESTION)).json() for _ in range(2)]

    ids = [answer["choices"][0]["message"]["tool_calls"][0]["id"] for answer in answers]
    assert ids == ["call_1_0", "call_2_0"]


async def test_models_are_listed() -> None:
    wire = Wire([], models=["llama3", "qwen3"])

    async with serve(wire) as base_url, httpx2.AsyncClient(base_url=base_url) as client:
        listed = (await client.get("/v1/models")).json()

    assert [model["id"] for model in listed["data"]] == ["llama3", "qwen3"]
    assert wire.requests == []


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_dropped_answer_has_begun(served: Served, *, streamed: bool) -> None:
    served.play([Drop("Once upon a time")])
    chunks: list[bytes] = []

    async def read(client: httpx2.AsyncClient) -> None:
        body = {**QUESTION, "stream": streamed}
        async with client.stream("POST", CHAT, json=body) as response:
            assert response.status_code == 200
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)

    async with httpx2.AsyncClient(base_url=served.base_url) as client:
        with pytest.raises(httpx2.RemoteProtocolError):
            await read(client)

    assert chunks


async def test_server_closes_while_a_client_waits() -> None:
    asked = threading.Event()
    errors: list[type[Exception]] = []

    def hang(received: Received) -> Hang:
        asked.set()
        return Hang()

    async def wait_for_an_answer(base_url: str) -> None:
        async with httpx2.AsyncClient(base_url=base_url, timeout=None) as client:
            with pytest.raises(httpx2.HTTPError) as caught:
                await client.post(CHAT, json=QUESTION)
            errors.append(type(caught.value))

    with anyio.move_on_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks, serve(Wire(hang)) as base_url:
            tasks.start_soon(wait_for_an_answer, base_url)
            await anyio.to_thread.run_sync(asked.wait, DEADLINE_S)

    assert errors == [httpx2.RemoteProtocolError]


async def test_client_may_leave_a_hanging_request(served: Served) -> None:
    served.play([Hang(), Say("still here")])

    async with httpx2.AsyncClient(base_url=served.base_url) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(CHAT, json=QUESTION, timeout=0.05)
        answer = await client.post(CHAT, json=QUESTION)

    assert answer.status_code == 200


def test_blocked_test_still_gets_its_answers() -> None:
    """A test may sit in `subprocess.run`; the server has a thread of its own."""
    program = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], data=sys.argv[2].encode())
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
"""
    body = '{"model": "pretend", "messages": []}'
    with serving(Wire([Say("hello")])) as base_url:
        command = [sys.executable, "-c", program, base_url + CHAT, body]
        told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    assert told.stdout == "hello\n"


def test_nothing_is_left_running() -> None:
    before = threading.active_count()

    with serving(Wire([])) as base_url:
        assert threading.active_count() == before + 1

    assert threading.active_count() == before
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(base_url)
