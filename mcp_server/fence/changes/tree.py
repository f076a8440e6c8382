"""What is beneath the root, by canonical path, whatever the grant says: looked at and changed."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from mcp_server.errors import ConflictError, PathEscapeError, ServerError
from mcp_server.fence.beneath import Root
from mcp_server.fence.changes.change import Change, State
from mcp_server.fence.changes.disk import look, move, put, remove_temporaries, state_of
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.faults import translated
from mcp_server.fence.openers import DIRECTORY_FLAGS, Opened, Parts, split
from mcp_server.text import shown

_MAX_BYTES = 1 << 28  # of what was stored before, whatever a limit says today


class Tree:
    """The tree beneath one root, for plans that are checked already.

    Links are never followed. Every method raises the branches of `ServerError`: `ConflictError`
    where another directory has come into the way, `UnavailableError` when the system fails.
    """

    def __init__(self, root: Root) -> None:
        self._root = root

    def look(self, path: str, deadline: Deadline) -> State | None:
        """Return what is at `path`, whole, or None if there is nothing."""
        with _explaining(path):
            try:
                with self._directory_of(path) as (directory, name):
                    return look(directory, name, _MAX_BYTES, deadline)
            except (FileNotFoundError, NotADirectoryError):
                return None

    def has(self, path: str) -> bool:
        """Tell whether there is anything at `path`."""
        with _explaining(path):
            try:
                with self._directory_of(path) as (directory, name):
                    return state_of(directory.fd, name) is not None
            except (FileNotFoundError, NotADirectoryError):
                return False

    def names(self, path: str) -> list[str]:
        """Return the names that the directory at `path` holds: none if there is no directory."""
        with _explaining(path):
            try:
                with self._opened(split(path)) as directory:
                    return os.listdir(directory.fd)
            except (FileNotFoundError, NotADirectoryError):
                return []

    def make(self, change: Change) -> None:
        """Make `change`, which finds what it says."""
        try:
            with self._directory_of(change.path) as (directory, name):
                if change.moved_to is None:
                    put(directory.fd, name, change.before, change.after)
                    return
                with self._directory_of(change.moved_to) as (target, new_name):
                    move(directory.fd, name, target.fd, new_name)
        except FileExistsError:
            raise _conflict(change.moved_to or change.path, "has come into being") from None
        except FileNotFoundError:
            raise _conflict(change.path, "has gone") from None
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise _conflict(change.path, "has been filled") from None
            raise translated(error, change.path) from error

    def remove_temporaries(self, directory: str) -> None:
        """Remove what killed writes have left in the directory at a canonical path, if it exists.

        No write is under way there: whoever calls is alone in the root.
        """
        with suppress(OSError, ServerError), self._opened(split(directory)) as opened:
            remove_temporaries(opened.fd, older_than_s=0)

    @contextmanager
    def _directory_of(self, path: str) -> Iterator[tuple[Opened, str]]:
        *parts, name = split(path)
        with self._opened(tuple(parts)) as directory:
            yield directory, name

    @contextmanager
    def _opened(self, parts: Parts) -> Iterator[Opened]:
        path = "/".join(parts) or "."
        try:
            directory = self._root.open_parts(parts, DIRECTORY_FLAGS)
        except PathEscapeError:
            raise _detour(path) from None
        with directory:
            if directory.path != path:
                raise _detour(path)
            yield directory


@contextmanager
def _explaining(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise translated(error, path) from error


def _conflict(path: str, what: str) -> ServerError:
    return ConflictError(f"Path {shown(path)} {what} meanwhile. Nothing has been changed.")


def _detour(path: str) -> ServerError:
    return ConflictError(
        f"Directory {shown(path)} has changed meanwhile: it is reached through a link now. Nothing "
        "has been changed."
    )
