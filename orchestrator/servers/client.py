"""A client of a server of the registry, which is looked for when it is connected to."""

import datetime
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self, Unpack  # Any: JSON as it goes and comes

import mcp_types
from fastmcp.client import Client
from fastmcp.client.logging import LogMessage
from fastmcp.client.progress import ProgressHandler
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession
from mcp.client.caching import CacheMode
from pydantic import ValidationError

from orchestrator.errors import ServerUnavailableError, causes
from orchestrator.servers.address import AddressTransport
from orchestrator.servers.process import ProcessTransport
from orchestrator.servers.registry import Registry, Server
from orchestrator.servers.results import Cleaning

MAX_PAGES = 20
"""Of a server's list of tools."""

MAX_PROBLEM_BYTES = 500
"""Of what a server says about what is wrong."""


@dataclass(frozen=True)
class NamedServer:
    """A server of the registry, with what it takes to connect to it."""

    name: str
    settings: Server
    directory: Path
    """That of `servers.toml`."""

    @classmethod
    def of(cls, registry: Registry, name: str) -> Self:
        """Return a server of the registry.

        Raises:
            NotFoundError: There is none of that name.
        """
        return cls(name, registry.get(name), registry.directory)

    def check(self) -> None:
        """Refuse a server that cannot be connected to as things are.

        Raises:
            ServerUnavailableError: A variable that it needs is not set.
        """
        if missing := self.settings.missing(os.environ):
            verb = "is" if len(missing) == 1 else "are"
            problem = f"needs what is not there: {', '.join(missing)} {verb} not set."
            raise ServerUnavailableError(self.name, problem)

    @cached_property
    def transport(self) -> ProcessTransport | AddressTransport:
        """The way to it; not connected. It is there when `check` has passed."""
        its = self.settings
        if its.command is not None:
            env = {name: os.environ[name] for name in its.env}
            return ProcessTransport(its.command, env, self.directory)
        assert its.url is not None, "a server has either a command or a url"
        return AddressTransport(its.url, {name: _filled(v) for name, v in its.headers.items()})

    @cached_property
    def cleaning(self) -> Cleaning:
        """What is done to results."""
        secrets = [os.environ.get(name, "") for name in self.settings.variables]
        return Cleaning(self.settings.result_bytes, secrets)

    def fault(self, error: BaseException, what: str) -> ServerUnavailableError:
        """Return the error that says what has become of a server.

        Args:
            error: What the client has raised.
            what: What could not be done.
        """
        about = f" ({self.transport.problem})" if self.transport.problem else ""
        told = " ".join(f"{_said(error)}{about}".split())
        cleaning = Cleaning(MAX_PROBLEM_BYTES, self.cleaning.secrets)
        return ServerUnavailableError(self.name, f"{what}: {cleaning.text(told).rstrip('.')}.")


def _said(error: BaseException) -> str:
    """Return what is wrong, without what is for programmers."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        if isinstance(cause, ValidationError):
            return "what it answers is none of MCP"
    return str(error) or type(error).__name__


def _filled(value: str) -> str:
    """Return what a header holds: the variable's value in place of its name."""
    word, _, rest = value.partition("${")
    return word + os.environ[rest.removesuffix("}")]


class ServerClient(Client[ClientTransport]):
    """Connects to a server, and gives its results made fit for agents.

    It declares no abilities: a server can ask nothing of it, neither its user nor its model.
    """

    def __init__(self, find: Callable[[], NamedServer]) -> None:
        # Who uses it says how long anything may take.
        super().__init__(_Late(find), timeout=0, init_timeout=0, log_handler=_unheard)
        self._found = find

    async def list_tools(
        self, max_pages: int = MAX_PAGES, *, cache_mode: CacheMode = "use"
    ) -> list[mcp_types.Tool]:
        """Return its tools, within a bound."""
        return await super().list_tools(max_pages, cache_mode=cache_mode)

    async def call_tool_mcp(
        self,
        name: str,
        arguments: dict[str, Any],
        progress_handler: ProgressHandler | None = None,
        timeout: datetime.timedelta | float | int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> mcp_types.CallToolResult:
        """Call a tool, and clean what comes back."""
        result = await super().call_tool_mcp(name, arguments, progress_handler, timeout, meta)
        return self._found().cleaning.result(result)


async def _unheard(message: LogMessage) -> None:
    """Leave out what a server logs: it may be anything."""


class _Late(ClientTransport):
    """Finds out where the server is when it connects."""

    def __init__(self, find: Callable[[], NamedServer]) -> None:
        self._find = find

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncGenerator[ClientSession]:
        transport = self._find().transport
        async with transport.connect_session(**session_kwargs) as session:
            yield session
