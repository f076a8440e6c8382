"""Messages and events → rows, and back.

The instructions stand in every request of a run and would be most of what is stored, so a message's
row names them by hash and they are kept once.
"""

import hashlib
from collections.abc import Mapping
from typing import Any  # what the JSON columns hold

from pydantic import ValidationError
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter

from orchestrator.errors import HistoryUnreadableError
from orchestrator.events import (
    Event,
    EventAdapter,
    RecordedEvent,
    RunEnded,
    TextDelta,
    ThinkingDelta,
    ToolReturned,
    UserMessage,
)
from orchestrator.store.tables import BlobRow, EventRow, MessageRow

_COLUMNS = ("type", "content", "error_code", "error_text")
"""The fields of an event that have a column of their own."""


def split_message(message: ModelMessage) -> tuple[dict[str, Any], BlobRow | None]:
    """Return a message's body for its row, and its instructions if it has any."""
    body = ModelMessagesTypeAdapter.dump_python([message], mode="json", exclude_none=True)[0]
    instructions = body.pop("instructions", None)
    if instructions is None:
        return body, None
    content = instructions.encode(errors="backslashreplace")
    return body, BlobRow(sha256=hashlib.sha256(content).hexdigest(), content=content)


def join_message(row: MessageRow, instructions: Mapping[str, bytes]) -> ModelMessage:
    """Return the message that a row holds.

    Raises:
        HistoryUnreadableError: If it is none; it names session and row.
    """
    body = dict(row.body)
    try:
        if row.instructions_sha256 is not None:
            body["instructions"] = instructions[row.instructions_sha256].decode()
        return ModelMessagesTypeAdapter.validate_python([body])[0]
    except (ValidationError, KeyError, UnicodeDecodeError) as error:
        raise HistoryUnreadableError(row.session_id, row.seq) from error


def event_row(session_id: str, seq: int, run_id: str, agent: str, event: Event) -> EventRow:
    """Return the row of an event."""
    written = event.model_dump(mode="json")
    match event:
        case UserMessage():
            author = "user"
        case ToolReturned():
            author = event.tool
        case _:
            author = agent
    return EventRow(
        session_id=session_id,
        seq=seq,
        run_id=run_id,
        author=author[:64],
        type=event.type,
        content=getattr(event, "content", None),
        partial=isinstance(event, TextDelta | ThinkingDelta),
        turn_complete=isinstance(event, RunEnded),
        error_code=getattr(event, "error_code", None),
        error_text=getattr(event, "error_text", None),
        meta={k: v for k, v in written.items() if k not in _COLUMNS},
    )


def recorded_event(row: EventRow) -> RecordedEvent:
    """Return the event that a row holds.

    Raises:
        HistoryUnreadableError: If it is none; it names session and row.
    """
    columns = {name: getattr(row, name) for name in _COLUMNS if getattr(row, name) is not None}
    try:
        event = EventAdapter.validate_python({**row.meta, **columns})
    except (ValidationError, TypeError) as error:
        raise HistoryUnreadableError(row.session_id, row.seq, what="Event") from error
    return RecordedEvent(
        session_id=row.session_id, seq=row.seq, run_id=row.run_id, at=row.at, event=event
    )
