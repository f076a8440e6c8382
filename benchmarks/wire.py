"""One raw client for every server: lines of JSON-RPC through pipes, so that it costs all the same.

No SDK stands in between, and an answer is looked at only after the clock has stopped.
"""

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Self

Message = Mapping[str, object]

CLIENT = {"name": "benchmark", "version": "0"}

HANDSHAKE: tuple[Message, ...] = (
    {
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT},
    },
    {"method": "notifications/initialized"},
    {"id": 2, "method": "tools/list"},
)
"""What hosts say up to protocol 2025-11-25."""


@dataclass(frozen=True)
class Wire:
    """A server that runs, and the pipes to it."""

    process: int
    stdin: IO[bytes]
    stdout: IO[bytes]
    log: IO[bytes]

    @classmethod
    @contextmanager
    def opened(cls, command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Self]:
        """Spawn a server and wait for its end; its log is shown only when an answer is wrong."""
        with (
            tempfile.TemporaryFile() as log,
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            ) as process,
        ):
            assert process.stdin is not None, "it was asked for"
            assert process.stdout is not None, "it was asked for"
            yield cls(process.pid, process.stdin, process.stdout, log)

    def say(self, messages: Sequence[Message]) -> bytes:
        """Say each message when the one before is answered; return the last answer."""
        answer = b""
        for message in messages:
            self.stdin.write(_line(message))
            self.stdin.flush()
            if "id" in message:
                answer = self.stdout.readline()
        return answer

    def say_at_once(self, messages: Sequence[Message]) -> list[bytes]:
        """Say all requests without waiting; return the answers, in whatever order they come."""
        lines = b"".join(map(_line, messages))

        def write() -> None:
            self.stdin.write(lines)
            self.stdin.flush()

        writer = threading.Thread(target=write)  # both pipes are smaller than what goes through
        writer.start()
        answers = [self.stdout.readline() for _ in messages]
        writer.join()
        return answers

    def result(self, answer: bytes) -> dict[str, object]:
        """Return the result in an answer; anything else stops the benchmark."""
        message = json.loads(answer or b"{}")
        result = message.get("result", {"isError": True})
        assert not result.get("isError"), f"{answer[:2000]!r}; the log: {self._logged()}"
        assert isinstance(result, dict)
        return result

    def _logged(self) -> str:
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-2000:]


def tool_call(number: int, tool: str, arguments: Mapping[str, object]) -> Message:
    """Return the request for a call of a tool."""
    return {"id": number, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}


def _line(message: Message) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
