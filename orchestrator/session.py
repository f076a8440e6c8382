"""Sessions as their users see them: what is known of one, how many are looked through."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypedDict  # Any: usage as its column holds it

from pydantic import JsonValue

from orchestrator.errors import InvalidInputError

LOCAL_OWNER = "local"
"""The owner of sessions where nobody has to say who they are: the terminal and scripts."""

OURS = "workyard/"
"""What the external id of a session begins with that no user has begun by itself: they are found by
their id and are not listed."""
DELEGATE = OURS + "delegate:"
MAPPED = OURS + "map:"

TITLE_CHARS = 80
MAX_NAME_CHARS = 200

ID = "[0-9A-Za-z-]{1,36}"
"""What the id of a session or a run looks like, here and in what is imported: a pattern."""


def is_plain(text: str) -> bool:
    """Say whether every database takes a text as it is."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def named(what: str, name: str, limit: int = MAX_NAME_CHARS) -> str:
    """Return a name that every database takes.

    Raises:
        InvalidInputError: If it is none.
    """
    if not name.strip() or len(name) > limit or not is_plain(name):
        raise InvalidInputError(
            f"The {what} {name[:limit]!r} cannot be used: it has 1 to {limit} characters, none of "
            "them NUL or half of a surrogate pair."
        )
    return name


def title_of(text: str) -> str:
    """Return what a session is called after its first prompt: the beginning, on one line."""
    return " ".join(text.split())[:TITLE_CHARS]


def titled(text: str) -> str:
    """Return a title that a user has given, on one line.

    Raises:
        InvalidInputError: If it is empty or too long.
    """
    title = " ".join(text.split())
    if not title or len(title) > MAX_NAME_CHARS:
        raise InvalidInputError(f"A title has 1 to {MAX_NAME_CHARS} characters.")
    return title


class SessionStatus(StrEnum):
    """Whether something goes on in a session."""

    RUNNING = "running"
    """A run holds it, and the run's process is alive."""
    IDLE = "idle"


@dataclass(frozen=True, kw_only=True)
class Session:
    """A conversation, as it was when it was read."""

    id: str
    owner: str
    external_id: str | None
    """What the owner's own program calls it."""
    agent: str
    """The agent that it began with."""
    root: str
    title: str
    status: SessionStatus
    active_run_id: str | None
    """The run that holds it; also when that is idle, because the run's process has died."""
    origin_id: str | None
    """The session that it was forked from, unless that was deleted."""
    origin_seq: int | None
    """The last message that a fork shares with what it was forked from."""
    window_seq: int
    """The compaction that begins what a model is given; 0 if there is none."""
    last_message_seq: int
    """How many messages it has."""
    last_event_seq: int
    """How many events it has."""
    state_version: int
    usage: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    """When somebody last turned to it: when its last run began."""


class Filters(TypedDict, total=False):
    """Which sessions are meant: those that fit everything that is given."""

    agent: str | None
    root: str | None
    status: SessionStatus | None
    since: datetime | None
    """Those that were active then or later. Aware."""
    until: datetime | None
    """Those that were active last before then. Aware."""
    search: str | None
    """Words that all occur in the title, in prompts or in answers, in whatever order."""


class NewSession(TypedDict, total=False):
    """What may be said of a session that is made."""

    title: str
    """Without one, the first prompt becomes it."""
    state: dict[str, JsonValue]


@dataclass(frozen=True)
class DamagedSession:
    """A session whose own row cannot be read. What else is on record of it is untouched."""

    id: str
    """Where its own is damaged, `row:` and the key of its row: by that it can be deleted."""
    problem: str


@dataclass(frozen=True)
class Page:
    """Some sessions, those that were active last first."""

    sessions: tuple[Session, ...]
    cursor: str | None
    """What leads to the next page; None when there is none.

    A search looks through a bounded number of sessions for one page: it may be short, even empty,
    and still lead to another.
    """
    damaged: tuple[DamagedSession, ...] = ()
    """Those that stand among the sessions and cannot be read; they count for no limit."""
