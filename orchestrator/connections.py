"""How an agent reaches its workspace: the MCP server, over stdio or in process.

Grant and confinement are the same in both. The subprocess is the default: it isolates faults too.
The one in process is for services, tests and embedding.
"""

import datetime
import os
import sys
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, Self, Unpack  # Any: JSON as it goes and comes

import anyio
import mcp_types
from fastmcp.client import Client
from fastmcp.client.progress import ProgressHandler
from fastmcp.client.transports import ClientTransport, StdioTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession
from mcp.shared.memory import create_client_server_memory_streams

from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.server import create_server
from mcp_server.settings import JournalSettings
from orchestrator.history.door import journal_in, opened, translated
from orchestrator.settings import load_settings


class WorkspaceConnection(Protocol):
    """Where a workspace is, and how a client gets there."""

    def transport(self, grant: Grant) -> ClientTransport:
        """Return a transport, not yet connected, to a server that enforces `grant`."""
        ...

    def check(self, grant: Grant) -> None:
        """Raise InvalidInputError if no server can be started with `grant`."""
        ...

    def within(self, grant: Grant) -> Self:
        """Return the same place for somebody who must not do more than `grant` allows."""
        ...

    def workspace(self, grant: Grant) -> AbstractAsyncContextManager[Workspace]:
        """Return the workspace itself, to be opened in this process, for who has `grant`."""
        ...


@dataclass(frozen=True)
class _Place:
    """A workspace, and what its operator lets anybody do there."""

    root: Path
    deny: tuple[str, ...] = ()
    """Globs of what is out of reach, beyond what the grants deny."""
    state_dir: Path = field(default_factory=lambda: load_settings().state_dir)
    """Where changes are recorded."""
    grant: Grant = field(default_factory=Grant.full)
    """The operator's: what a caller is granted counts only within it."""

    def check(self, grant: Grant) -> None:
        """Refuse a grant that no server can be started with here.

        Raises:
            InvalidInputError: It lets files be changed, and the journal would lie below the root.
        """
        if all(self._narrowed(grant).writable):
            with translated():
                self._journal().directory_for(os.path.realpath(self.root))

    def within(self, grant: Grant) -> Self:
        """Return the same place for somebody who must not do more than `grant` allows."""
        return replace(self, grant=self.grant.narrowed_by(grant))

    def workspace(self, grant: Grant) -> AbstractAsyncContextManager[Workspace]:
        """Return the workspace itself, to be opened in this process, for who has `grant`."""
        return opened(self.root, self._narrowed(grant), self._journal())

    def _narrowed(self, grant: Grant) -> Grant:
        return self.grant.narrowed_by(grant).denying(self.deny)

    def _journal(self) -> JournalSettings:
        with translated():
            return journal_in(self.state_dir)


@dataclass(frozen=True)
class StdioConnection(_Place):
    """A server in a process of its own, which ends when the client closes."""

    def transport(self, grant: Grant) -> ClientTransport:
        """Return a transport that starts the server when it connects."""
        # -P: Python must not import from the current directory, which may be the workspace itself.
        arguments = ["-P", "-m", "mcp_server", "--root", str(self.root)]
        arguments += ["--grant", self._narrowed(grant).model_dump_json()]
        # The process's own stderr: what stands in its place in a notebook or a test is no file.
        log_file = sys.__stderr__ or Path(os.devnull)
        return StdioTransport(
            sys.executable,
            arguments,
            # On top of HOME, PATH and the like; none of the keys that this process has.
            env=self._journal().environ,
            keep_alive=False,
            log_file=log_file,
        )


@dataclass(frozen=True)
class InProcessConnection(_Place):
    """The same server in this process, over memory streams."""

    def transport(self, grant: Grant) -> ClientTransport:
        """Return a transport that opens the workspace when it connects."""
        return _MemoryTransport(self.root, self._narrowed(grant), self._journal())


_Meta = dict[str, Any]
_heard: ContextVar[_Meta | None] = ContextVar("heard", default=None)


@contextmanager
def hearing() -> Iterator[Mapping[str, Any]]:
    """Give what the `_meta` says of the results that a `MetaClient` gets meanwhile, in this task.

    Pydantic AI hands on the content of a result alone.
    """
    heard: _Meta = {}
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


class MetaClient(Client[ClientTransport]):
    """A client that lets whoever is `hearing` know what a result's `_meta` says."""

    async def call_tool_mcp(
        self,
        name: str,
        arguments: dict[str, Any],
        progress_handler: ProgressHandler | None = None,
        timeout: datetime.timedelta | float | int | None = None,
        meta: _Meta | None = None,
    ) -> mcp_types.CallToolResult:
        """Call a tool, as every `Client` does."""
        result = await super().call_tool_mcp(name, arguments, progress_handler, timeout, meta)
        heard = _heard.get()
        if heard is not None:
            heard.update(result.meta or {})
        return result


class _MemoryTransport(ClientTransport):
    def __init__(self, root: Path, grant: Grant, journal: JournalSettings) -> None:
        self._root = root
        self._grant = grant
        self._journal = journal

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncGenerator[ClientSession]:
        """Serve the workspace in a task of its own while the session is open."""
        options = transport_options or TransportOptions()
        async with (
            opened(self._root, self._grant, self._journal) as workspace,
            create_client_server_memory_streams() as ((read, write), (server_read, server_write)),
            anyio.create_task_group() as tasks,
        ):
            server = create_server(workspace)
            start = server.create_initialization_options()
            tasks.start_soon(server.run, server_read, server_write, start)
            session_class = options.session_class
            async with session_class(read_stream=read, write_stream=write, **session_kwargs) as s:
                yield s
            tasks.cancel_scope.cancel()
