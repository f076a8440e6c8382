"""The directory that everything happens beneath: find, open and change files by descriptor.

What was checked is what is opened: no path is looked up twice, and none by its absolute name.
Source: docs/decisions/0002-path-confinement.md.
"""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from mcp_server.errors import InvalidInputError, PathEscapeError
from mcp_server.fence.openers import (
    DIRECTORY_FLAGS,
    MAX_LINKS,
    Opened,
    Opener,
    Parts,
    best_opener,
    join,
    link_target,
    split,
)

MAX_PATH_BYTES = 4095
"""Linux' PATH_MAX without the NUL; longer paths fail in ways that differ by system call."""
MAX_NAME_BYTES = 255

# O_NONBLOCK: opening a FIFO must not wait for its other end. O_NOCTTY: nor a terminal adopt us.
READ_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


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
        if "\0" in path:
            raise InvalidInputError(f"Path {path!r} holds a NUL character; no file name can.")
        try:
            encoded = path.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(f"Path {path!r} is not valid Unicode text.") from None
        parts = split(path)
        if len(encoded) > MAX_PATH_BYTES or any(len(p.encode()) > MAX_NAME_BYTES for p in parts):
            raise InvalidInputError(
                f"Path '{path[:60]}…' is too long: {len(encoded)} bytes. A path has at most "
                f"{MAX_PATH_BYTES} bytes and each name in it at most {MAX_NAME_BYTES}."
            )
        if not path.startswith("/"):
            return parts
        for name in map(split, self.names):
            if parts[: len(name)] == name:
                return parts[len(name) :]
        raise _escape(path)

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
            return self._open(self.fd, parts, flags | os.O_CLOEXEC)
        except PathEscapeError:
            raise _escape(path) from None

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


def _escape(path: str) -> PathEscapeError:
    return PathEscapeError(
        f"Path {path!r} leads out of the workspace. Give a path relative to its root, such as "
        "'src/app.py'; links and '..' are followed only inside."
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


def replace_file(directory_fd: int, name: str, content: bytes, mode: int | None) -> None:
    """Put a file with `content` at `name` at once; when this fails, the old one is whole.

    Args:
        directory_fd: the directory that holds the file.
        name: one component.
        content: the whole new content.
        mode: permission bits of the file that is replaced; None for a new file.

    Hard links are broken on purpose: package stores share files by them.
    """
    temporary = f".workyard-{secrets.token_hex(6)}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # A new file gets what the umask leaves; a secret one is never readable by others on its way.
    fd = os.open(temporary, flags, 0o666 if mode is None else 0o600, dir_fd=directory_fd)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            if mode is not None:
                os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory_fd)
        raise
    os.fsync(directory_fd)  # the rename survives a power cut too


def mode_of(directory_fd: int, name: str) -> int | None:
    """Return the file mode of `name`, links not followed, or None if there is nothing."""
    try:
        return os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None
