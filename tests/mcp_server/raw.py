"""A client of the server's stdin and stdout that says any bytes."""

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TIMEOUT_S = 30  # of what takes milliseconds; several seconds at the start on a busy machine
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "start",
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "probe", "version": "1"},
    },
}

Answer = dict[str, Any]  # JSON as it comes


def line(number: object, method: str = "tools/call", params: object = None) -> bytes:
    read = {"name": "read_file", "arguments": {"path": "docs/guide.md"}}
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or read}
    return json.dumps(request).encode() + b"\n"


def called(number: object, name: str, **arguments: object) -> bytes:
    return line(number, params={"name": name, "arguments": arguments})


class Wire:
    """Both ends of a server's stdin and stdout, unbuffered, so that nothing hangs for ever."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: int, stdout: int) -> None:
        self.process = process
        self.stdin = stdin
        self.stdout = stdout
        self._read = bytearray()
        self.asked = 0

    def send(self, data: bytes) -> None:
        """Write all, reading meanwhile what would otherwise stop the server."""
        view = memoryview(data)
        while view:
            readable, writable, _ = select.select([self.stdout], [self.stdin], [], TIMEOUT_S)
            assert readable or writable, "the server neither reads nor writes"
            if readable:
                self._read += os.read(self.stdout, 1 << 16)
            if writable:
                view = view[os.write(self.stdin, view[: select.PIPE_BUF]) :]

    def answer(self, timeout_s: float = TIMEOUT_S) -> Answer:
        """Return the next answer."""
        while b"\n" not in self._read:
            readable, _, _ = select.select([self.stdout], [], [], timeout_s)
            assert readable, "no answer"
            chunk = os.read(self.stdout, 1 << 16)
            assert chunk, "the server has ended"
            self._read += chunk
        text, _, rest = bytes(self._read).partition(b"\n")
        self._read = bytearray(rest)
        answer: Answer = json.loads(text.decode())
        assert answer["jsonrpc"] == "2.0"
        return answer

    def answers(self, count: int) -> list[Answer]:
        return [self.answer() for _ in range(count)]

    def end(self) -> None:
        """Say that there is no more."""
        assert self.process.stdin is not None
        self.process.stdin.close()

    def rest(self) -> bytes:
        """Return what the server says until it ends."""
        while chunk := os.read(self.stdout, 1 << 16):
            self._read += chunk
        return bytes(self._read)

    def goes_on_serving(self) -> None:
        """Assert that a good call is answered, and nothing else."""
        self.asked += 1
        self.send(line(f"good {self.asked}"))
        answer = self.answer()
        assert answer["id"] == f"good {self.asked}"
        assert "Run main." in answer["result"]["content"][0]["text"]

    def initialize(self) -> None:
        self.send(json.dumps(INITIALIZE).encode() + b"\n")
        assert self.answer()["id"] == "start"

    def peak_bytes(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def command(root: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "mcp_server", "--root", str(root), *arguments]


@contextmanager
def serving(root: Path, *arguments: str, through: Sequence[str] = ()) -> Iterator[Wire]:
    """Start a server, or let the program `through` start it, and initialize the connection."""
    pipe = subprocess.PIPE
    words = [*through, *command(root, *arguments)]
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            wire = Wire(process, process.stdin.fileno(), process.stdout.fileno())
            wire.initialize()
            yield wire
        finally:
            process.kill()
