"""Turn an answer of the script into an HTTP response, in whatever wire format."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from tests.wire.script import Answer, Call, Drop, Fail, Hang, Heard, Received, Say, Stop, Turn

Json = dict[str, Any]  # the bodies of five APIs have no type in common
Endpoint = Callable[[Request], Awaitable[Response]]
EVENT_STREAM = "text/event-stream"


@dataclass(frozen=True)
class Asked:
    """What every wire format says in its own words."""

    model: str
    streamed: bool
    tools: tuple[str, ...]
    tool_results: tuple[str, ...]


@dataclass(frozen=True)
class WireFormat:
    """How one API words requests, answers and errors."""

    read: Callable[[Json, Mapping[str, str]], Asked]
    """From the body and the parameters in the path."""
    whole: Callable[[Turn, Received], Json]
    frames: Callable[[Turn, Received], Iterator[bytes]]
    """The server-sent events of the same answer."""
    error: Callable[[Fail], Json]
    error_event: Callable[[Fail], bytes]
    """The same error inside a stream."""
    retry_after_header: bool = True
    """False where the wait is told in the error's body."""


class Player(Protocol):
    """Who knows the script and keeps the record."""

    def next_number(self) -> int: ...

    def answer(self, received: Received) -> Answer: ...


class Cut(Response):
    """Send the chunks, then close the connection before the body is complete."""

    def __init__(self, chunks: Iterable[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(headers=headers)
        self.chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive  # uvicorn closes the connection because the last chunk never comes
        headers = [pair for pair in self.raw_headers if pair != (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for chunk in self.chunks:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})


def event(payload: Mapping[str, Any] | str, name: str | None = None) -> bytes:
    """Encode one server-sent event."""
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return (f"event: {name}\n" if name else "").encode() + f"data: {text}\n\n".encode()


def endpoint(wire_format: WireFormat, player: Player) -> Endpoint:
    """Make the handler that answers requests of one format from the script."""

    async def handle(request: Request) -> Response:
        received = await _receive(request, wire_format, player)
        match player.answer(received):
            case Hang():
                return await _hang(request)
            case Fail() as fail:
                return _fail(fail, wire_format, received)
            case Drop(text):
                return _drop(Turn((Say(text),)), wire_format, received)
            case Stop(text):
                return _stop(Turn((Say(text),)), wire_format, received)
            case Heard() as heard:
                return _heard(heard)
            case Turn() as turn:
                return _play(turn, wire_format, received)
            case Say() | Call() as part:
                return _play(Turn((part,)), wire_format, received)

    return handle


def credential(headers: Mapping[str, str]) -> str | None:
    """Return the key or token a request carries, in whichever header its provider wants it."""
    bearer = headers.get("authorization", "").removeprefix("Bearer ")
    return bearer or headers.get("x-api-key") or headers.get("x-goog-api-key")


async def _receive(request: Request, wire_format: WireFormat, player: Player) -> Received:
    body: Json = await request.json()
    asked = wire_format.read(body, request.path_params)
    return Received(
        number=player.next_number(),
        path=request.url.path,
        headers=dict(request.headers),
        body=body,
        key=credential(request.headers),
        port=request.client.port if request.client else 0,
        model=asked.model,
        streamed=asked.streamed,
        tools=asked.tools,
        tool_results=asked.tool_results,
    )


def _play(turn: Turn, wire_format: WireFormat, received: Received) -> Response:
    if not received.streamed:
        return JSONResponse(wire_format.whole(turn, received))
    frames = _one_by_one(wire_format.frames(turn, received))
    return StreamingResponse(frames, media_type=EVENT_STREAM)


def _half(turn: Turn, wire_format: WireFormat, received: Received) -> list[bytes]:
    frames = list(wire_format.frames(turn, received))
    return frames[: len(frames) // 2]


async def _one_by_one(frames: Iterable[bytes]) -> AsyncIterator[bytes]:
    for frame in frames:
        yield frame


def _drop(turn: Turn, wire_format: WireFormat, received: Received) -> Response:
    if received.streamed:
        return Cut(_half(turn, wire_format, received), {"content-type": EVENT_STREAM})
    whole = json.dumps(wire_format.whole(turn, received)).encode()
    headers = {"content-type": "application/json", "content-length": str(len(whole))}
    return Cut([whole[: len(whole) // 2]], headers)


def _stop(turn: Turn, wire_format: WireFormat, received: Received) -> Response:
    if received.streamed:
        frames = _one_by_one(_half(turn, wire_format, received))
        return StreamingResponse(frames, media_type=EVENT_STREAM)
    whole = json.dumps(wire_format.whole(turn, received))
    return Response(whole[: len(whole) // 2], media_type="application/json")


def _heard(heard: Heard) -> Response:
    kind = EVENT_STREAM if heard.body.startswith(b"data:") else "application/json"
    return Response(heard.body, heard.status, media_type=kind)


def _fail(fail: Fail, wire_format: WireFormat, received: Received) -> Response:
    if fail.after is not None and received.streamed:
        begun = _half(Turn((Say(fail.after),)), wire_format, received)
        frames = _one_by_one([*begun, wire_format.error_event(fail)])
        return StreamingResponse(frames, media_type=EVENT_STREAM)
    headers = {} if fail.client_retries else {"x-should-retry": "false"}
    if isinstance(fail.retry_after, str):
        headers["retry-after"] = fail.retry_after
    elif fail.retry_after is not None and wire_format.retry_after_header:
        headers["retry-after"] = f"{fail.retry_after:g}"
    return JSONResponse(wire_format.error(fail), status_code=fail.status, headers=headers)


async def _hang(request: Request) -> Response:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    return Response(status_code=499)  # nobody is left to read it
