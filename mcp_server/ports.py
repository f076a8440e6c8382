"""What whoever embeds the server can offer beside files: agents to be, agents to run, the record.

The server asks for it through these protocols and knows nothing of who stands behind them. Every
method raises the branches of `ServerError`, with messages that name no place on the host.
"""

import argparse
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from pydantic import JsonValue

from mcp_server.changed import ChangedFile
from mcp_server.fence.grant import Grant

if TYPE_CHECKING:  # a quarter of a second, which is not to be waited for before the root is checked
    import mcp_types


@dataclass(frozen=True, kw_only=True)
class AgentInput:
    """Something that an agent's instructions need to be told."""

    name: str
    description: str = ""
    is_required: bool = False
    default: str | None = None
    """What it is when nobody says, as text."""
    choices: tuple[str, ...] = ()
    """What it can be, if only some values are possible, as text."""
    is_path: bool = False
    """Whether it names something in the workspace."""


@dataclass(frozen=True, kw_only=True)
class AgentGrant:
    """What an agent may do in the workspace; the paths as globs."""

    tools: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()


class AgentCard(Protocol):
    """One agent, as far as it can be told without building it."""

    @property
    def name(self) -> str:
        """What it is called: lower-case letters, digits and `_`."""
        ...

    @property
    def description(self) -> str:
        """What it does, in a sentence."""
        ...

    @property
    def inputs(self) -> Sequence[AgentInput]:
        """What it has to be told, in the order of its spec."""
        ...

    @property
    def grant(self) -> AgentGrant:
        """What it may do in the workspace."""
        ...

    @property
    def source(self) -> str:
        """Its spec as written: YAML."""
        ...

    def checked(self, inputs: Mapping[str, str]) -> dict[str, JsonValue]:
        """Return inputs given as text as what they are, with the defaults of those left out.

        Raises:
            InvalidInputError: one is missing, unknown or not what it has to be.
        """
        ...

    def render(self, inputs: Mapping[str, JsonValue]) -> str:
        """Return the instructions for checked inputs, word for word as a run would have them."""
        ...


class AgentCatalog(Protocol):
    """The agents there are. Its methods read files and block: call them in a thread."""

    def list(self) -> Sequence[AgentCard]:
        """Return the agents that can be used, by name; read anew when a spec has changed.

        What is wrong with a spec keeps no other from being listed: it is logged.
        """
        ...

    def get(self, name: str) -> AgentCard:
        """Return an agent.

        Raises:
            NotFoundError: there is none of that name; it names the near ones.
            InvalidInputError: its spec cannot be used; the message says where and why.
        """
        ...

    def version(self) -> str:
        """Return what is another text when a spec was written, added or removed; it is cheap."""
        ...

    def places(self) -> Sequence[str]:
        """Return the files and directories of which one has changed when the list is another."""
        ...


RunStatus = Literal["running", "succeeded", "failed", "cancelled", "interrupted", "waiting"]
"""Where a run stands; `interrupted` is one whose process has died, `waiting` needs a yes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableAgent:
    """An agent as a model is told of it."""

    name: str
    description: str
    inputs: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    """The JSON schema of each input."""
    required: frozenset[str] = frozenset()
    """Inputs that have to be given."""
    lacks: tuple[str, ...] = ()
    """What it is granted elsewhere, and not by who runs it here: in words."""
    problem: str = ""
    """Why it cannot be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What an agent is to do."""

    agent: str
    task: str
    inputs: Mapping[str, JsonValue] = field(default_factory=dict)
    session_id: str | None = None
    """The session to go on in; none begins a new one."""


@dataclass(frozen=True, slots=True)
class Step:
    """Something that has happened in a run, in a line."""

    number: int
    """Greater than that of the step before."""
    line: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A call of a run, or of a run that works for it, which waits for a person's yes."""

    run_id: str
    """The run that asks. Calls of different runs can have the same id."""
    call_id: str
    asked: str
    """Who wants to call what, in a line."""
    preview: str = ""
    """What that would change, as diffs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a person says to what a run waits for."""

    is_approved: bool
    by: str
    """Who it was, for the record."""
    call_id: str | None = None
    """To which call; to all that wait when None."""
    reason: str = ""
    """What the agent is told of a no."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """How a run stands, or has ended."""

    run_id: str
    session_id: str
    agent: str
    model: str
    status: RunStatus
    steps: Sequence[Step]
    """Those that were asked for."""
    last_step: int
    """The number of the last step so far."""
    answer: str = ""
    output: JsonValue = None
    """The answer of an agent that fills a schema; None where it is text."""
    error: str = ""
    used: str = ""
    """What it has used and cost, in words."""
    usage: Mapping[str, JsonValue] = field(default_factory=dict)
    files: Sequence[ChangedFile] = ()
    """Each path that it has changed, as it was changed last."""
    more_files: int = 0
    """How many more there are than are told."""
    questions: Sequence[Question] = ()
    """What it waits for."""


class HostModel(Protocol):
    """The model of the host that has made a call, asked by MCP's sampling."""

    @property
    def has_tools(self) -> bool:
        """Whether it can be given tools."""
        ...

    def check(self) -> None:
        """Raise InvalidInputError if it cannot be asked at all; it says what to do instead."""
        ...

    async def ask(
        self, params: "mcp_types.CreateMessageRequestParams"
    ) -> "mcp_types.CreateMessageResultWithTools":
        """Return its answer.

        Raises:
            UnavailableError: the host refuses, fails or is gone.
        """
        ...


