"""What happened in a session: frozen facts in the past tense, numbered by the store.

A reader gets `RecordedEvent`s in ascending `seq`, without gaps, from any number on. Text that is
still being written comes as partial events (`TextDelta`, `ThinkingDelta`); the whole of it follows
as one `AgentMessage`, so that a reader may leave the partial ones out.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

from orchestrator.lifecycle import RunStatus


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    version: Literal[1] = 1


class Usage(_Fact):
    """What a run has used."""

    requests: int = 0
    tool_calls: int = 0
    input_tokens: int = 0
    """Tokens sent, cached ones included."""
    cache_read_tokens: int = 0
    output_tokens: int = 0
    cost: Decimal | None = None
    """US dollars; None when the price of the model is not known."""


class RunStarted(_Fact):
    """A run has claimed its session."""

    type: Literal["run_started"] = "run_started"
    agent: str
    model: str
    spec_sha256: str


class UserMessage(_Fact):
    """The prompt that the run answers."""

    type: Literal["user_message"] = "user_message"
    content: str
    inputs: dict[str, JsonValue] = {}


class TextDelta(_Fact):
    """Some more of an answer that is being written."""

    type: Literal["text_delta"] = "text_delta"
    content: str


class ThinkingDelta(_Fact):
    """Some more of the model's thinking."""

    type: Literal["thinking_delta"] = "thinking_delta"
    content: str


class ToolCalled(_Fact):
    """The model has asked for a tool; it is about to run."""

    type: Literal["tool_called"] = "tool_called"
    call_id: str
    tool: str
    arguments: dict[str, JsonValue]


class ToolReturned(_Fact):
    """A tool has given its result."""

    type: Literal["tool_returned"] = "tool_returned"
    call_id: str
    tool: str
    outcome: str
    """`success`, `failed`, `retried`, `denied` or `interrupted`, as in Pydantic AI."""
    content: str
    """The beginning of the result; the whole is in the message that the model was sent."""


class FileChanged(_Fact):
    """A call has changed a file; it comes directly after the `ToolReturned` of that call.

    There is one for each file or link, and for a directory that was made, moved or deleted by name;
    the server that made the change has told so. A call that failed has changed nothing.
    """

    type: Literal["file_changed"] = "file_changed"
    call_id: str
    path: str
    """Relative to the root, where it is now; a directory's ends in a slash, unless it was moved."""
    kind: Literal["created", "modified", "deleted", "moved"]
    moved_from: str | None = None
    """Where it was before, with all below it."""
    added: int | None = None
    """Lines that have come; None if they were not counted, as of what is no text."""
    removed: int | None = None
    """Lines that have gone. A line that has only moved counts as neither."""
    more: int = 0
    """Files that the call has changed too and that have no event: on the last of its events."""


class AgentAsked(_Fact):
    """The run has asked another agent, whose run has begun; that has a session of its own."""

    type: Literal["agent_asked"] = "agent_asked"
    call_id: str
    agent: str
    session_id: str
    run_id: str


class ApprovalRequested(_Fact):
    """The run waits for a person's yes to a call that the model has asked for."""

    type: Literal["approval_requested"] = "approval_requested"
    call_id: str
    tool: str
    arguments: dict[str, JsonValue]
    preview: str = ""
    """What the call would have changed when this was asked, as diffs."""


class ApprovalDecided(_Fact):
    """A person has said yes or no to a call."""

    type: Literal["approval_decided"] = "approval_decided"
    call_id: str
    is_approved: bool
    by: str
    reason: str = ""
    """What the model is told of a no."""


class ModelStoodIn(_Fact):
    """Another model has answered in place of the run's, whose provider has failed.

    The message with the answer has what each has failed with.
    """

    type: Literal["model_stood_in"] = "model_stood_in"
    model: str
    """Who has answered: the provider, and the model as it is called there."""
    failed: tuple[str, ...]
    """Who was asked before, in that order."""


class HistoryCompacted(_Fact):
    """The conversation has grown too long for the model, which is given a summary of it instead.

    Nothing is lost: the record keeps every message.
    """

    type: Literal["history_compacted"] = "history_compacted"
    upto: int
    """The last message that the model is not given any more."""
    kept: int
    """How many messages after that one the model is given word for word."""
    message: int
    """The number in the conversation of what it is given instead."""
    reason: Literal["near_limit", "over_limit", "rewritten"]
    """It came near what the model can take; the model said that it was too much; or a capability
    that is not Workyard's has rewritten the history."""
    tokens_before: int | None = None
    """About how many tokens the request would have had; None when nobody has counted."""
    tokens_after: int | None = None


class AgentMessage(_Fact):
    """Text that the model has finished writing, beside tool calls or as its answer."""

    type: Literal["agent_message"] = "agent_message"
    content: str


class RunResumed(_Fact):
    """A run that had ended without success goes on from its last settled step."""

    type: Literal["run_resumed"] = "run_resumed"
    attempt: int
    """2 for the first time."""
    model: str
    spec_sha256: str
    """Of the agent's spec as it is now; it may have been changed since the run began."""


class RunEnded(_Fact):
    """The run is over. Unless it has succeeded, it can be resumed."""

    type: Literal["run_ended"] = "run_ended"
    status: RunStatus
    output: JsonValue = None
    usage: Usage = Usage()
    error_code: str | None = None
    error_text: str | None = None


Event = Annotated[
    RunStarted
    | UserMessage
    | TextDelta
    | ThinkingDelta
    | ToolCalled
    | ToolReturned
    | FileChanged
    | AgentAsked
    | ApprovalRequested
    | ApprovalDecided
    | ModelStoodIn
    | HistoryCompacted
    | AgentMessage
    | RunResumed
    | RunEnded,
    Field(discriminator="type"),
]

EventAdapter: TypeAdapter[Event] = TypeAdapter(Event)


@dataclass(frozen=True, kw_only=True)
class RecordedEvent:
    """An event as the store keeps it."""

    session_id: str
    seq: int
    """1 for the first event of the session, then one more each."""
    run_id: str
    at: datetime
    """Aware, UTC."""
    event: Event
