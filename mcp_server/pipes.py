"""stdin and stdout as bytes that the event loop itself reads and writes, without threads.

No descriptor is made non-blocking: that flag belongs to what is open, not to its number, so that it
would hold for the terminal, or for whoever else inherited the same pipe, during our time and after
a kill. It is not needed either. What is reported as readable can be read without waiting; a pipe
that is reported as writable takes `PIPE_BUF` bytes at once, says POSIX; a socket can be asked not
to wait. Files and terminals promise nothing, and epoll refuses files: a thread copies those from or
to a pipe.
"""

import asyncio
import errno
import fcntl
import os
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio

_CHUNK_BYTES = 1 << 16
_FIRST_OTHER = 3
"""The descriptors below are those that the process was born with."""


@contextmanager
def standard_streams() -> Iterator[tuple[int, int]]:
    """Yield private descriptors of stdin and stdout, and keep everybody else away from the two.

    Meanwhile 0 is empty and 1 is stderr: what a library prints, and what a child reads or writes,
    cannot get between the messages.

    Raises:
        OSError: one of them is closed.
    """
    private = (_duplicate(0), _duplicate(1))
    with open(os.devnull, "r+b", buffering=0) as null:
        os.dup2(null.fileno(), 0)
        try:
            os.dup2(2, 1)
        except OSError:  # stderr is closed
            os.dup2(null.fileno(), 1)
    try:
        yield private
    finally:
        sys.stdout.flush()  # while what was printed still goes to stderr
        for number, fd in enumerate(private):
            os.dup2(fd, number)
            os.close(fd)


class Input:
    """What comes from a descriptor, handed to `received` as it comes; `b""` is the end."""

    def __init__(self, fd: int, received: Callable[[bytes], None]) -> None:
        self._copier = None if _is_pollable(fd) else _Copier.of_input(fd)
        self._fd = self._copier.fd if self._copier else fd
        self._received = received

    def resume(self) -> None:
        """Let bytes come."""
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def pause(self) -> None:
        """Leave what comes to the kernel, which makes the sender wait when its buffer is full."""
        asyncio.get_running_loop().remove_reader(self._fd)

    def close(self) -> None:
        """Read no more."""
        self.pause()
        if self._copier:
            os.close(self._fd)

    def _read(self) -> None:
        try:
            chunk = os.read(self._fd, _CHUNK_BYTES)
        except BlockingIOError:  # inherited as non-blocking, and another reader was faster
            return
        except OSError:  # the other side has reset it
            chunk = b""
        if not chunk:
            self.pause()
        self._received(chunk)


class Output:
    """What goes to a descriptor; it waits here while the other side does not read."""

    def __init__(self, fd: int, changed: Callable[[], None]) -> None:
        """Call `changed` when something has gone out later than it came, and at a fault."""
        self.fault: OSError | None = None
        """Why nothing goes out any more."""
        self._copier = None if _is_pollable(fd) else _Copier.of_output(fd)
        self._fd = self._copier.fd if self._copier else fd
        self._changed = changed
        self._waiting = bytearray()
        self._send = _sender(self._fd)

    @property
    def waiting_bytes(self) -> int:
        """How much has not gone out yet."""
        return len(self._waiting)

    def write(self, data: bytes) -> None:
        """Let `data` go out, now or when there is room; in vain after a fault."""
        if self.fault is None:
            self._waiting += data
            if len(self._waiting) == len(data):
                self._flush()

    def look(self) -> None:
        """Note a fault if nobody is left to read, without writing anything."""
        poll = select.poll()
        poll.register(self._fd, 0)  # a fault is reported whether it is asked for or not
        if self.fault is None and any(
            e & (select.POLLERR | select.POLLHUP) for _, e in poll.poll(0)
        ):
            self.fault = BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            self._waiting.clear()

    async def close(self) -> None:
        """Wait until a thread has written what it was given, and end it."""
        asyncio.get_running_loop().remove_writer(self._fd)
        if self._copier:
            os.close(self._fd)
            await anyio.to_thread.run_sync(self._copier.join, abandon_on_cancel=True)
            self.fault = self._copier.fault or self.fault

    def _flush(self) -> None:
        try:
            while self._waiting and (sent := self._send(self._waiting)):
                del self._waiting[:sent]
        except OSError as error:
            self.fault = error
            self._waiting.clear()
        if self._waiting:
            asyncio.get_running_loop().add_writer(self._fd, self._flush_later)
        elif self.fault:
            self._changed()

    def _flush_later(self) -> None:
        asyncio.get_running_loop().remove_writer(self._fd)
        self._flush()
        self._changed()


class _Copier(threading.Thread):
    """Copies from one descriptor to another, both of which are its own, in a thread."""

    def __init__(self, source: int, target: int, fd: int) -> None:
        super().__init__(name="stdio", daemon=True)  # one that waits for a terminal holds up nobody
        self.fault: OSError | None = None
        self.fd = fd
        """The end of the pipe that is for others."""
        self._source = source
        self._target = target
        self.start()

    @classmethod
    def of_input(cls, fd: int) -> "_Copier":
        ours, target = os.pipe()
        return cls(_duplicate(fd), target, ours)

    @classmethod
    def of_output(cls, fd: int) -> "_Copier":
        source, ours = os.pipe()
        return cls(source, _duplicate(fd), ours)

    def run(self) -> None:
        try:
            while chunk := self._read():
                while chunk:
                    select.select([], [self._target], [])
                    chunk = chunk[os.write(self._target, chunk) :]
        except OSError as error:
            self.fault = error
        finally:
            os.close(self._source)
            os.close(self._target)

    def _read(self) -> bytes:
        # Without it a terminal would fail that another process has left non-blocking.
        select.select([self._source], [], [])
        return os.read(self._source, _CHUNK_BYTES)


def _duplicate(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_OTHER)


def _is_pollable(fd: int) -> bool:
    mode = os.fstat(fd).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _sender(fd: int) -> Callable[[bytearray], int]:
    """Return what writes the start of some bytes without waiting and says how many it took."""
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)

        def to_pipe(data: bytearray) -> int:
            return os.write(fd, data[: select.PIPE_BUF]) if poll.poll(0) else 0

        return to_pipe

    def to_socket(data: bytearray) -> int:
        try:
            return connection.send(data[:_CHUNK_BYTES], socket.MSG_DONTWAIT)
        except BlockingIOError:
            return 0

    connection = socket.socket(fileno=_duplicate(fd))
    return to_socket
