"""A definition: a spec that is kept on record, with its owner and its versions."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.errors import InvalidInputError
from orchestrator.specs import Spec

MAX_NOTE_CHARS = 500

_NUMBERED = re.compile(r"(.+)@([0-9]{1,9})", re.DOTALL)


class Visibility(StrEnum):
    """Who may run a definition."""

    PRIVATE = "private"
    """Its owner."""
    SHARED = "shared"
    """Everybody, as `owner/name`; so it may do less."""


@dataclass(frozen=True, kw_only=True)
class Definition:
    """A definition, as it was when it was read."""

    owner: str
    name: str
    visibility: Visibility
    version: int
    """The number of its current version."""
    sha256: str
    updated_at: datetime
    spec: Spec | None
    """What it says; None if that is no spec for this program any more."""
    problem: str = ""
    """Why it cannot be used."""

    @property
    def reference(self) -> str:
        """By which anybody finds it who may."""
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Version:
    """What a definition says since one edit. It never changes."""

    number: int
    sha256: str
    created_at: datetime
    by: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a definition says, and whose it is: what a spec is read from."""

    owner: str
    name: str
    visibility: Visibility
    number: int
    sha256: str
    spec: str
    """JSON, as it was written."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit, and who says why."""

    name: str
    sha256: str
    spec: str
    by: str
    note: str = ""

    def __post_init__(self) -> None:
        if len(self.note) > MAX_NOTE_CHARS:
            raise InvalidInputError(f"A note has at most {MAX_NOTE_CHARS} characters.")


def referred(reference: str, owner: str) -> tuple[str, str]:
    """Return the owner and the name that an agent is asked for by: `name`, or `owner/name`.

    >>> referred("notes", "ada"), referred("team/a/notes", "ada")
    (('ada', 'notes'), ('team/a', 'notes'))
    """
    of, slash, name = reference.rpartition("/")
    return (of, name) if slash else (owner, reference)


def numbered(reference: str) -> tuple[str, int | None]:
    """Return what an agent is asked for by, and the version that is asked for behind an `@`.

    >>> numbered("notes"), numbered("ada@example/notes"), numbered("ada/notes@3")
    (('notes', None), ('ada@example/notes', None), ('ada/notes', 3))
    """
    found = _NUMBERED.fullmatch(reference)
    return (found[1], int(found[2])) if found else (reference, None)
