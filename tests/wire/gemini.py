"""Google's generateContent, as the Gemini API and Vertex AI speak it, and Google's token endpoint.

Source: https://ai.google.dev/api/generate-content and https://cloud.google.com/apis/design/errors
"""

from collections.abc import Iterator, Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.wire.endpoint import Asked, Json, Player, WireFormat, endpoint, event
from tests.wire.script import Call, Fail, Received, Say, Turn, pieces

STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

ACTIONS = ("generateContent", "streamGenerateContent")
PREFIXES = (
    "/v1beta/models",  # the Gemini API
    "/v1beta1/publishers/google/models",  # Vertex AI with an API key ("express mode")
    "/v1beta1/projects/{project}/locations/{location}/publishers/google/models",  # and with OAuth
)
DETAIL = "type.googleapis.com/google.rpc"
TOKEN_PATH = "/token"
ACCESS_TOKEN = "pretend-access-token"


def routes(player: Player) -> list[Route]:
    """Return the routes of both APIs, and the one where a service account gets its token."""
    play = [
        Route(f"{prefix}/{{model}}:{action}", endpoint(_format(action), player), methods=["POST"])
        for prefix in PREFIXES
        for action in ACTIONS
    ]
    return [*play, Route(TOKEN_PATH, grant_token, methods=["POST"])]


async def grant_token(request: Request) -> Response:
    """Answer an OAuth request of any service account."""
    del request
    grant = {"access_token": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 3600}
    return JSONResponse(grant)


def error(fail: Fail) -> Json:
    """Word an error as Google does; a `code` is the reason among its details."""
    details: list[Json] = []
    if fail.code is not None:
        details.append({"@type": f"{DETAIL}.ErrorInfo", "reason": fail.code})
    if isinstance(fail.retry_after, int | float):
        details.append({"@type": f"{DETAIL}.RetryInfo", "retryDelay": f"{fail.retry_after:g}s"})
    status = STATUSES.get(fail.status, "UNKNOWN")
    told = {"code": fail.status, "message": fail.message, "status": status}
    return {"error": {**told, "details": details} if details else told}


def error_event(fail: Fail) -> bytes:
    return event(error(fail))


def _format(action: str) -> WireFormat:
    def read(body: Json, path: Mapping[str, str]) -> Asked:
        parts = [part for content in body["contents"] for part in content["parts"]]
        responses = [part["functionResponse"] for part in parts if "functionResponse" in part]
        return Asked(
            model=path["model"],
            streamed=action == "streamGenerateContent",
            tools=tuple(
                declared["name"]
                for tool in body.get("tools") or []
                for declared in tool.get("functionDeclarations", [])
            ),
            tool_results=tuple(_text(response["response"]) for response in responses),
        )

    return WireFormat(read, whole, frames, error, error_event, retry_after_header=False)


def _text(response: Json) -> str:
    """Return what a tool answered; any result but a JSON object travels under one key."""
    values = list(response.values())
    return str(values[0] if len(values) == 1 else response)


def whole(turn: Turn, received: Received) -> Json:
    parts = [_part(part, received, index) for index, part in enumerate(turn.parts)]
    return _chunk(turn, received, parts, last=True)


def frames(turn: Turn, received: Received) -> Iterator[bytes]:
    for index, part in enumerate(turn.parts):
        shown = [Say(piece) for piece in pieces(part.text)] if isinstance(part, Say) else [part]
        for piece in shown:
            yield event(_chunk(turn, received, [_part(piece, received, index)], last=False))
    yield event(_chunk(turn, received, [{"text": ""}], last=True))


def _part(part: Say | Call, received: Received, index: int) -> Json:
    if isinstance(part, Say):
        return {"text": part.text}
    call_id = f"call_{received.number}_{index}"
    return {"functionCall": {"id": call_id, "name": part.tool, "args": dict(part.arguments)}}


def _chunk(turn: Turn, received: Received, parts: list[Json], *, last: bool) -> Json:
    candidate: Json = {"index": 0, "content": {"role": "model", "parts": parts}}
    usage = {"promptTokenCount": turn.input_tokens, "totalTokenCount": turn.input_tokens}
    if last:
        candidate["finishReason"] = "STOP"
        usage["candidatesTokenCount"] = turn.output_tokens
        usage["totalTokenCount"] += turn.output_tokens
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": received.model,
        "responseId": f"response-{received.number}",
    }