class AgentRunner(Protocol):
    """Runs agents. A run goes on by itself until it has ended or somebody cancels it."""

    def of(self, caller: str, grant: Grant) -> "AgentRunner":
        """Return what one of several callers has of it: runs of its own, each within `grant`.

        Args:
            caller: A name that nobody else has.
            grant: What the caller may do, which no agent that it runs exceeds.
        """
        ...

    async def agents(self) -> Sequence[RunnableAgent]:
        """Return the agents there are, by name."""
        ...

    async def start(self, order: Order, host: HostModel) -> str:
        """Start a run and return its id.

        Raises:
            ServerError: it cannot begin; nothing is on record then.
        """
        ...

    def follow(self, run_id: str, *, after: int = 0) -> AsyncIterator[Step]:
        """Yield the steps of a run whose number is above `after`, as they come, to its end.

        Raises:
            NotFoundError: there is no such run.
        """
        ...

    async def report(self, run_id: str, *, after: int = 0) -> RunReport:
        """Return how a run stands, with its steps above `after`.

        Raises:
            NotFoundError: there is no such run.
        """
        ...

    async def answer(self, run_id: str, verdict: Verdict, host: HostModel) -> str | None:
        """Write down what was said; return the run that goes on if nothing is left to answer.

        That is the one that nobody has asked, whichever of the runs that wait for it is named.

        Raises:
            NotFoundError: there is no such run, or no such question.
            ConflictError: it does not wait, or more than one call that waits has this id.
            LimitError: no more runs may be under way; nothing was written down.
        """
        ...

    async def cancel(self, run_id: str) -> None:
        """Stop a run, and return once that is on record.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended, or its process does not answer.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class TranscriptCard:
    """A session on record, as far as a listing tells."""

    id: str
    title: str
    agent: str


class Transcripts(Protocol):
    """What agents have done in this root, as a person reads it."""

    def of(self, caller: str, grant: Grant) -> "Transcripts":
        """Return those of the runs that one caller has begun with a grant; see `AgentRunner.of`."""
        ...

    async def list(self) -> Sequence[TranscriptCard]:
        """Return the latest sessions of this root, the last one first."""
        ...

    async def read(self, session_id: str) -> str:
        """Return a session as Markdown; of one under way, what is settled.

        Raises:
            NotFoundError: this root has no such session.
        """
        ...

    async def version(self, session_id: str) -> str:
        """Return what is another text when the session has gone on.

        Raises:
            NotFoundError: this root has no such session.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Offers:
    """What a server has beside files. Of what is None, a client sees no trace."""

    catalog: AgentCatalog | None = None
    runner: AgentRunner | None = None
    transcripts: Transcripts | None = None
    patience_s: float = 45
    """How long a call waits for the end of a run: hosts cut calls at about a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What the operator of a server has said, as far as it matters to those who run agents."""

    root: str
    grant: Grant
    """What no caller exceeds, and no agent either."""
    model: str | None = None
    """The model for every run; `client` is the host's own."""
    specs: str | None = None
    """A directory of the operator's own agents."""


class Line(Protocol):
    """The connection that a request came over, where its transport can tell that it has ended.

    A call is cancelled when its client cancels it, and when the client is gone. Only the first is a
    wish to stop what the call has begun.
    """

    @property
    def is_over(self) -> bool:
        """Whether the client is gone."""
        ...


class Embedder(Protocol):
    """Adds to the command line of the server, and to what is served."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the flags of what is offered."""
        ...

    def denied(self, arguments: argparse.Namespace) -> tuple[str, ...]:
        """Return globs of what is the embedder's own below the root: no caller may touch it.

        Raises:
            ServerError: what the flags say cannot be used.
        """
        ...

    def open(
        self, arguments: argparse.Namespace, grant: Grant, *, runs_agents: bool
    ) -> AbstractAsyncContextManager[Offers]:
        """Open what is offered, for as long as the server serves.

        A host waits for this at every start: what takes long to load, loads when it is used.
        Leaving it waits for runs under way, within a bound.

        Args:
            arguments: What the operator has said.
            grant: What no caller exceeds, and no agent either.
            runs_agents: Whether callers may run agents.
        """
        ...
