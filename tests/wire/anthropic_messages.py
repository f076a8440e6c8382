"""Anthropic's Messages API.

Source: https://platform.claude.com/docs/en/build-with-claude/streaming and .../en/api/errors
"""

import json
from collections.abc import Iterator, Mapping

from starlette.routing import Route

from tests.wire.endpoint import Asked, Json, Player, WireFormat, endpoint, event
from tests.wire.script import Call, Fail, Received, Say, Turn, pieces

ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def routes(player: Player) -> list[Route]:
    """Return the routes of this API."""
    messages = WireFormat(read, whole, frames, error, error_event)
    return [Route("/v1/messages", endpoint(messages, player), methods=["POST"])]


def error(fail: Fail) -> Json:
    kind = fail.code or ERROR_TYPES.get(fail.status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": fail.message}}


def error_event(fail: Fail) -> bytes:
    return event(error(fail), "error")


def read(body: Json, path: Mapping[str, str]) -> Asked:
    del path
    blocks = [
        block
        for message in body["messages"]
        if isinstance(message["content"], list)
        for block in message["content"]
    ]
    return Asked(
        model=body["model"],
        streamed=bool(body.get("stream")),
        tools=tuple(tool["name"] for tool in body.get("tools") or []),
        tool_results=tuple(
            _text(block.get("content", "")) for block in blocks if block["type"] == "tool_result"
        ),
    )


def _text(content: str | list[Json]) -> str:
    if isinstance(content, str):
        return content
    return "".join(block["text"] for block in content if block["type"] == "text")


def whole(turn: Turn, received: Received) -> Json:
    blocks = [_block(part, received, index) for index, part in enumerate(turn.parts)]
    return {**_message(turn, received), "content": blocks, "stop_reason": _why(turn)}


def frames(turn: Turn, received: Received) -> Iterator[bytes]:
    for payload in _events(turn, received):
        yield event(payload, payload["type"])


def _events(turn: Turn, received: Received) -> Iterator[Json]:
    begun = _message(turn, received)
    begun["usage"]["output_tokens"] = 1
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for index, part in enumerate(turn.parts):
        yield from _block_events(part, received, index)
    ended = {"stop_reason": _why(turn), "stop_sequence": None}
    usage = {"output_tokens": turn.output_tokens}
    yield {"type": "message_delta", "delta": ended, "usage": usage}
    yield {"type": "message_stop"}


def _block_events(part: Say | Call, received: Received, index: int) -> Iterator[Json]:
    block = _block(part, received, index)
    if isinstance(part, Say):
        opened = {**block, "text": ""}
        deltas = [{"type": "text_delta", "text": piece} for piece in pieces(part.text)]
    else:
        opened = {**block, "input": {}}
        # The API opens the arguments with an empty delta.
        texts = ["", *pieces(json.dumps(dict(part.arguments)))]
        deltas = [{"type": "input_json_delta", "partial_json": text} for text in texts]
    yield {"type": "content_block_start", "index": index, "content_block": opened}
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _block(part: Say | Call, received: Received, index: int) -> Json:
    if isinstance(part, Say):
        return {"type": "text", "text": part.text}
    call_id = f"toolu_{received.number}_{index}"
    return {"type": "tool_use", "id": call_id, "name": part.tool, "input": dict(part.arguments)}


def _message(turn: Turn, received: Received) -> Json:
    return {
        "id": f"msg_{received.number}",
        "type": "message",
        "role": "assistant",
        "model": received.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": turn.input_tokens,
            "output_tokens": turn.output_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "service_tier": "standard",
        },
    }


def _why(turn: Turn) -> str:
    return "tool_use" if turn.calls else "end_turn"
