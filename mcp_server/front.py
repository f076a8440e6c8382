"""The first answers, given while the server is still being loaded.

To load it takes most of a second, and a host asks the same at each start: who is there, and which
tools and prompts. What the server has answered is kept (`mcp_server.remembered`), and a thread
gives the same answer to the same request while the main thread imports. The server is then told
everything that was said, as if it had been there; of what was answered before, it sends nothing.

Nothing is done here, only told: what was not asked before, and all that is more than a listing,
waits for the server. This module and what it imports are of the standard library alone
(docs/decisions/0020-answers-before-the-server.md).
"""

import json
import os
import select
import sys
import threading
from collections.abc import Sequence
from typing import Self

from mcp_server.remembered import Asker, Memory

_CHUNK_BYTES = 1 << 16
_MAX_HEARD_BYTES = 1 << 18
"""Who says more than that ahead of the server has it wait in the pipe."""


class Front:
    """What was heard and answered before the server was there; `mcp_server.stdio` takes it over."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.heard = b""
        """All that has come from stdin, the last line perhaps in part."""
        self.unsent = b""
        """What nobody had read yet when the server came."""
        self.has_ended = False
        """Whether stdin has."""
        self.answered: dict[int | str | None, str] = {}
        """The results that were told, by the requests' ids."""
        self._asker = Asker()
        self._thread: threading.Thread | None = None
        self._stop = self._stopped = -1

    @classmethod
    def opened(cls, program: str, arguments: Sequence[str]) -> Self:
        """Return the front of this process; it answers if there is anything to answer with."""
        front = cls(Memory.of(program, arguments))
        has_streams = sys.__stdin__ is not None and sys.__stdout__ is not None
        if has_streams and front.memory.recall():
            front._start()
        return front

    def hand_over(self) -> None:
        """Answer nothing more; from here on stdin and stdout are the server's."""
        if self._thread is not None:
            os.close(self._stopped)
            self._thread.join()
            os.close(self._stop)

    def _start(self) -> None:
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._answer_what_comes, name="front", daemon=True)
        self._thread.start()

    def _answer_what_comes(self) -> None:
        rest = b""
        while not self.unsent and len(self.heard) < _MAX_HEARD_BYTES and self._has_input():
            try:
                chunk = os.read(0, _CHUNK_BYTES)
            except OSError:  # the server meets it too, and says so
                return
            self.has_ended = not chunk
            self.heard += chunk
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._answer(line)
            if not chunk:
                return

    def _has_input(self) -> bool:
        readable, _, _ = select.select([0, self._stop], [], [])
        return self._stop not in readable

    def _answer(self, line: bytes) -> None:
        try:
            number, key = self._asked(line)
        except (ValueError, RecursionError):  # the server says what is wrong with it
            return
        result = self.memory.results.get(key) if key else None
        if result is None or self.unsent:
            return
        self.answered[number] = result
        self._send(f'{{"jsonrpc":"2.0","id":{json.dumps(number)},"result":{result}}}\n')

    def _asked(self, line: bytes) -> tuple[int | str, str | None]:
        """Return id and key of the request that a line is.

        Raises:
            ValueError: something about it is odd.
        """
        request = json.loads(line)
        if not isinstance(request, dict) or request.get("jsonrpc") != "2.0":
            raise ValueError
        number, method = request.get("id"), request.get("method")
        if not isinstance(number, int | str) or isinstance(number, bool):
            raise ValueError
        if not isinstance(method, str) or (isinstance(number, str) and not number.isascii()):
            raise ValueError
        return number, self._asker.key(method, request.get("params"))

    def _send(self, answer: str) -> None:
        """Write without ever waiting for a reader while the server is there to wait."""
        self.unsent = answer.encode()
        while self.unsent:
            readable, _, _ = select.select([self._stop], [1], [])
            if readable:
                return
            try:
                # A pipe that is writable takes so much at once, says POSIX.
                self.unsent = self.unsent[os.write(1, self.unsent[: select.PIPE_BUF]) :]
            except OSError:  # the server meets it too
                return
