"""A session as JSON Lines, version 1: what each kind of line holds.

The first line is the session. Its runs follow, in the order in which they began; its messages,
numbered from 1 without gaps, with the compactions among them; the calls of its runs; its events,
numbered from 1 without gaps. A line names only what stands before it, so that a file can be read in
one go. Instructions, which many messages have, stand in a line before the first of them.

A fork is told with the messages that it shares and the runs that these are of: the file needs no
other. Whose a session is, and which process held a run, is the record's and not in the file.
"""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar  # Any: JSON that other adapters read

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
)

from orchestrator.lifecycle import RunStatus
from orchestrator.session import ID, MAX_NAME_CHARS, is_plain

T = TypeVar("T")

VERSION = 1
"""Raised when a line comes to mean something else; a reader refuses what it does not know."""


def _plain(text: str) -> str:
    if not is_plain(text):
        raise ValueError("it has characters that no database takes")
    return text


def _finite(value: T) -> T:
    json.dumps(value, allow_nan=False)  # a column of JSON takes no NaN
    return value


def _absolute(root: str) -> str:
    # One that is not would be another directory for each who goes on in the session.
    if not (PurePosixPath(root).is_absolute() or PureWindowsPath(root).is_absolute()):
        raise ValueError("it is no absolute path")
    return root


_TITLE_CHARS = 6 * MAX_NAME_CHARS
"""Each character may have become an escape, as `plain` makes one."""

Id = Annotated[str, Field(pattern=f"^{ID}$")]
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{0,64}$")]
_Plain = Annotated[str, AfterValidator(_plain)]
_Name = Annotated[_Plain, Field(min_length=1, max_length=200)]
_Agent = Annotated[_Plain, Field(min_length=1, max_length=64)]
_Count = Annotated[int, Field(ge=0, lt=2**31)]
Number = Annotated[int, Field(ge=1, lt=2**31)]
_Object = Annotated[dict[str, JsonValue], AfterValidator(_finite)]
_Time = Annotated[
    AwareDatetime,
    Field(strict=False, ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC)),
]


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SessionLine(_Line):
    """The session."""

    type: Literal["session"] = "session"
    version: int = VERSION
    id: Id
    external_id: _Name | None = None
    agent: _Agent
    root: Annotated[_Plain, AfterValidator(_absolute)]
    title: Annotated[str, Field(max_length=_TITLE_CHARS)]
    state: _Object
    state_version: _Count
    usage: _Object
    window_seq: _Count
    """The compaction that begins what a model is given, or 0."""
    last_message_seq: _Count | None = None
    """How many messages and compactions follow: a file that was cut between two lines has fewer."""
    last_event_seq: _Count | None = None
    """How many events follow."""
    created_at: _Time
    updated_at: _Time


class RunLine(_Line):
    """A run."""

    type: Literal["run"] = "run"
    id: Id
    status: Annotated[RunStatus, Field(strict=False)]
    agent: _Agent
    spec_sha256: _Sha256
    model: _Name
    prompt: str
    inputs: _Object
    output: Annotated[JsonValue, AfterValidator(_finite)] = None
    """The answer, unless it is the text of a message."""
    output_at: tuple[Number, _Count] | None = Field(default=None, strict=False)
    """Then, that message's number and the part's index in it."""
    first_message_seq: Number
    attempt: _Count
    requests: _Count
    tool_calls: _Count
    input_tokens: _Count
    cache_read_tokens: _Count
    output_tokens: _Count
    cost: Decimal | None = Field(
        default=None, strict=False, ge=0, lt=10**8, decimal_places=10, allow_inf_nan=False
    )
    error_code: Annotated[_Plain, Field(max_length=64)] | None = None
    error_text: str | None = None
    started_at: _Time
    ended_at: _Time | None = None


class InstructionsLine(_Line):
    """Instructions that messages have."""

    type: Literal["instructions"] = "instructions"
    sha256: _Sha256
    text: str


class MessageLine(_Line):
    """A message."""

    type: Literal["message"] = "message"
    seq: Number
    run_id: Id
    instructions: _Sha256 | None = None
    message: dict[str, Any]
    """As Pydantic AI dumps it, without its instructions."""


class CompactionLine(_Line):
    """What a model was given instead of the messages before."""

    type: Literal["compaction"] = "compaction"
    seq: Number
    run_id: Id
    upto: _Count
    given: list[dict[str, Any]]
    """Messages, as Pydantic AI dumps them."""
    usage: dict[str, JsonValue]


class CallLine(_Line):
    """A call, and what became of it."""

    type: Literal["call"] = "call"
    run_id: Id
    call_id: Annotated[str, Field(max_length=200)]
    """What the ledger knows it by: the id that the provider gave it, or the hash of a long one."""
    tool: str
    arguments_sha256: _Sha256
    outcome: Annotated[_Plain, Field(max_length=20)] | None = None
    """None for a call of which nobody knows whether it took place."""
    result: dict[str, Any] | None = None
    """As Pydantic AI dumps a `ToolReturnPart`."""
    result_seq: Number | None = None
    """Instead, the message that holds the result."""
    called_at: _Time
    returned_at: _Time | None = None


class EventLine(_Line):
    """An event."""

    type: Literal["event"] = "event"
    seq: Number
    run_id: Id
    at: _Time
    event: dict[str, Any]


Line = (
    SessionLine | RunLine | InstructionsLine | MessageLine | CompactionLine | CallLine | EventLine
)

LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="type")])
