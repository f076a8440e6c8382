"""A call that did not come to its end: how far did it come, and back with that.

Nothing is noted between the changes of a call. They are made in their order, so what is there after
each of them can be foretold, and what is there now tells which was the last.
"""

import posixpath
from collections.abc import Iterator, Sequence
from enum import Enum

from mcp_server.errors import ServerError, UnavailableError
from mcp_server.fence.changes.change import Change, State, are_alike
from mcp_server.fence.changes.tree import Tree
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.openers import is_in

_LOOK_S = 60  # whoever comes next pays for it, whatever its own deadline


class _Other(Enum):
    THING = "something whose content is not told"


_There = State | _Other | None
"""What is at a path, as far as it is known; None for nothing."""


def made_part(changes: Sequence[Change], tree: Tree) -> Sequence[Change]:
    """Return those of `changes` that are made: all up to the one that fits best what is there.

    Raises:
        UnavailableError: the system failed.
    """
    now = _Now(tree)
    expected = _at_first(changes)
    off = {path for path, there in expected.items() if not now.fits(path, there)}
    best, fewest = 0, len(off)
    for count, change in enumerate(changes, 1):
        for path in _make(change, expected):
            if path in expected and not now.fits(path, expected[path]):
                off.add(path)
            else:
                off.discard(path)
        if len(off) <= fewest:
            best, fewest = count, len(off)
    return changes[:best]


def remove_temporaries(changes: Sequence[Change], tree: Tree) -> None:
    """Remove what `changes` have left that were killed on their way."""
    for directory in {posixpath.dirname(change.path) for change in changes}:
        tree.remove_temporaries(directory)


def take_back(changes: Sequence[Change], tree: Tree) -> bool:
    """Take back `changes`, of which the last may not be made, and tell whether nothing is left.

    What is not as a change found or left it has been changed by someone else: that stays.

    Raises:
        UnavailableError: the system failed; what is left can be taken back later.
    """
    deadline = Deadline(_LOOK_S)
    left = [change for change in reversed(changes) if not _is_taken_back(change, tree, deadline)]
    return not left


class _Now:
    """What is there now, looked at once."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._deadline = Deadline(_LOOK_S)
        self._found: dict[str, _There] = {}

    def fits(self, path: str, expected: _There) -> bool:
        if path not in self._found:
            self._found[path] = self._look(path)
        found = self._found[path]
        if isinstance(expected, _Other):
            return found is not None
        if isinstance(found, _Other):
            return False
        return are_alike(found, expected)

    def _look(self, path: str) -> _There:
        try:
            return self._tree.look(path, self._deadline)
        except UnavailableError:
            raise
        except ServerError:  # something is there that no call leaves
            return _Other.THING


def _at_first(changes: Sequence[Change]) -> dict[str, _There]:
    """Return what was there before the first of `changes`, at the paths that they are about."""
    there: dict[str, _There] = {}
    for change in reversed(changes):
        if change.moved_to is None:
            there[change.path] = change.before
            continue
        _rename(change.moved_to, change.path, there)
        there.setdefault(change.path, _Other.THING)
    return there


def _make(change: Change, there: dict[str, _There]) -> Iterator[str]:
    """Make `change` in `there`, and yield the paths that it has touched."""
    if change.moved_to is None:
        there[change.path] = change.after
        yield change.path
    else:
        yield from _rename(change.path, change.moved_to, there)


def _rename(source: str, destination: str, there: dict[str, _There]) -> Sequence[str]:
    """Move what is known of `source`, and return the paths that are touched."""
    outdated = [path for path in there if is_in(path, destination)]
    for path in outdated:  # what is known of the time when something else, or nothing, was there
        del there[path]
    known = [path for path in there if is_in(path, source)]
    images = [destination + path.removeprefix(source) for path in known]
    for path, image in zip(known, images, strict=True):
        there[image] = there.pop(path)
    there[source] = None
    return [*outdated, *known, *images, source]


def _is_taken_back(change: Change, tree: Tree, deadline: Deadline) -> bool:
    try:
        if change.moved_to is not None:
            if not tree.has(change.path):
                tree.make(change.reverse)
            return True
        now = tree.look(change.path, deadline)
        if are_alike(now, change.before):
            return True
        if not are_alike(now, change.after):
            return False
        tree.make(change.reverse)
    except UnavailableError:
        raise
    except ServerError:
        return False
    return True
