"""What the process that holds a session knows of it, and nobody else can change meanwhile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # what JSON holds

import anyio
from pydantic import JsonValue
from pydantic_ai import Conversation
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart

from orchestrator.events import ApprovalDecided, ApprovalRequested, Event, Usage
from orchestrator.session import named


@dataclass(frozen=True, kw_only=True)
class RunDraft:
    """What is known of a run before it has claimed a session."""

    agent: str
    spec_sha256: str
    model: str
    prompt: str
    inputs: dict[str, JsonValue]
    root: str
    session_id: str | None = None
    """None for a new session."""
    owner: str | None = None
    """Whose session it is to be; None for anybody's, and for a new one of nobody in particular."""
    parent_pk: int | None = None
    """The run that it works for."""

    def __post_init__(self) -> None:
        if self.owner is not None:
            named("owner", self.owner)


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """What a model is given instead of the messages up to one of them."""

    upto: int
    given: Sequence[ModelMessage]
    usage: Usage
    """What the run has used until then that is in none of its responses."""


@dataclass(frozen=True, kw_only=True)
class Additions:
    """What has happened in a run since the last time, each kind in its order."""

    compacted: Compacted | None = None
    """It has a number, as messages have: the one before theirs."""
    messages: Sequence[ModelMessage] = ()
    events: Sequence[Event] = ()
    results: Sequence[ToolReturnPart] = ()
    """Whole results of calls; their events show the beginning."""

    def __bool__(self) -> bool:
        return bool(self.compacted or self.messages or self.events or self.results)

    @property
    def numbers(self) -> int:
        """How many numbers of the conversation it takes."""
        return len(self.messages) + self.before_messages

    @property
    def before_messages(self) -> int:
        """How many of these numbers come before the messages'."""
        return 0 if self.compacted is None else 1


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What is on record of the step at which a run goes on, and will be met again."""

    answer: ModelResponse | None = None
    """The model's answer, of which nobody knows yet whether it will do."""
    called: frozenset[str] = frozenset()
    """The ids of its calls that were begun."""
    results: Mapping[str, ToolReturnPart] = field(default_factory=dict)
    """What is known of its calls, by their ids."""
    in_messages: frozenset[str] = frozenset()
    """The ids of those whose results are in a message already."""

    @property
    def unknown(self) -> frozenset[str]:
        """The ids of its calls that may have had an effect or not."""
        return self.called - self.results.keys()


@dataclass(frozen=True)
class Decision:
    """A call that somebody was asked about, and what was said to it."""

    asked: ApprovalRequested
    said: ApprovalDecided
    attempts: int = 0
    """How many attempts at the run have begun since, the present one included."""


@dataclass(kw_only=True)
class ClaimedRun:
    """A run that holds its session. The store moves the numbers when it has committed."""

    id: str
    pk: int
    session_id: str
    session_pk: int
    draft: RunDraft
    conversation: Conversation
    """The session's past, as Pydantic AI takes it."""
    past: Sequence[tuple[int, ModelMessage]] = ()
    """What of it is on record as it is, with its numbers."""
    attempt: int = 1
    used: Usage = field(default_factory=Usage)
    """What earlier attempts have used; the conversation's usage is that before the run."""
    used_by_delegates: Usage = field(default_factory=Usage)
    """What others have used for it, and others again for those, during earlier attempts."""
    calls_made: int = 0
    """How many calls these and it have made, failed ones included."""
    worked_before_s: float = 0.0
    """How long earlier attempts were at work."""
    used_beside: Usage = field(default_factory=Usage)
    """What of what was used is in none of the run's responses."""
    settled: Settled = field(default_factory=Settled)
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    """What people have said to calls that are yet to be made, by the calls' ids."""
    needs_prompt: bool = True
    """Whether the model has yet to be given the prompt: no message holds it."""
    first_seq: int
    """The number of the run's first event."""
    event_seq: int
    """The number of the session's last event."""
    message_seq: int
    """The number of the session's last message."""
    first_message_seq: int
    """The number of the run's first message, which holds its prompt."""
    calls: set[str] = field(default_factory=set)
    """The keys of the calls that are in the ledger."""
    answered: set[str] = field(default_factory=set)
    """The keys of those that are there with a result."""
    results: dict[str, str] = field(default_factory=dict)
    """The results that no message holds yet, as the ledger has them: JSON, by the call's key."""
    asked: dict[str, str] = field(default_factory=dict)
    """The ids of the runs of delegates that its events name, and of the calls that are for them."""
    parts: dict[tuple[int, int], Any] = field(default_factory=dict)
    """The texts and calls of the last responses that were written, by message and index."""
    turn: anyio.Lock = field(default_factory=anyio.Lock)
    """What is written of one run is written in its order."""
