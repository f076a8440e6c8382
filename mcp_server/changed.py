"""What a call has changed, path by path, as the result's `_meta` tells.

    "_meta": {"workyard/changes": {"files": [{"path": "src/a.py", "kind": "modified",
                                              "added": 3, "removed": 1}], "more": 0}}

It is for the program that calls and not for its model: the text of the answer says what a model
needs. Told are files and links, and what was asked for by name even if it is a directory; not the
directories that were made or deleted along with it.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self  # Any: JSON as it comes

from pydantic import BaseModel, ConfigDict

from mcp_server.errors import NotTextError
from mcp_server.fence.changes.change import Change, Kind, Outcome, are_alike
from mcp_server.fence.grant import Grant
from mcp_server.fence.texts.content import decode
from mcp_server.fence.texts.diffs import changed_lines
from mcp_server.text import MAX_ANSWER_BYTES, byte_size, printable_name

CHANGES = "workyard/changes"
"""What a result's `_meta` may hold."""
MAX_FILES = 100
"""Paths of one call that are told one by one; the others are counted."""

FileKind = Literal["created", "modified", "deleted", "moved"]


class ChangedFile(BaseModel):
    """What has become of one path."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    path: str
    """Relative to the root, as tools show it and take it; a directory's ends in a slash."""
    kind: FileKind
    moved_from: str | None = None
    """Where it was before it was moved, with all below it."""
    added: int | None = None
    """Lines that have come; None where they were not counted."""
    removed: int | None = None
    """Lines that have gone; None where they were not counted."""


class ChangedFiles(BaseModel):
    """What a call has changed."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    files: tuple[ChangedFile, ...] = ()
    """In the order in which they were changed."""
    more: int = 0
    """How many more there are than are told."""

    @classmethod
    def from_meta(cls, meta: Mapping[str, object]) -> Self:
        """Return what the `_meta` of a result of this server tells.

        Raises:
            ValidationError: it was not made by `meta`.
        """
        return cls.model_validate(meta.get(CHANGES, {}))

    @property
    def meta(self) -> dict[str, Any] | None:
        """The `_meta` that tells it; None if there is nothing to tell."""
        return {CHANGES: self.model_dump(exclude_none=True)} if self.files else None


def changed_files(outcome: Outcome, grant: Grant) -> ChangedFiles:
    """Return what there is to tell a caller with `grant` of what a call has done.

    A path that was not asked for by name, such as one in a directory that was deleted, is told only
    to who may read it, and else counted. A call that is undone by now has changed nothing.
    """
    if outcome.is_undone or not outcome.changes:
        return ChangedFiles()
    asked = outcome.changes[-1]  # after the directories above it, and what was in it
    meant = [change for change in outcome.changes if change is asked or not _is_directory(change)]
    files: list[ChangedFile] = []
    size = 0
    for change in filter(_has_effect, meant):
        if change is not asked and not grant.may_read(change.path):
            continue
        size += byte_size(change.path) + byte_size(change.moved_to or "")
        if len(files) == MAX_FILES or (size > MAX_ANSWER_BYTES and files):
            break
        files.append(_told(change, grant))
    return ChangedFiles(files=tuple(files), more=sum(map(_has_effect, meant)) - len(files))


def _is_directory(change: Change) -> bool:
    state = change.after or change.before
    return state is not None and state.kind is Kind.DIRECTORY


def _has_effect(change: Change) -> bool:
    return change.moved_to is not None or not are_alike(change.before, change.after)


def _told(change: Change, grant: Grant) -> ChangedFile:
    path = printable_name(change.path)
    if change.moved_to is not None:
        return ChangedFile(path=printable_name(change.moved_to), kind="moved", moved_from=path)
    kind: FileKind = "modified"
    if change.before is None:
        kind = "created"
    elif change.after is None:
        kind = "deleted"
    added, removed = _lines(change, grant)
    slash = "/" if _is_directory(change) else ""
    return ChangedFile(path=path + slash, kind=kind, added=added, removed=removed)


def _lines(change: Change, grant: Grant) -> tuple[int | None, int | None]:
    """Return how many lines have come and gone, if it is text that the caller may know of."""
    states = (change.before, change.after)
    is_hidden = change.before is not None and not grant.may_read(change.path)
    if is_hidden or any(state and state.kind is not Kind.FILE for state in states):
        return None, None
    try:
        before, after = (decode(state.content, "").text if state else "" for state in states)
    except NotTextError:
        return None, None
    return changed_lines(before, after)
