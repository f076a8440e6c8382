"""OpenAI's Chat Completions, which Ollama, vLLM and most other local servers speak as well.

Source: https://platform.openai.com/docs/api-reference/chat
"""

import json
from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.wire.endpoint import Asked, Endpoint, Json, Player, WireFormat, endpoint, event
from tests.wire.script import Call, Fail, Received, Turn, pieces

CREATED = 1_790_000_000
"""Unix time of every answer; nobody reads it."""

CODES = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
TYPES = {401: "invalid_request_error", 404: "invalid_request_error", 429: "requests"}


def routes(player: Player, models: tuple[str, ...]) -> list[Route]:
    """Return the routes of this API."""
    chat = WireFormat(read, whole, frames, error, error_event)
    return [
        Route("/v1/chat/completions", endpoint(chat, player), methods=["POST"]),
        Route("/v1/models", _list_of(models), methods=["GET"]),
    ]


def error(fail: Fail) -> Json:
    """Word an error as OpenAI does, in both of its APIs."""
    default_type = "server_error" if fail.status >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": fail.message,
            "type": fail.code or TYPES.get(fail.status, default_type),
            "param": None,
            "code": fail.code or CODES.get(fail.status),
        }
    }


def error_event(fail: Fail) -> bytes:
    return event(error(fail))


def read(body: Json, path: Mapping[str, str]) -> Asked:
    del path
    return Asked(
        model=body["model"],
        streamed=bool(body.get("stream")),
        tools=tuple(tool["function"]["name"] for tool in body.get("tools", [])),
        tool_results=tuple(
            message["content"] for message in body["messages"] if message["role"] == "tool"
        ),
    )


def whole(turn: Turn, received: Received) -> Json:
    message: Json = {"role": "assistant", "content": turn.text or None, "refusal": None}
    if turn.calls:
        message["tool_calls"] = [
            _call(call, received, index) for index, call in enumerate(turn.calls)
        ]
    choice = {"index": 0, "message": message, "finish_reason": _why(turn), "logprobs": None}
    head = _head(received, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(turn)}


def frames(turn: Turn, received: Received) -> Iterator[bytes]:
    def chunk(delta: Json, finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        return event({**_head(received, "chat.completion.chunk"), "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in pieces(turn.text):
        yield chunk({"content": piece})
    for index, call in enumerate(turn.calls):
        opened = _call(call, received, index)
        arguments = opened["function"].pop("arguments")
        opened["function"]["arguments"] = ""
        yield chunk({"tool_calls": [{"index": index, **opened}]})
        for piece in pieces(arguments):
            yield chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield chunk({}, _why(turn))
    if (received.body.get("stream_options") or {}).get("include_usage"):
        head = _head(received, "chat.completion.chunk")
        yield event({**head, "choices": [], "usage": _usage(turn)})
    yield event("[DONE]")


def _head(received: Received, kind: str) -> Json:
    return {
        "id": f"chatcmpl-{received.number}",
        "object": kind,
        "created": CREATED,
        "model": received.model,
        "system_fingerprint": "fp_pretend",
    }


def _call(call: Call, received: Received, index: int) -> Json:
    return {
        "id": f"call_{received.number}_{index}",
        "type": "function",
        "function": {"name": call.tool, "arguments": json.dumps(dict(call.arguments))},
    }


def _why(turn: Turn) -> str:
    return "tool_calls" if turn.calls else "stop"


def _usage(turn: Turn) -> Json:
    return {
        "prompt_tokens": turn.input_tokens,
        "completion_tokens": turn.output_tokens,
        "total_tokens": turn.input_tokens + turn.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _list_of(models: tuple[str, ...]) -> Endpoint:
    rows = [
        {"id": name, "object": "model", "created": CREATED, "owned_by": "pretend"}
        for name in models
    ]

    async def list_models(request: Request) -> Response:
        del request
        return JSONResponse({"object": "list", "data": rows})

    return list_models
