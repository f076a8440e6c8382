"""What whoever embeds the server can offer beside files: agents to be, agents to run, the record.

The server asks for it through these protocols and knows nothing of who stands behind them. Every
method raises the branches of `ServerError`, with messages that name no place on the host.
"""

import argparse
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from pydantic import JsonValue


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


class AgentRunner(Protocol):
    """Runs agents for real; with one, the server has the tool `run_agent`."""


@dataclass(frozen=True, kw_only=True)
class TranscriptCard:
    """A session on record, as far as a listing tells."""

    id: str
    title: str
    agent: str


class Transcripts(Protocol):
    """What agents have done in this root, as a person reads it."""

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

    def open(self, arguments: argparse.Namespace) -> AbstractAsyncContextManager[Offers]:
        """Open what is offered, for as long as the server serves.

        A host waits for this at every start: what takes long to load, loads when it is used.
        """
        ...
