"""Events → rows, and back.

What a run's row, a message or the ledger of calls says already is left out of an event's row, and
filled in when it is read: an answer is stored once, and so is a file that a tool has written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # what JSON holds

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_core import PydanticSerializationError

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
from orchestrator.store.messages import as_json, call_key

PREVIEW_CHARS = 2000
"""How much of a tool's result its event shows; the message has the whole."""

AT = "at"
"""In a row, in place of a text or arguments: `[message, part]` where they are."""

_OF_RUN: Mapping[type[Event], Mapping[str, str]] = {
    RunStarted: {"agent": "agent", "model": "model", "spec_sha256": "spec_sha256"},
    UserMessage: {"content": "prompt", "inputs": "inputs"},
}
"""Fields of events, and the columns of the run's row that say the same."""

Place = tuple[int, int]
"""The number of a message, and the index of a part in it."""


def shown(part: ToolReturnPart) -> str:
    """Return as much of a tool's result as its event shows."""
    try:
        text = part.model_response_str()
    except (PydanticSerializationError, UnicodeEncodeError):  # lone surrogates in what is no text
        text = ascii(part.content)
    return text if len(text) <= PREVIEW_CHARS else text[:PREVIEW_CHARS] + "…"


@dataclass(frozen=True)
class Said:
    """What other rows say: those written with an event, or those read for it."""

    run: Mapping[str, Any] = field(default_factory=dict)
    """Columns of the run's row."""
    parts: Mapping[Place, TextPart | ToolCallPart] = field(default_factory=dict)
    results: Mapping[str, ToolReturnPart] = field(default_factory=dict)
    """By the call's key."""

    def place_of_text(self, text: object) -> Place | None:
        """Return where a text is."""
        for place, part in self.parts.items():
            if isinstance(part, TextPart) and part.content == text:
                return place
        return None

    def place_of_call(self, call: ToolCalled) -> Place | None:
        """Return where the arguments of a call are."""
        for place, part in self.parts.items():
            if (
                isinstance(part, ToolCallPart)
                and (part.tool_call_id, part.tool_name) == (call.call_id, call.tool)
                and _has_said(part, call.arguments)
            ):
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


def _is_same(value: object, other: object) -> bool:
    if isinstance(value, str):
        return value == other
    return as_json(value) == as_json(other)  # to Python, 1 and true are the same


def event_body(event: Event, said: Said) -> str | None:
    """Return an event's body for its row; None when nothing is left to say."""
    fields = event.model_dump(mode="json", exclude={"type"}, exclude_defaults=True)
    for name, column in _OF_RUN.get(type(event), {}).items():
        value = getattr(event, name)
        if _is_same(value, said.run.get(column)):
            fields.pop(name, None)
        else:  # also where it is the default: what is not in the row is what the run's says
            fields[name] = value
    match event:
        case ToolCalled():
            place = said.place_of_call(event)
            _move(fields, "arguments", place)
            if place is not None:
                del fields["call_id"], fields["tool"]
        case AgentMessage(content=text):
            _move(fields, "content", said.place_of_text(text))
        case RunEnded(output=str(text)):
            _move(fields, "output", said.place_of_text(text))
        case ToolReturned(call_id=call_id, content=text):
            result = said.results.get(call_key(call_id))
            if result is not None and shown(result) == text:
                del fields["content"]
                if (result.tool_name, result.outcome) == (event.tool, event.outcome):
                    del fields["tool"], fields["outcome"]
        case _:
            pass
    return as_json(fields) if fields else None


def _move(fields: dict[str, Any], name: str, place: Place | None) -> None:
    if place is not None and name in fields:
        del fields[name]
        fields[AT] = place


def _has_said(part: ToolCallPart, arguments: Mapping[str, Any]) -> bool:
    # As JSON: to Python, 1 and true are the same.
    text = as_json(arguments)
    if text != as_json(part.args_as_dict()):
        return False
    # What JSON has no word for is null in a message that does not hold the model's own text.
    return isinstance(part.args, str) or not ("NaN" in text or "Infinity" in text)


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
            call = {"call_id": part.tool_call_id, "tool": part.tool_name}
            fields = call | fields | {"arguments": part.args_as_dict()}
        else:
            fields["output" if kind == "run_ended" else "content"] = part.content
    if kind == "tool_returned" and "content" not in fields:
        result = said.results[call_key(fields["call_id"])]
        told = {"tool": result.tool_name, "outcome": result.outcome, "content": shown(result)}
        fields = told | fields
    try:
        return EventAdapter.validate_python({"type": kind, **fields})
    except ValidationError as error:
        raise ValueError("not an event") from error


_TYPES: Mapping[str, type[Event]] = {"run_started": RunStarted, "user_message": UserMessage}
