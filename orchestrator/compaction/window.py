"""How much of a model's window a history takes, and where it may be cut."""

from collections.abc import Sequence
from datetime import datetime

from pydantic_ai.messages import (
    BinaryContent,
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelRequestPart,
    ModelResponse,
    ModelResponsePart,
    NativeToolCallPart,
    TextContent,
    ToolCallPart,
    ToolReturnPart,
    UserContent,
    UserPromptPart,
)

BYTES_PER_TOKEN = 3
"""Fewer than in prose of any language (4 and more), about what code and JSON have: a guess should
rather be too high."""

FILE_TOKENS = 1600
"""About what providers count for an image; a file's bytes say nothing of its tokens."""

AT = "workyard.compaction.at"
"""In the metadata of a summary's part: when it was written, in ISO 8601."""


def tokens_of(message: ModelMessage) -> int:
    """Return about how many tokens a message is."""
    return sum(_of_part(part) for part in message.parts)


def _of_part(part: ModelRequestPart | ModelResponsePart) -> int:
    match part:
        case UserPromptPart(content=str(text)):
            return _of_text(text)
        case UserPromptPart(content=items):
            return sum(_of_content(item) for item in items if not isinstance(items, str))
        case ToolReturnPart():
            return _of_text(part.model_response_str()) + FILE_TOKENS * len(part.files)
        case ToolCallPart() | NativeToolCallPart():
            return _of_text(part.tool_name) + _of_text(part.args_as_json_str())
        case _:
            content = getattr(part, "content", None)
            return FILE_TOKENS if isinstance(content, BinaryContent) else _of_text(content)


def _of_content(item: UserContent) -> int:
    match item:
        case str(text) | TextContent(content=text):
            return _of_text(text)
        case _:
            return FILE_TOKENS


def _of_text(content: object) -> int:
    if content is None:
        return 0
    text = content if isinstance(content, str) else str(content)
    return len(text.encode(errors="replace")) // BYTES_PER_TOKEN


def context_tokens(messages: Sequence[ModelMessage]) -> int:
    """Return about how many tokens a request with these messages takes.

    What the provider counted for its last answer counts, instructions and tools included; only what
    has come since is guessed. An answer from before the last compaction tells nothing: it counted
    what is not there any more. Some servers count only what they had not cached, so half of the
    guess is the least.
    """
    since = _compacted_at(messages)
    guessed, counted = 0, 0
    for message in reversed(messages):
        if counted == 0 and isinstance(message, ModelResponse) and _was_counted(message, since):
            counted = guessed + message.usage.input_tokens + message.usage.output_tokens
        guessed += tokens_of(message)
    requests = (m for m in reversed(messages) if isinstance(m, ModelRequest))
    guessed += _of_text(next((m.instructions for m in requests if m.instructions), ""))
    return max(counted, guessed // 2) if counted else guessed


def _was_counted(response: ModelResponse, since: datetime | None) -> bool:
    return response.usage.input_tokens > 0 and (since is None or response.timestamp > since)


def _compacted_at(messages: Sequence[ModelMessage]) -> datetime | None:
    moments = [
        datetime.fromisoformat(part.metadata[AT])
        for message in messages
        for part in message.parts
        if isinstance(part, CompactionPart) and part.metadata and AT in part.metadata
    ]
    return max(moments, default=None)


def cut(messages: Sequence[ModelMessage], keep_tokens: int) -> int:
    """Return the index of the first message that stays: as many at the end as fit in `keep_tokens`.

    A call and its result stay or go together, and the last message, which is to be answered, always
    stays: then the end may be larger. 0 when nothing can go.
    """
    reach = _reach(messages)
    found, size, needed = 0, 0, len(messages)
    for index in range(len(messages) - 1, 0, -1):
        size += tokens_of(messages[index])
        needed = min(needed, reach[index])
        if found and size > keep_tokens:
            break
        if needed == index:
            found = index
    return found


def _reach(messages: Sequence[ModelMessage]) -> list[int]:
    """Return, for each message, the index of the first one that it cannot be without."""
    called: dict[str, int] = {}
    reach: list[int] = []
    for index, message in enumerate(messages):
        needs = [index]
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                # Some providers give one id again in a later answer.
                called[part.tool_call_id] = index
            elif isinstance(part, ToolReturnPart):
                needs.append(called.get(part.tool_call_id, index))
        reach.append(min(needs))
    return reach
