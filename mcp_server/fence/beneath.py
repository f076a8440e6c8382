"""The directory that everything happens beneath: find and open what is in it, by descriptor.

What was checked is what is opened: no path is looked up twice, and none by its absolute name.
Source: docs/decisions/0002-path-confinement.md.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

from mcp_server.errors import InvalidInputError, PathEscapeError
from mcp_server.fence.openers import (
    DIRECTORY_FLAGS,
    MAX_LINKS,
    MAX_RESTARTS,
    MAX_STEPS,
    READ_FLAGS,
    Opened,
    Opener,
    Parts,
    best_opener,
    join,
    link_target,
    split,
)
from mcp_server.text import shown, stored_name, without_host_paths

MAX_PATH_BYTES = 4095
"""Linux' PATH_MAX without the NUL; longer paths fail in ways that differ by system call."""
MAX_NAME_BYTES = 255


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
                raise self._escape(path)
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
            raise self._escape(path) from None

    def open_parts(self, parts: Parts, flags: int) -> Opened:
        """Open what is at the components `parts`, as `open` does."""
        return self._open(self.fd, parts, flags | os.O_CLOEXEC)

    def locate(self, path: str) -> AbstractContextManager[Place]:
        """Find the place of a file that is to be written or was not found.

        Links are followed, a dangling one to where it points, so that the link stays when the file
        is replaced.

        Raises:
            PathEscapeError: the path leads out of the root.
            InvalidInputError: no file can have this path.
            IsADirectoryError: the path can only name a directory.
            OSError: anything else that the system says.
        """
        if path.endswith(("/", "/.")):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        return self._located(path, lambda rest: True)

    def locate_entry(self, path: str) -> AbstractContextManager[Place]:
        """Find the place of a name itself: as `locate`, but a link that the path ends in stays."""
        return self._located(path, lambda rest: len(rest) > 1)

    @contextmanager
    def _located(self, path: str, is_followed: Callable[[Parts], bool]) -> Iterator[Place]:
        pending = self.parts(path)
        try:
            for _ in range(MAX_LINKS + 1):
                directory, rest = self._deepest_directory(pending)
                with directory:
                    target = link_target(rest[0], directory.fd) if is_followed(rest) else None
                    if target is None:
                        if ".." in rest:  # of a directory that does not exist
                            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                        yield Place(directory, rest[:-1], rest[-1])
                        return
                    pending = split(directory.path) + target + rest[1:]
        except PathEscapeError:
            raise self._escape(path) from None
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

    def _escape(self, path: str) -> PathEscapeError:
        # Cut with the root, a long one would be all that is left of the path.
        return PathEscapeError(
            f"Path {shown(without_host_paths(path, self.names))} leads out of the workspace. Give "
            "a path relative to its root, such as 'src/app.py'; links and '..' are followed only "
            "inside."
        )

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
