"""Events → rows, and back.

What a run's row, a message or the ledger of calls says already is left out of an event's row, and
filled in when it is read: an answer is stored once, and so is a file that a tool has written.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal  # Any: what JSON holds

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.events import (
    AgentMessage,
    Event,
    EventAdapter,
    RunEnded,
    RunStarted,
    ToolCalled,
    ToolReturned,
    UserMessage,
)
from orchestrator.store.messages import as_json

PREVIEW_CHARS = 2000
"""How much of a tool's result its event shows; the message has the whole."""

AT = "at"
"""In a row, in place of a text or arguments: `[message, part]` where they are."""

_RESULT = TypeAdapter(ToolReturnPart)

_OF_RUN: Mapping[type[Event], Mapping[str, str]] = {
    RunStarted: {"agent": "agent", "model": "model", "spec_sha256": "spec_sha256"},
    UserMessage: {"content": "prompt", "inputs": "inputs"},
}
"""Fields of events, and the columns of the run's row that say the same."""

Place = tuple[int, int]
"""The number of a message, and the index of a part in it."""


def shown(part: ToolReturnPart) -> str:
    """Return as much of a tool's result as its event shows."""
    text = part.model_response_str()
    return text if len(text) <= PREVIEW_CHARS else text[:PREVIEW_CHARS] + "…"


@dataclass(frozen=True)
class Said:
    """What other rows say: those written with an event, or those read for it."""

    run: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the run's row."""
    parts: Mapping[Place, TextPart | ToolCallPart] = field(default_factory=dict)
    results: Mapping[str, ToolReturnPart] = field(default_factory=dict)
    """By the call's id."""

    def place_of(self, kind: Literal["text", "tool-call"], value: object) -> Place | None:
        """Return where a text or the arguments of a call are."""
        for place, part in self.parts.items():
            if part.part_kind == kind and _content(part) == value:
                return place
        return None


def told(message: ModelMessage) -> Iterator[Event]:
    """Yield what a message tells, as the events that were recorded with it tell it."""
    for part in message.parts:
        match part:
            case UserPromptPart(content=str(text)):
                yield UserMessage(content=text)
            case TextPart(content=text) if text:
                yield AgentMessage(content=text)
            case ToolCallPart(tool_call_id=call_id, tool_name=tool):
                yield ToolCalled(call_id=call_id, tool=tool, arguments=part.args_as_dict())
            case ToolReturnPart(tool_call_id=call_id, tool_name=tool, outcome=outcome):
                yield ToolReturned(call_id=call_id, tool=tool, outcome=outcome, content=shown(part))
            case _:
                pass


def parts_of(messages: Sequence[ModelMessage], *, first: int) -> dict[Place, Any]:
    """Return the texts and calls of the responses among messages numbered from `first`."""
    return {
        (seq, index): part
        for seq, message in enumerate(messages, first)
        if isinstance(message, ModelResponse)
        for index, part in enumerate(message.parts)
        if isinstance(part, TextPart | ToolCallPart)
    }


def event_body(event: Event, said: Said) -> str | None:
    """Return an event's body for its row; None when nothing is left to say."""
    fields = event.model_dump(mode="json", exclude={"type"}, exclude_defaults=True)
    for name, column in _OF_RUN.get(type(event), {}).items():
        if name in fields and said.run.get(column) == fields[name]:
            del fields[name]
    place: Place | None = None
    match event:
        case ToolCalled(call_id=call_id, arguments=arguments):
            place = said.place_of("tool-call", (call_id, arguments))
            _move(fields, "arguments", place)
        case AgentMessage(content=text):
            place = said.place_of("text", text)
            _move(fields, "content", place)
        case RunEnded(output=str(text)):
            place = said.place_of("text", text)
            _move(fields, "output", place)
        case ToolReturned(call_id=call_id, content=text):
            result = said.results.get(call_id)
            if result is not None and shown(result) == text:
                del fields["content"]
        case _:
            pass
    return as_json(fields) if fields else None


def _move(fields: dict[str, Any], name: str, place: Place | None) -> None:
    if place is not None and name in fields:
        del fields[name]
        fields[AT] = place


def _content(part: TextPart | ToolCallPart) -> object:
    if isinstance(part, TextPart):
        return part.content
    return part.tool_call_id, part.args_as_dict()


def read_event(kind: str, body: dict[str, Any], said: Said) -> Event:
    """Return the event that a row holds.

    Raises:
        ValueError: If it is none.
        LookupError: If what it refers to is not there.
    """
    fields = dict(body)
    for name, column in _OF_RUN.get(_TYPES.get(kind, RunEnded), {}).items():
        if name not in fields:
            fields[name] = said.run[column]
    if AT in fields:
        seq, index = fields.pop(AT)
        part = said.parts[seq, index]
        if isinstance(part, ToolCallPart):
            fields["arguments"] = part.args_as_dict()
        else:
            fields["output" if kind == "run_ended" else "content"] = part.content
    if kind == "tool_returned" and "content" not in fields:
        fields["content"] = shown(said.results[fields["call_id"]])
    try:
        return EventAdapter.validate_python({"type": kind, **fields})
    except ValidationError as error:
        raise ValueError("not an event") from error


_TYPES: Mapping[str, type[Event]] = {"run_started": RunStarted, "user_message": UserMessage}


def read_result(text: str) -> ToolReturnPart:
    """Return a tool's result from its row in the ledger."""
    try:
        return _RESULT.validate_json(text)
    except ValidationError:  # JSON of lone surrogates, which pydantic's own reader refuses
        return _RESULT.validate_python(json.loads(text))
