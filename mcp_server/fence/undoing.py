"""What has to be changed to take calls back, without trampling on what others did since."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from mcp_server.errors import ConflictError, NotFoundError
from mcp_server.fence.changes import Change, Kind, State, are_alike
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import Call, Selection
from mcp_server.text import shown


class Tree(Protocol):
    """What is beneath the root now, by canonical path."""

    def look(self, path: str) -> State | None:
        """Return what is at `path`, or None if there is nothing."""
        ...

    def names(self, path: str) -> list[str]:
        """Return the names that the directory at `path` holds."""
        ...


@dataclass(frozen=True, slots=True)
class Undone:
    """What an undo has done."""

    calls: Sequence[Call]
    """Those that were taken back, the newest first."""
    changes: Sequence[Change]
    number: int = 0
    """What the journal calls the undo itself; 0 for what has only been planned."""


def calls_to_undo(journal: Journal, selection: Selection) -> list[Call]:
    """Return the calls to take back, the newest first: the last one when none is named.

    Raises:
        NotFoundError: there is none.
    """
    limit = 1 if selection == Selection() else -1
    if selection.number is None:
        selection = replace(selection, stands=True)
    found = [call for call in journal.calls(selection, limit) if call.undone_by is None]
    if not found:
        raise NotFoundError(
            "There is nothing to undo: no such call is in the journal of this root, or it is "
            "undone already. See what there is with `workyard changes`."
        )
    return found


def plan_undo(calls: Sequence[Call], tree: Tree, *, force: bool) -> list[Change]:
    """Return the changes that take `calls` back, given the newest first.

    Each path is followed back step by step: where it is not as a call left it, someone else has
    changed it since.

    Raises:
        ConflictError: someone else has, and `force` is not set.
    """
    planned = _Planned(tree)
    for call in calls:
        for change in reversed(call.changes):
            planned.take_back(change, force=force)
    return planned.changes


class _Planned:
    """The tree as it will be once the changes that are planned so far are made."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known: dict[str, State | None] = {}
        self.changes: list[Change] = []

    def take_back(self, change: Change, *, force: bool) -> None:
        if change.moved_to is not None:
            self._move_back(change.moved_to, change.path)
            return
        now = self._at(change.path)
        if are_alike(now, change.before):
            return
        if not are_alike(now, change.after):
            if not force:
                raise ConflictError(
                    f"Path {shown(change.path)} has been changed since, by someone else. Nothing "
                    "has been undone. Look at it with `workyard diff`; `--force` undoes it all the "
                    "same, and that can be undone too."
                )
            if _is_directory(now) or (now and _is_directory(change.before)):
                raise ConflictError(
                    f"Path {shown(change.path)} is something else now; move it away first. "
                    "Nothing has been undone."
                )
        if _is_directory(now) and self._has_names(change.path):
            return  # others have put something in: it stays, and so does what holds it
        self._put(Change(change.path, now, change.before))

    def _has_names(self, directory: str) -> bool:
        names = self._tree.names(self._today(directory))
        return any(self._at(f"{directory}/{name}") is not None for name in names)

    def _put(self, change: Change) -> None:
        self._known[change.path] = change.after
        self.changes.append(change)

    def _move_back(self, source: str, destination: str) -> None:
        if self._at(source) is None or self._at(destination) is not None:
            raise ConflictError(
                f"Path {shown(source)} cannot be moved back to {shown(destination)}: one of them "
                "has been changed since. Nothing has been undone."
            )
        self.changes.append(Change(source, None, None, destination))
        moved = {path: self._known.pop(path) for path in [*self._known] if _is_in(path, source)}
        for path, state in moved.items():
            self._known[destination + path.removeprefix(source)] = state
        self._known[source] = None

    def _at(self, path: str) -> State | None:
        if path not in self._known:
            self._known[path] = self._tree.look(self._today(path))
        return self._known[path]

    def _today(self, path: str) -> str:
        """Return where that is now which will be at `path`."""
        for change in reversed(self.changes):
            if change.moved_to is not None and _is_in(path, change.moved_to):
                path = change.path + path.removeprefix(change.moved_to)
        return path


def _is_directory(state: State | None) -> bool:
    return state is not None and state.kind is Kind.DIRECTORY


def _is_in(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")
