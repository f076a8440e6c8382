"""OpenAI's Responses API, which `openai:` model names mean.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

import json
from collections.abc import Iterator, Mapping

from starlette.routing import Route

from tests.wire.endpoint import Asked, Json, Player, WireFormat, endpoint, event
from tests.wire.openai_chat import CREATED, error
from tests.wire.script import Call, Fail, Received, Say, Turn, pieces

STREAM_CODES = {429: "rate_limit_exceeded", 500: "server_error", 503: "server_is_overloaded"}
"""An error inside a stream has a code and no status."""


def routes(player: Player) -> list[Route]:
    """Return the routes of this API."""
    responses = WireFormat(read, whole, frames, error, error_event)
    return [Route("/v1/responses", endpoint(responses, player), methods=["POST"])]


def error_event(fail: Fail) -> bytes:
    code = fail.code or STREAM_CODES.get(fail.status)
    told = {"type": "error", "code": code, "message": fail.message, "param": None}
    return event({**told, "sequence_number": 99}, "error")


def read(body: Json, path: Mapping[str, str]) -> Asked:
    del path
    given = body["input"] if isinstance(body["input"], list) else []
    return Asked(
        model=body["model"],
        streamed=bool(body.get("stream")),
        tools=tuple(tool["name"] for tool in body.get("tools") or [] if tool["type"] == "function"),
        tool_results=tuple(
            item["output"] for item in given if item.get("type") == "function_call_output"
        ),
    )


def whole(turn: Turn, received: Received) -> Json:
    return _response(turn, received, "completed", _items(turn, received))


def frames(turn: Turn, received: Received) -> Iterator[bytes]:
    for number, payload in enumerate(_events(turn, received)):
        yield event({**payload, "sequence_number": number}, payload["type"])


def _events(turn: Turn, received: Received) -> Iterator[Json]:
    begun = _response(turn, received, "in_progress", [])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    items = _items(turn, received)
    for index, item in enumerate(items):
        where = {"output_index": index, "item_id": item["id"]}
        shown = _message_events if item["type"] == "message" else _call_events
        empty: Json = {"content": []} if item["type"] == "message" else {"arguments": ""}
        opened = {**item, **empty, "status": "in_progress"}
        yield {"type": "response.output_item.added", "output_index": index, "item": opened}
        yield from shown(item, where)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    finished = _response(turn, received, "completed", items)
    yield {"type": "response.completed", "response": finished}


def _message_events(item: Json, where: Json) -> Iterator[Json]:
    place = {**where, "content_index": 0}
    part = item["content"][0]
    empty = {**part, "text": ""}
    yield {"type": "response.content_part.added", **place, "part": empty}
    for piece in pieces(part["text"]):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _call_events(item: Json, where: Json) -> Iterator[Json]:
    for piece in pieces(item["arguments"]):
        yield {"type": "response.function_call_arguments.delta", **where, "delta": piece}
    done = {"arguments": item["arguments"], "name": item["name"]}
    yield {"type": "response.function_call_arguments.done", **where, **done}


def _items(turn: Turn, received: Received) -> list[Json]:
    return [_item(part, f"{received.number}_{index}") for index, part in enumerate(turn.parts)]


def _item(part: Say | Call, ending: str) -> Json:
    if isinstance(part, Say):
        text = {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
        return {
            "id": f"msg_{ending}",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [text],
        }
    return {
        "id": f"fc_{ending}",
        "type": "function_call",
        "call_id": f"call_{ending}",
        "name": part.tool,
        "arguments": json.dumps(dict(part.arguments)),
        "status": "completed",
    }


def _response(turn: Turn, received: Received, status: str, items: list[Json]) -> Json:
    usage = {
        "input_tokens": turn.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": turn.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": turn.input_tokens + turn.output_tokens,
    }
    return {
        "id": f"resp_{received.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": received.body.get("instructions"),
        "metadata": {},
        "model": received.model,
        "output": items,
        "parallel_tool_calls": True,
        "tool_choice": received.body.get("tool_choice", "auto"),
        "tools": received.body.get("tools", []),
        "usage": usage if status == "completed" else None,
    }
