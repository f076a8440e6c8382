"""Two ways to open a path beneath a directory descriptor, with one contract.

The kernel's `openat2` with RESOLVE_BENEATH, and the component walk of Go's `os.Root` where that
call is missing. Both follow links that stay inside, refuse the others, and say what they opened by
its canonical path, which is what policy is asked about.

Not covered: hard links that lie inside already, and file systems mounted below the root.
Source: docs/decisions/0002-path-confinement.md.
"""

import ctypes
import errno
import os
import platform
import stat
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from mcp_server.errors import PathEscapeError
from mcp_server.fence import libc

Parts = tuple[str, ...]
"""A path in components; it holds neither "" nor ".", but may hold ".."."""

DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY
# O_NONBLOCK: opening a FIFO must not wait for its other end. O_NOCTTY: nor a terminal adopt us.
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY

# The limits of Go's os.Root: no honest path comes near them.
MAX_STEPS = 255
MAX_RESTARTS = 8
MAX_LINKS = 8
_MAX_TRIES = 64
"""openat2 gives EAGAIN while any directory is being renamed: 2.7 % of tries at worst."""

# A directory on the way is a place, not something to read; macOS has no O_PATH.
_STEP_FLAGS = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY


@dataclass(frozen=True, slots=True)
class Opened:
    """A descriptor and the canonical path of what it stands for; leaving `with` closes it."""

    fd: int
    path: str

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self.fd)


Opener = Callable[[int, Parts, int], Opened]
"""Opens components beneath a root descriptor with `os.open` flags.

Raises PathEscapeError for what leads out of the root, OSError for all else.
"""


def split(path: str) -> Parts:
    """Return the components of `path` without empty ones and dots."""
    return tuple(part for part in path.split("/") if part not in ("", "."))


def join(directory: str, name: str) -> str:
    """Return the canonical path of `name` in the directory with canonical path `directory`."""
    return name if directory == "." else f"{directory}/{name}"


def is_in(path: str, directory: str) -> bool:
    """Tell whether the canonical `path` is `directory` or below it."""
    return path == directory or path.startswith(directory + "/")


def best_opener(root_fd: int) -> Opener:
    """Return the kernel's opener where it works, else the walk."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "aarch64"):
        return open_by_walk
    try:
        with open_by_kernel(root_fd, (), DIRECTORY_FLAGS) as opened:
            return open_by_kernel if opened.path == "." else open_by_walk
    except OSError:  # an old kernel, a seccomp filter that does not know the call, or no /proc
        return open_by_walk


# --- the kernel's way

_OPENAT2 = 437  # the number on x86_64 and aarch64
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_BENEATH = 0x08


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def open_by_kernel(root_fd: int, parts: Parts, flags: int) -> Opened:
    """Open `parts` by one `openat2` call, which nothing can interleave with.

    Source: openat2(2), RESOLVE_BENEATH.
    """
    for _ in range(_MAX_TRIES):
        try:
            fd = _openat2(root_fd, "/".join(parts) or ".", flags)
        except BlockingIOError:  # EAGAIN: a rename somewhere made the kernel unsure
            continue
        except OSError as error:
            if error.errno == errno.EXDEV:
                raise PathEscapeError from error
            raise
        try:
            path = _canonical_path(fd, root_fd)
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
                break  # from "/" it is longer than the kernel tells: the walk starts at the root
            raise
        if path is not None:
            return Opened(fd, path)
        os.close(fd)
    return open_by_walk(root_fd, parts, flags)


def _openat2(directory_fd: int, path: str, flags: int) -> int:
    how = _OpenHow(flags=flags, mode=0, resolve=_RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    return libc.call(
        "syscall",
        ctypes.c_long(_OPENAT2),
        ctypes.c_int(directory_fd),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def _canonical_path(fd: int, root_fd: int) -> str | None:
    """Return the path from the root to `fd`, or None if it has left the root meanwhile."""
    root = os.readlink(f"/proc/self/fd/{root_fd}")
    path = os.readlink(f"/proc/self/fd/{fd}")
    if path.endswith(" (deleted)") and os.fstat(fd).st_nlink == 0:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if path == root:
        return "."
    prefix = root.rstrip("/") + "/"
    return path.removeprefix(prefix) if path.startswith(prefix) else None


# --- the walk


def open_by_walk(root_fd: int, parts: Parts, flags: int) -> Opened:
    """Open `parts` one by one, never through a link: a link is read and its target walked.

    `..` starts anew from the root with the list shortened, as the directory may have moved.
    Source: golang/go src/os/root_openat.go.
    """
    walk = _Walk(root_fd)
    try:
        pending = deque(parts)
        for _ in range(MAX_STEPS):
            if not pending:
                break
            pending = walk.step(pending, flags)
        else:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return Opened(walk.take(flags), "/".join(walk.done) or ".")
    finally:
        walk.close()


class _Walk:
    """Where the walk is: the open directory, and the real names that led to it."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._links = 0
        self._restarts = 0
        self.done: list[str] = []
        self.fd = os.dup(root_fd)
        self.is_target = False

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)

    def take(self, flags: int) -> int:
        """Return the descriptor of the target; the walk is over."""
        if not self.is_target:  # the root itself, or where a trailing `..` or link led back to
            return os.open(".", flags, dir_fd=self.fd)
        fd, self.fd = self.fd, -1
        return fd

    def step(self, pending: deque[str], flags: int) -> deque[str]:
        """Take one component and return those that are left."""
        name = pending.popleft()
        if name == "..":
            return self._restart(pending)
        last = not pending
        try:
            fd = os.open(
                name,
                (flags if last else _STEP_FLAGS) | os.O_NOFOLLOW | os.O_CLOEXEC,
                dir_fd=self.fd,
            )
        except OSError as error:
            # What O_NOFOLLOW gives for a link: ELOOP, with O_DIRECTORY ENOTDIR, on the BSDs EMLINK.
            if error.errno not in (errno.ELOOP, errno.ENOTDIR, errno.EMLINK):
                raise
            target = link_target(name, self.fd)
            if target is None and not _is_changing(name, self.fd, error):
                raise
            if target is None:
                pending.appendleft(name)
                return pending
            self._links += 1
            if self._links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP)) from error
            pending.extendleft(reversed(target))
            return pending
        self._enter(fd)
        self.done.append(name)
        self.is_target = last
        return pending

    def _restart(self, pending: deque[str]) -> deque[str]:
        up = 1
        while pending and pending[0] == "..":
            pending.popleft()
            up += 1
        if up > len(self.done):
            raise PathEscapeError
        self._restarts += 1
        if self._restarts > MAX_RESTARTS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        pending.extendleft(reversed(self.done[:-up]))
        self._enter(os.dup(self._root_fd))
        self.done = []
        return pending

    def _enter(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd
        self.is_target = False


def _is_changing(name: str, directory_fd: int, error: OSError) -> bool:
    """Tell whether `name`, which gave `error` and is not a link now, was one a moment ago."""
    if error.errno != errno.ENOTDIR:
        return True
    mode = os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode
    return stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def link_target(name: str, directory_fd: int) -> Parts | None:
    """Return where the link `name` points, or None if it is not a link.

    Raises:
        PathEscapeError: the target is absolute: no such link belongs to the workspace.
    """
    try:
        target = os.readlink(name, dir_fd=directory_fd)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.EINVAL:  # not a link
            return None
        raise
    if target.startswith("/"):
        raise PathEscapeError
    return split(target)
