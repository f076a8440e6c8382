"""`EditFiles`: replace exact text in one file or several."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mcp_server.errors import LimitError
from mcp_server.fence.changes.change import Change, Kind, State
from mcp_server.fence.changes.changer import Planning
from mcp_server.fence.changes.writing import check_hash, check_size, found_file
from mcp_server.fence.texts.content import decode
from mcp_server.fence.texts.edits import Edit, apply

MAX_EDITED_BYTES = 50_000_000
"""Bytes of all files that one call edits, before and after: they are held in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EditFiles:
    """A wish to make `edits`, each on the result of those before it, all or none."""

    edits: Sequence[Edit]
    expected_hash: str | None = None
    """What the file of a single edit must still be: the start of its SHA-256."""
    tool: str = "edit_file"
    quotes: ClassVar[bool] = True

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return one change for each file."""
        found: dict[str, State] = {}
        edits: dict[str, dict[int, Edit]] = {}
        for number, edit in enumerate(self.edits, 1):
            path = self._look(edit.path, found, planning)
            edits.setdefault(path, {})[number] = edit
        changes: list[Change] = []
        for path in edits:
            changes.append(self._change(path, found[path], edits[path], planning))
            _check_size(change.after for change in changes)
        return changes

    def _look(self, path: str, found: dict[str, State], planning: Planning) -> str:
        """Add the file at `path` to `found`, and return its canonical path."""
        gate = planning.gate
        with gate.writable(path, planning.deadline) as place:
            if place.path in found:
                return place.path
            gate.check_readable(place.path, path)
            before = found_file(place, path, planning)
            if before is None:
                raise gate.missing(path, planning.deadline)
            check_hash(before, self.expected_hash, place, planning)
            found[place.path] = before
            _check_size(found.values())
            return place.path

    def _change(
        self, path: str, before: State, edits: dict[int, Edit], planning: Planning
    ) -> Change:
        named = next(iter(edits.values())).path
        text = decode(before.content, named)
        new_text = apply(text.text, edits, len(self.edits), planning.deadline.check)
        content = text.encode(new_text)
        check_size(content, named, planning)
        return Change(path, before, State(Kind.FILE, content))


def _check_size(states: Iterable[State | None]) -> None:
    size = sum(len(state.content) for state in states if state is not None)
    if size > MAX_EDITED_BYTES:
        raise LimitError(
            f"The files to edit have more than {MAX_EDITED_BYTES} bytes together, as they are or "
            "as they would be. Edit them in several calls.",
            limit=MAX_EDITED_BYTES,
            actual=size,
            unit="bytes",
        )
