"""MCP over stdin and stdout: each line is answered, none ends the server, and a flood is bounded.

A transport of our own: that of the SDK leaves a line that it cannot parse without an answer, dies
of a lone surrogate in a result, and hands each line from thread to thread
(docs/decisions/0010-own-stdio-transport.md).

Of requests that come faster than they are done, `MAX_AT_ONCE` are worked on at a time. The others
wait here; cancellations, answers and pings pass them. There is room for `MAX_HELD_BYTES` of them
and of answers that nobody has read; without room nothing is read, so that the client has to wait.
It may thus write that much ahead of reading, and one that never reads stops itself alone.
A request to listen is no work: it takes nobody's turn, and its stream ends with stdin.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import NamedTuple, Self, TypeGuard

import anyio
import mcp_types as types
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import cancelled_request_id_from_params
from mcp.shared.message import ServerMessageMetadata, SessionMessage

from mcp_server.front import Front
from mcp_server.opening import Opening
from mcp_server.pipes import Input, Output, standard_streams
from mcp_server.wire import Lines, NotAMessageError, decode, encode

MAX_AT_ONCE = 64
MAX_HELD_BYTES = 1 << 22
_MAX_UNREAD_BYTES = 1 << 20  # of answers: with more of them nothing is begun

_LOOK_S = 0.1
"""How often to look whether anybody is left to read answers, once nothing more comes."""

_CANCELLED = "notifications/cancelled"
_LISTEN = "subscriptions/listen"

logger = logging.getLogger(__name__)


class _Held(NamedTuple):
    message: types.JSONRPCMessage
    size: int


class Stdio:
    """One connection: both the stream that the SDK receives from and the one it sends to."""

    def __init__(self, stdin: int, stdout: int, opening: Opening) -> None:
        self._opening = opening
        self._input = Input(stdin, self._received)
        self._output = Output(stdout, self._wake)
        self._lines = Lines()
        self._waiting: deque[_Held] = deque()
        self._passing: deque[_Held] = deque()
        self._held_bytes = self._at_once = 0
        self._is_reading = self._has_ended = False
        self._changed = asyncio.Event()
        self._metadata = ServerMessageMetadata(
            request_context=self, on_request_unanswered=self._settle
        )
        self._streams: set[types.RequestId] = set()
        self._output.write(opening.unsent)
        if opening.heard:
            self._received(opening.heard)
        if opening.has_ended:
            self._received(b"")
        self._steer()

    @property
    def fault(self) -> OSError | None:
        """Why answers could not be written; None also when the client did not want them."""
        return None if isinstance(self._output.fault, ConnectionError) else self._output.fault

    @property
    def is_over(self) -> bool:
        """Whether the client can say nothing more: a request that ends now, it did not cancel."""
        return self._has_ended or self._output.fault is not None

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            anyio.EndOfStream: there are no more, and all requests are answered; or nobody is left
                to read answers.
        """
        while (held := self._next()) is None:
            is_done = self._has_ended and not self._waiting and not self._at_once
            if is_done or self._output.fault:
                raise anyio.EndOfStream
            await self._change()
        self._held_bytes -= held.size
        self._steer()
        if isinstance(held.message, types.JSONRPCRequest):
            if held.message.method == _LISTEN:
                self._streams.add(held.message.id)
                return SessionMessage(held.message)
            self._at_once += 1
        return SessionMessage(held.message, self._metadata)

    async def send(self, item: SessionMessage) -> None:
        """Let a message go out.

        It never waits: a request that cannot be answered yet is not begun.

        Raises:
            anyio.BrokenResourceError: nobody is left to read it.
        """
        if self._output.fault:
            raise anyio.BrokenResourceError
        if not isinstance(item.message, types.JSONRPCResponse | types.JSONRPCError):
            self._output.write(encode(item.message))
        else:
            if message := self._opening.left_to_say(item.message):
                self._output.write(encode(message))
            await self._opening.keep()
            if item.message.id in self._streams:
                self._streams.discard(item.message.id)
            else:
                await self._settle()

    async def drained(self) -> None:
        """Wait until the client has taken all answers, or does not want them."""
        while self._output.waiting_bytes:
            await self._change()

    async def close(self) -> None:
        """End both sides."""
        self._input.close()
        await self._output.close()

    async def aclose(self) -> None:
        """Do nothing: the SDK closes the side that it reads from while it still writes."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    def _next(self) -> _Held | None:
        if self._output.waiting_bytes >= _MAX_UNREAD_BYTES:
            return None
        if self._passing:
            return self._passing.popleft()
        if self._waiting and self._at_once < MAX_AT_ONCE:
            return self._waiting.popleft()
        return None

    def _received(self, chunk: bytes) -> None:
        for line in self._lines.feed(chunk) if chunk else [self._lines.rest()]:
            self._take(line)
        self._has_ended = not chunk
        self._wake()

    def _take(self, line: bytes) -> None:
        if not line or line.isspace():
            return
        try:
            message = decode(line)
        except NotAMessageError as refusal:
            if refusal.answer:
                logger.info("refused: %s", refusal)
                self._output.write(encode(refusal.answer))
            else:
                logger.warning("dropped, as nobody waits for an answer: %s", refusal)
            return
        if not self._withdraws(message):
            if isinstance(message, types.JSONRPCRequest):
                self._opening.ask(message)
            self._held_bytes += len(line)
            queue = self._passing if _passes(message) else self._waiting
            queue.append(_Held(message, len(line)))

    def _withdraws(self, message: types.JSONRPCMessage) -> bool:
        """Forget the waiting request that `message` cancels; the SDK knows only those begun."""
        if not _cancels(message):
            return False
        cancelled = cancelled_request_id_from_params(message.params)
        for held in self._waiting:
            if cancelled is not None and _is_request(held.message, cancelled):
                self._waiting.remove(held)
                self._held_bytes -= held.size
                return True
        return False

    async def _settle(self) -> None:
        self._at_once -= 1
        self._changed.set()

    def _wake(self) -> None:
        self._steer()
        self._changed.set()

    async def _change(self) -> None:
        self._changed.clear()
        if not self._has_ended:
            await self._changed.wait()
            return
        # One that has said all may still read answers, and one that was killed does not: what
        # waits to be done for it must not be done behind its back.
        with anyio.move_on_after(_LOOK_S):
            await self._changed.wait()
        self._output.look()

    def _steer(self) -> None:
        """Read while there is room, and again when half of it is free."""
        limit = MAX_HELD_BYTES if self._is_reading else MAX_HELD_BYTES // 2
        has_room = self._held_bytes + self._output.waiting_bytes < limit
        if has_room != self._is_reading and not self._has_ended:
            (self._input.resume if has_room else self._input.pause)()
            self._is_reading = has_room


def _cancels(message: types.JSONRPCMessage) -> TypeGuard[types.JSONRPCNotification]:
    return isinstance(message, types.JSONRPCNotification) and message.method == _CANCELLED


def _passes(message: types.JSONRPCMessage) -> bool:
    """Whether requests that wait are no reason for `message` to wait."""
    is_answer = isinstance(message, types.JSONRPCResponse | types.JSONRPCError)
    is_ping = isinstance(message, types.JSONRPCRequest) and message.method == "ping"
    return is_answer or is_ping or _cancels(message)


def _is_request(message: types.JSONRPCMessage, request_id: types.RequestId) -> bool:
    return isinstance(message, types.JSONRPCRequest) and (
        coerce_request_id(message.id) == coerce_request_id(request_id)
    )


@asynccontextmanager
async def stdio_stream(front: Front, places: Sequence[str] = ()) -> AsyncIterator[Stdio]:
    """Yield the connection over this process's stdin and stdout, which are its alone meanwhile.

    Args:
        front: who has listened so far.
        places: files and directories that listings depend on.

    Raises:
        OSError: stdin or stdout is closed.
    """
    opening = Opening(front, places)
    with standard_streams() as descriptors:
        stream = Stdio(*descriptors, opening)
        try:
            yield stream
            await stream.drained()
        finally:
            await stream.close()
