"""Which of the operator's servers an agent gets at, and what of each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self  # Any: a toolset serves agents with deps of any type

from pydantic_ai.toolsets import AbstractToolset

from orchestrator.servers.client import NamedServer
from orchestrator.servers.registry import load_servers
from orchestrator.servers.toolset import server_toolset

Held = Mapping[str, frozenset[str]]
"""Tools by the names of their servers."""


class Servers(Protocol):
    """Where an agent's tools of a named server come from."""

    def toolset(self, name: str, tools: tuple[str, ...]) -> AbstractToolset[Any] | None:
        """Return tools of a server; None if none of them may be used."""
        ...

    def narrowed(self, name: str, tools: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the tools that whoever asks for the agent holds too."""
        ...

    def within(self, held: Held) -> Self:
        """Return the same for somebody who must not have more than `held`."""
        ...


@dataclass(frozen=True)
class RegisteredServers:
    """The servers of `servers.toml`, as it is when a run needs it."""

    config_dir: Path
    held: Held | None = None
    """What those above the agent hold; None if nobody is above it."""

    def toolset(self, name: str, tools: tuple[str, ...]) -> AbstractToolset[Any] | None:
        """Return tools of a server; see `Servers`. Whether it is there shows when it is opened."""
        allowed = self.narrowed(name, tools)
        return server_toolset(name, allowed, lambda: self._find(name)) if allowed else None

    def narrowed(self, name: str, tools: tuple[str, ...]) -> tuple[str, ...]:
        """Return those of the tools that those above hold too; see `Servers`."""
        if self.held is None:
            return tools
        return tuple(tool for tool in tools if tool in self.held.get(name, ()))

    def within(self, held: Held) -> Self:
        """Return the same for somebody with less; see `Servers`."""
        both = {name: frozenset(self.narrowed(name, (*tools,))) for name, tools in held.items()}
        return replace(self, held=both)

    def _find(self, name: str) -> NamedServer:
        return NamedServer.of(load_servers(self.config_dir), name)
