"""What the journal of a root tells: calls, and what each has done to which paths."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class Which(TypedDict, total=False):
    """Which calls are meant: those that fit everything that is given."""

    number: int | None
    session: str | None
    """A session's id, or its last 12 characters."""
    run: str | None
    """A run's id, or its last 12 characters."""


class What(StrEnum):
    """What has become of a path."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    MOVED = "moved"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPath:
    """One effect on one path."""

    path: str
    """Relative to the root, as tools show it and take it; a directory's ends in a slash."""
    what: What
    moved_to: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedCall:
    """A call that has changed something."""

    number: int
    """Counts the calls in this root."""
    at: datetime
    """In UTC."""
    actor: str
    """The agent or the host that made it."""
    tool: str
    session_id: str
    """A host's is what it does through one server, from its start to its end."""
    run_id: str
    """Empty if the caller has named none."""
    paths: tuple[ChangedPath, ...]
    """In the order in which they were changed."""
    undone_by: int | None
    """The number of the call that took this one back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Undo:
    """What an undo has done, or would do."""

    number: int | None
    """Its own number, by which it can be undone; None if it has only been looked at."""
    calls: tuple[RecordedCall, ...]
    """Those that it takes back, the newest first."""
    paths: tuple[ChangedPath, ...]
    """What it does to them; none if all were as before already."""
