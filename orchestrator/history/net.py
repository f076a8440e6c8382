"""What calls have changed on the whole: each path as it was before the first, and after the last.

A file that was written three times is one difference, and one that was made and deleted is none.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mcp_server.errors import NotTextError
from mcp_server.fence.changes.change import Change, Kind, State, are_alike
from mcp_server.fence.openers import is_in
from mcp_server.fence.texts.content import decode
from mcp_server.fence.texts.diffs import diff
from mcp_server.text import outgoing, printable_name


@dataclass(slots=True)
class _Thing:
    """What is or was at a path, followed through all that happened to it."""

    path: str
    """Where it was before; where it came into being, if it was not there."""
    before: State | None
    now: str
    after: State | None
    is_known: bool = True
    """False while only moves have touched it: there are no states then."""

    @property
    def is_there(self) -> bool:
        return self.after is not None or not self.is_known


def difference(changes: Iterable[Change]) -> str:
    """Return what `changes`, given in their order, come to: a unified diff for people.

    Long lines are cut, and what is no text is described.
    """
    parts = [part for thing in _net(changes) for part in _shown(thing)]
    return outgoing("".join(f"{part}\n" for part in parts))


def text_difference(before: str, after: str) -> str:
    """Return the unified diff of two texts, cut to some kilobytes; empty if they are the same."""
    if not before.endswith("\n") and not after.endswith("\n"):  # which says nothing of either
        before, after = f"{before}\n", f"{after}\n"
    return outgoing(diff(before, after))


def _net(changes: Iterable[Change]) -> list[_Thing]:
    things: list[_Thing] = []
    for change in changes:
        if change.moved_to is not None:
            _move(things, change.path, change.moved_to)
            continue
        here = sorted((t for t in things if t.now == change.path), key=lambda t: not t.is_there)
        if not here:
            path = _earlier(things, change.path)
            things.append(_Thing(path, change.before, change.path, change.after))
            continue
        thing = here[0]
        if not thing.is_known:
            thing.before, thing.is_known = change.before, True
        thing.after = change.after
    return things


def _move(things: list[_Thing], source: str, target: str) -> None:
    for thing in things:
        if thing.is_there and is_in(thing.now, source):
            thing.now = target + thing.now.removeprefix(source)
    if not any(t.now == target and t.is_there for t in things):
        things.append(_Thing(_earlier(things, source), None, target, None, is_known=False))


def _earlier(things: list[_Thing], path: str) -> str:
    """Return where that was before which is at `path` now."""
    for thing in reversed(things):
        if not thing.is_known and is_in(path, thing.now):
            return thing.path + path.removeprefix(thing.now)
    return path


def _shown(thing: _Thing) -> Iterator[str]:
    old, new = printable_name(thing.path), printable_name(thing.now)
    before, after = thing.before, thing.after
    if are_alike(before, after):
        if thing.is_there and old != new:
            yield f"moved {old} -> {new}"
        return
    if any(state and state.kind is not Kind.FILE for state in (before, after)):
        yield f"{_described(before)} -> {_described(after)}: {new}"
        return
    yield f"--- {'/dev/null' if before is None else f'a/{old}'}"
    yield f"+++ {'/dev/null' if after is None else f'b/{new}'}"
    try:
        text = diff(_text(before), _text(after), max_bytes=sys.maxsize)
    except NotTextError:
        text = f"{_described(before)} -> {_described(after)}, not text"
    if text:
        yield text


def _text(state: State | None) -> str:
    return "" if state is None else decode(state.content, "").text


def _described(state: State | None) -> str:
    match state:
        case None:
            return "nothing"
        case State(kind=Kind.FILE):
            return f"file of {len(state.content):,} bytes"
        case State(kind=Kind.LINK):
            return f"link to {printable_name(state.content.decode(errors='surrogateescape'))}"
        case _:
            return "directory"
