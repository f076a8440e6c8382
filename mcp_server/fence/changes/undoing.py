"""What has to be changed to take calls back, without trampling on what others did since."""

from collections.abc import Sequence
from dataclasses import dataclass

from mcp_server.errors import ConflictError, NotFoundError
from mcp_server.fence.changes.change import Change, Kind, State, are_alike
from mcp_server.fence.changes.tree import Tree
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import Call, Selection
from mcp_server.fence.openers import is_in
from mcp_server.text import shown


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
    calls = journal.calls(selection.standing, selection.limit)
    found = [call for call in calls if call.undone_by is None]
    if not found:
        raise NotFoundError(
            "There is nothing to undo: no such call is in the journal of this root, or it is "
            "undone already. See what there is with `workyard changes`."
        )
    return found


def plan_undo(
    calls: Sequence[Call], tree: Tree, deadline: Deadline, *, force: bool
) -> list[Change]:
    """Return the changes that take `calls` back, given the newest first.

    Each path is followed back step by step: where it is not as a call left it, someone else has
    changed it since.

    Raises:
        ConflictError: someone else has, and `force` is not set; or, forced or not, something is in
            the way that is not a file.
    """
    planned = _Planned(tree, deadline)
    for call in calls:
        for change in reversed(call.changes):
            planned.take_back(change, force=force)
    return planned.changes


class _Planned:
    """The tree as it will be once the changes that are planned so far are made."""

    def __init__(self, tree: Tree, deadline: Deadline) -> None:
        self._tree = tree
        self._deadline = deadline
        self._known: dict[str, State | None] = {}
        self._made: set[str] = set()
        """Directories that the plan makes: what is not known to be in them is not there."""
        self._moves: list[Change] = []
        self._replacing: dict[str, int] = {}
        """Which of the changes replaces the file at a path, since the last move."""
        self.changes: list[Change] = []

    def take_back(self, change: Change, *, force: bool) -> None:
        self._check_way(change.path)
        if change.moved_to is not None:
            self._move_back(change.moved_to, change.path)
            return
        now = self._at(change.path)
        if are_alike(now, change.before):
            return
        if not are_alike(now, change.after):
            if not force:
                raise ConflictError(
                    f"Path {shown(change.path)} has been changed since, by a later call or by "
                    "someone else. Nothing has been undone. `workyard changes` shows the later "
                    "calls, which can be undone first; `--force` undoes it all the same, and that "
                    "can be undone too."
                )
            if now and change.before and not now.kind is change.before.kind is Kind.FILE:
                raise _in_the_way(change.path)
            if _is_directory(now):
                raise _in_the_way(change.path)
        if _is_directory(now) and self._holds_something(change.path):
            return  # others have put something in: it stays, and so does what holds it
        if change.before is not None:
            self._make_room(change.path)
        self._put(Change(change.path, now, change.before))

    def _check_way(self, path: str) -> None:
        """Raise ConflictError if anything above `path` is no directory any more."""
        for directory in _above(path):
            there = self._at(directory)
            if there is None:
                return
            if not _is_directory(there):
                raise _in_the_way(directory)

    def _make_room(self, path: str) -> None:
        """Plan the directories above `path` that have gone."""
        for directory in _above(path):
            if self._at(directory) is None:
                self._put(Change(directory, None, State(Kind.DIRECTORY)))

    def _holds_something(self, directory: str) -> bool:
        below = directory + "/"
        if any(state is not None and path.startswith(below) for path, state in self._known.items()):
            return True
        if directory in self._made:
            return False
        names = self._tree.names(self._today(directory))
        return any(below + name not in self._known for name in names)

    def _put(self, change: Change) -> None:
        self._known[change.path] = change.after
        if _is_directory(change.after):
            self._made.add(change.path)
        else:
            self._made.discard(change.path)
        earlier = self._replacing.get(change.path)
        is_replacing = _is_file(change.before) and _is_file(change.after)
        if earlier is not None and is_replacing:  # one step for a file that was written often
            change = Change(change.path, self.changes[earlier].before, change.after)
            self.changes[earlier] = change
            return
        self._replacing.pop(change.path, None)
        if is_replacing:
            self._replacing[change.path] = len(self.changes)
        self.changes.append(change)

    def _move_back(self, source: str, destination: str) -> None:
        self._check_way(source)
        if self._at(source) is None or self._at(destination) is not None:
            raise ConflictError(
                f"Path {shown(source)} cannot be moved back to {shown(destination)}: one of them "
                "has been changed since. Nothing has been undone."
            )
        self._make_room(destination)
        move = Change(source, None, None, destination)
        self.changes.append(move)
        self._moves.append(move)
        self._replacing.clear()
        for path in [path for path in self._known if is_in(path, destination)]:
            del self._known[path]  # it is of the time when nothing was there
        for path in [path for path in self._known if is_in(path, source)]:
            self._known[destination + path.removeprefix(source)] = self._known.pop(path)
        self._made = {
            destination + path.removeprefix(source) if is_in(path, source) else path
            for path in self._made
        }
        self._known[source] = None

    def _at(self, path: str) -> State | None:
        if path not in self._known:
            is_there = not self._is_in_nothing(path)
            self._known[path] = (
                self._tree.look(self._today(path), self._deadline) if is_there else None
            )
        return self._known[path]

    def _is_in_nothing(self, path: str) -> bool:
        """Tell whether the plan leaves nothing where `path` would be."""
        for directory in reversed(_above(path)):
            if directory in self._known:
                return directory in self._made or not _is_directory(self._known[directory])
        return False

    def _today(self, path: str) -> str:
        """Return where that is now which will be at `path`."""
        for move in reversed(self._moves):
            if move.moved_to is not None and is_in(path, move.moved_to):
                path = move.path + path.removeprefix(move.moved_to)
        return path


def _above(path: str) -> list[str]:
    """Return the directories above `path`, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts))]


def _is_directory(state: State | None) -> bool:
    return state is not None and state.kind is Kind.DIRECTORY


def _is_file(state: State | None) -> bool:
    return state is not None and state.kind is Kind.FILE


def _in_the_way(path: str) -> ConflictError:
    return ConflictError(
        f"Path {shown(path)} is something else now, which is not replaced; move it away first. "
        "Nothing has been undone."
    )
