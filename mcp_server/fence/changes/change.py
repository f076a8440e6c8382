"""What a change is: one path, what was there, what is there after; and who asked for it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Kind(StrEnum):
    """What a change can put at a path."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class State:
    """What is at a path, whole: enough to put it there again."""

    kind: Kind
    content: bytes = field(default=b"", repr=False)
    """The bytes of a file, the target of a link, nothing for a directory."""
    mode: int | None = None
    """Permission bits; None for what is new and gets what the system gives."""
    sha256: str = field(init=False)
    """Of the content, in hexadecimal."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", hashlib.sha256(self.content).hexdigest())


def are_alike(one: State | None, two: State | None) -> bool:
    """Tell whether both are nothing, or the same thing with the same content, whatever its mode."""
    if one is None or two is None:
        return one is two
    return (one.kind, one.sha256) == (two.kind, two.sha256)


@dataclass(frozen=True, slots=True)
class Change:
    """One effect on one path."""

    path: str
    """Canonical, relative to the root."""
    before: State | None
    """None: nothing was there."""
    after: State | None
    """None: nothing is there any more."""
    moved_to: str | None = None
    """Where a move took what was at `path`, with all below it; there are no states then."""

    @property
    def reverse(self) -> "Change":
        """The change that takes this one back."""
        if self.moved_to is not None:
            return Change(self.moved_to, None, None, self.path)
        return Change(self.path, self.after, self.before)


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """On whose behalf a call is made, as far as it has said so."""

    actor: str = ""
    """The agent or the host, such as `code_writer` or `claude-ai 1.0`."""
    session: str = ""
    run: str = ""
    key: str | None = None
    """The call's idempotency key: the same call with the same key is done once."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call has done; what an earlier one with the same key did, when it is repeated."""

    changes: Sequence[Change]
    """In the order in which they were made."""
    number: int = 0
    """What the journal calls it; 0 for a dry run."""
    is_applied: bool = True
    """False for a dry run."""
    is_undone: bool = False
    """Whether the earlier call, which this one repeats, has been taken back since."""
