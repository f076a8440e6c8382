"""The directory that everything happens beneath: find, open and change files by descriptor.

What was checked is what is opened: no path is looked up twice, and none by its absolute name.
Source: docs/decisions/0002-path-confinement.md.
"""

import errno
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

from mcp_server.errors import InvalidInputError, PathEscapeError
from mcp_server.fence.openers import (
    DIRECTORY_FLAGS,
    MAX_LINKS,
    MAX_RESTARTS,
    MAX_STEPS,
    Opened,
    Opener,
    Parts,
    best_opener,
    join,
    link_target,
    split,
)
from mcp_server.text import shown, stored_name

MAX_PATH_BYTES = 4095
"""Linux' PATH_MAX without the NUL; longer paths fail in ways that differ by system call."""
MAX_NAME_BYTES = 255

# O_NONBLOCK: opening a FIFO must not wait for its other end. O_NOCTTY: nor a terminal adopt us.
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


_TEMPORARY = re.compile(r"\.workyard-[0-9a-f]{12}\.tmp")
_STALE_S = 3600  # a write takes seconds; what is older was left by one that was killed
_ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is or would be: an open directory, directories still to make in it, a name."""

    directory: Opened
    missing: Parts
    name: str

    @property
    def parent(self) -> str:
        """The canonical path of the directory that will hold the file."""
        path = self.directory.path
        for name in self.missing:
            path = join(path, name)
        return path

    @property
    def path(self) -> str:
        """The canonical path of the file."""
        return join(self.parent, self.name)


class Root:
    """The directory that everything happens beneath, held open."""

    def __init__(self, path: str, opener: Opener | None = None) -> None:
        """Open `path`.

        Raises:
            OSError: there is no such directory, or it cannot be opened.
        """
        absolute = os.path.abspath(path)
        self.names = tuple(dict.fromkeys((absolute, os.path.realpath(absolute))))
        """The absolute paths by which the root is known: as configured, and without links."""
        self.fd = os.open(absolute, DIRECTORY_FLAGS | os.O_CLOEXEC)
        self._open = opener or best_opener(self.fd)

    def close(self) -> None:
        """Close the descriptor; nothing can be opened any more."""
        os.close(self.fd)

    def parts(self, path: str) -> Parts:
        """Return the components of `path`; an absolute path below the root counts as relative.

        Raises:
            PathEscapeError: the path is absolute and not below the root.
            InvalidInputError: no file can have this path.
        """
        parts = _checked_parts(path)
        if path.startswith("/"):
            for name in map(split, self.names):
                if parts[: len(name)] == name:
                    parts = parts[len(name) :]
                    break
            else:
                raise _escape(path)
        return self._stored(parts) if "\\" in path else parts

    def _stored(self, parts: Parts) -> Parts:
        """Return the components as a listing may have shown them, if only such a path exists."""
        stored = tuple(map(stored_name, parts))
        if stored == parts or self._exists(parts) or not self._exists(stored):
            return parts
        return stored

    def _exists(self, parts: Parts) -> bool:
        try:
            with self._open(self.fd, parts, READ_FLAGS | os.O_CLOEXEC):
                return True
        except FileNotFoundError:
            return False
        except (OSError, PathEscapeError):  # something is there; the call itself will say what
            return True

    def open(self, path: str, flags: int) -> Opened:
        """Open what is at `path`.

        Raises:
            PathEscapeError: the path leads out of the root.
            InvalidInputError: no file can have this path.
            OSError: anything else that the system says.
        """
        parts = self.parts(path)
        if path.endswith(("/", "/.")):  # the walk must never see the slash: it voids O_NOFOLLOW
            flags |= os.O_DIRECTORY
        try:
            return self.open_parts(parts, flags)
        except PathEscapeError:
            raise _escape(path) from None

    def open_parts(self, parts: Parts, flags: int) -> Opened:
        """Open what is at the components `parts`, as `open` does."""
        return self._open(self.fd, parts, flags | os.O_CLOEXEC)

    @contextmanager
    def locate(self, path: str) -> Iterator[Place]:
        """Find the place of a file that is to be written or was not found.

        Links are followed, a dangling one to where it points, so that the link stays when the file
        is replaced.

        Raises:
            PathEscapeError: the path leads out of the root.
            InvalidInputError: no file can have this path.
            IsADirectoryError: the path can only name a directory.
            OSError: anything else that the system says.
        """
        pending = self.parts(path)
        if path.endswith(("/", "/.")):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        try:
            for _ in range(MAX_LINKS + 1):
                directory, rest = self._deepest_directory(pending)
                with directory:
                    target = link_target(rest[0], directory.fd)
                    if target is None:
                        if ".." in rest:  # of a directory that does not exist
                            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                        yield Place(directory, rest[:-1], rest[-1])
                        return
                    pending = split(directory.path) + target + rest[1:]
        except PathEscapeError:
            raise _escape(path) from None
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _deepest_directory(self, parts: Parts) -> tuple[Opened, Parts]:
        """Return the deepest directory on the way to the last component, and what is left."""
        if not parts or parts[-1] == "..":
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        flags = DIRECTORY_FLAGS | os.O_CLOEXEC
        for end in range(len(parts) - 1, 0, -1):
            with suppress(FileNotFoundError):
                return self._open(self.fd, parts[:end], flags), parts[end:]
        return self._open(self.fd, (), flags), parts


def _checked_parts(path: str) -> Parts:
    """Return the components of `path` if it is not too much work to walk it, its length first."""
    encoded = path[: MAX_PATH_BYTES + 1].encode(errors="surrogatepass")
    parts = split(path) if len(encoded) <= MAX_PATH_BYTES else (path,)
    if any(len(part.encode(errors="surrogatepass")) > MAX_NAME_BYTES for part in parts):
        raise InvalidInputError(
            f"Path {shown(path)} is too long. A path has at most {MAX_PATH_BYTES} bytes and "
            f"each name in it at most {MAX_NAME_BYTES}."
        )
    if "\0" in path:
        raise InvalidInputError(f"Path {shown(path)} holds a NUL character; no name can.")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"Path {shown(path)} is not valid Unicode text.") from None
    # Each way down and up again is walked from the root anew.
    turns = sum(one != ".." and two == ".." for one, two in pairwise(parts))
    if len(parts) > MAX_STEPS or turns > MAX_RESTARTS:
        raise InvalidInputError(
            f"Path {shown(path)} has too many names. A path has at most {MAX_STEPS}, and "
            f"turns back by '..' at most {MAX_RESTARTS} times: leave out the detours."
        )
    return parts


def _escape(path: str) -> PathEscapeError:
    return PathEscapeError(
        f"Path {shown(path)} leads out of the workspace. Give a path relative to its root, such "
        "as 'src/app.py'; links and '..' are followed only inside."
    )


# --- changes, always in an open directory and by one last component


def make_directories(place: Place) -> Opened:
    """Make the missing directories of `place` and return the one that holds the file, open."""
    fd = os.dup(place.directory.fd)
    try:
        for name in place.missing:
            with suppress(FileExistsError):  # someone else was quicker; the open below decides
                os.mkdir(name, dir_fd=fd)
            inner = os.open(name, DIRECTORY_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = inner
    except BaseException:
        os.close(fd)
        raise
    return Opened(fd, place.parent)


def replace_file(
    directory_fd: int, name: str, content: bytes, replaced: os.stat_result | None
) -> None:
    """Put a file with `content` at `name` at once; when this fails, the old one is whole.

    Args:
        directory_fd: the directory that holds the file.
        name: one component.
        content: the whole new content.
        replaced: the state of the file that is replaced, who may use the new one; None for a new
            file.

    Hard links are broken on purpose: package stores share files by them.
    """
    _remove_stale(directory_fd)
    temporary = f".workyard-{secrets.token_hex(6)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # A new file gets what the umask leaves; a secret one is never readable by others on its way.
    fd = os.open(temporary, flags, 0o666 if replaced is None else 0o600, dir_fd=directory_fd)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if replaced is not None:
                _keep_access(fd, replaced, _access_list(directory_fd, name))
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory_fd)
        raise
    os.fsync(directory_fd)  # the rename survives a power cut too


def _keep_access(fd: int, replaced: os.stat_result, access_list: bytes | None) -> None:
    """Let those use the new file who could use the one it replaces, and nobody else.

    Raises:
        PermissionError: it has an access list that cannot be kept.
    """
    mode = replaced.st_mode & 0o777  # setuid and setgid go, as the kernel does it for any write
    try:
        os.fchown(fd, replaced.st_uid if os.geteuid() == 0 else -1, replaced.st_gid)
    except PermissionError:
        if access_list is not None:
            raise
        # Another group: its members were others before, and those of the old one are others now.
        both = mode >> 3 & mode & 0o7
        mode = mode & 0o700 | both << 3 | both
    if access_list is not None:
        os.setxattr(fd, _ACCESS_LIST, access_list)
    os.fchmod(fd, mode)


def _access_list(directory_fd: int, name: str) -> bytes | None:
    """Return the POSIX access list of a file, None if it has none beyond its mode."""
    if not hasattr(os, "getxattr"):
        return None
    try:
        path = f"/proc/self/fd/{directory_fd}/{name}"
        return os.getxattr(path, _ACCESS_LIST, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _remove_stale(directory_fd: int) -> None:
    """Remove what writes have left in the directory that were killed on their way."""
    before = time.time() - _STALE_S
    with os.scandir(directory_fd) as found:
        names = [each.name for each in found if _TEMPORARY.fullmatch(each.name)]
    for name in names:
        with suppress(FileNotFoundError):  # another write was quicker
            state = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if stat.S_ISREG(state.st_mode) and state.st_mtime < before:
                os.unlink(name, dir_fd=directory_fd)


def state_of(directory_fd: int, name: str) -> os.stat_result | None:
    """Return the state of `name`, links not followed, or None if there is nothing."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
