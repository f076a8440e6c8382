"""A server in a process of its own, over stdio.

The SDK's transport holds a line of any length, in a time that grows with its square: one server
that floods would slow down every run of this process. And what a server says on stderr would go to
the terminal; here its end is kept, for the error that says why it did not start.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Unpack

import anyio
from anyio.abc import (
    ByteReceiveStream,
    ByteSendStream,
    ObjectReceiveStream,
    ObjectSendStream,
    Process,
)
from anyio.streams.buffered import BufferedByteReceiveStream
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage
from mcp_types import jsonrpc_message_adapter

from orchestrator.servers.wire import MAX_MESSAGE_BYTES, UncheckedSession

END_S = 1.0
"""How long a server may take to end when its stdin is closed, and again when it is told to."""

KEPT_CHARS = 2000
"""Of what a server says on stderr."""


@dataclass
class ProcessTransport(ClientTransport):
    """Starts a server when it connects, and ends it when the client closes."""

    command: list[str]
    env: dict[str, str]
    """On top of HOME, PATH and the like."""
    directory: Path
    """Where it runs."""
    _said: str = field(default="", init=False)
    """The end of what it has said on stderr."""
    _end: Literal["", "ended", "flooded"] = field(default="", init=False)

    @property
    def problem(self) -> str:
        """What is wrong, as far as the transport knows."""
        if self._end == "flooded":
            return f"it has sent more than {MAX_MESSAGE_BYTES:,} bytes at once, and was given up"
        return self._said.strip().rpartition("\n")[2] if self._end else ""

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncGenerator[ClientSession]:
        """Start the server and speak with it.

        Raises:
            OSError: It cannot be started.
        """
        self._said, self._end = "", ""
        into_session, from_server = anyio.create_memory_object_stream[SessionMessage | Exception]()
        to_server, from_session = anyio.create_memory_object_stream[SessionMessage]()
        async with (
            into_session,
            from_server,
            to_server,
            from_session,
            self._process() as process,
            anyio.create_task_group() as tasks,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            tasks.start_soon(self._read, process.stdout, into_session)
            tasks.start_soon(_write, process.stdin, from_session)
            tasks.start_soon(self._hear, process.stderr)
            async with UncheckedSession(from_server, to_server, **session_kwargs) as session:
                yield session
            tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def _process(self) -> AsyncGenerator[Process]:
        process = await anyio.open_process(
            self.command,
            env=get_default_environment() | self.env,
            cwd=self.directory,
            start_new_session=True,  # with what it starts itself, it is ended as one
        )
        try:
            yield process
        finally:
            with anyio.CancelScope(shield=True):
                await _end(process)

    async def _read(
        self, stdout: ByteReceiveStream, session: ObjectSendStream[SessionMessage | Exception]
    ) -> None:
        lines = BufferedByteReceiveStream(stdout)
        async with session:
            try:
                while True:
                    line = await lines.receive_until(b"\n", MAX_MESSAGE_BYTES)
                    await session.send(_message(line))
            except anyio.DelimiterNotFound:
                self._end = "flooded"
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                self._end = "ended"  # closing the stream tells whoever waits

    async def _hear(self, stderr: ByteReceiveStream) -> None:
        async for chunk in stderr:
            self._said = (self._said + chunk.decode(errors="replace"))[-KEPT_CHARS:]


async def _write(stdin: ByteSendStream, session: ObjectReceiveStream[SessionMessage]) -> None:
    try:
        async for sent in session:
            text = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
            await stdin.send(text.encode() + b"\n")
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass  # it has ended: the end of its stdout tells whoever waits


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError:
        # What is no message belongs to none; its words stay out of logs.
        return ValueError("a line is no message")


async def _end(process: Process) -> None:
    """End a process as the specification says: close its stdin, wait, tell it, kill it.

    Source: MCP 2025-11-25, "Lifecycle", Shutdown.
    """
    assert process.stdin is not None, "it is started with pipes"
    await process.stdin.aclose()
    with anyio.move_on_after(END_S):
        await process.wait()
    await terminate_posix_process_tree(process, END_S)
    await process.aclose()
