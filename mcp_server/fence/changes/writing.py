"""`WriteFile`: create a file, or replace one as a whole, in the manner of the old one."""

import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotTextError,
    PermissionDeniedError,
    StaleFileError,
)
from mcp_server.fence.beneath import Place
from mcp_server.fence.changes.change import Change, Kind, State
from mcp_server.fence.changes.changer import Planning
from mcp_server.fence.changes.disk import look, state_of
from mcp_server.fence.openers import join
from mcp_server.fence.texts.content import decode, like
from mcp_server.fence.texts.diffs import diff
from mcp_server.text import shown

_MIN_HASH_CHARS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFile:
    """A wish to put `text` at `path`, with the directories above it."""

    path: str
    text: str
    expected_hash: str | None = None
    """What the file must still be: the start of its SHA-256, as `read_file` shows it."""
    tool: str = "write_file"
    quotes: ClassVar[bool] = False

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return the directories to make, and the file."""
        with planning.gate.writable(self.path, planning.deadline) as place:
            before = found_file(place, self.path, planning)
            check_hash(before, self.expected_hash, place, planning)
            content = like(b"" if before is None else before.content, self.text, self.path)
            check_size(content, self.path, planning)
            after = State(Kind.FILE, content)
            return [*directories_to_make(place), Change(place.path, before, after)]


def found_file(place: Place, path: str, planning: Planning) -> State | None:
    """Return the file at `place` that is to be changed, None if there is nothing.

    Raises:
        NotAFileError: something else is there.
        PermissionDeniedError: it is read-only.
        LimitError: it is too large to be put back.
    """
    if place.missing:
        return None
    found = state_of(place.directory.fd, place.name)
    if found is None:
        return None
    if stat.S_ISDIR(found.st_mode):
        raise NotAFileError(f"Path {shown(path)} is a directory and cannot be replaced by a file.")
    if not stat.S_ISREG(found.st_mode):
        raise NotAFileError(
            f"Path {shown(path)} is a link, a pipe, a socket or a device; only files are replaced."
        )
    if not found.st_mode & 0o222:
        mode = found.st_mode & 0o777
        raise PermissionDeniedError(f"File {shown(path)} is read-only (mode {mode:04o}).")
    limit = planning.gate.grant.limits.file_bytes
    return look(place.directory, place.name, limit, planning.deadline)


def directories_to_make(place: Place) -> list[Change]:
    """Return the changes that make the missing directories above `place`."""
    changes = []
    path = place.directory.path
    for name in place.missing:
        path = join(path, name)
        changes.append(Change(path, None, State(Kind.DIRECTORY)))
    return changes


def check_hash(found: State | None, expected: str | None, place: Place, planning: Planning) -> None:
    """Raise unless the file at `place` is what the caller has seen.

    Raises:
        InvalidInputError: `expected` is not the start of a SHA-256.
        StaleFileError: the file is another one by now; the message shows what has changed, if the
            one that is expected was read or written here.
    """
    if expected is None:
        return
    path = shown(place.path)
    start = expected.strip().lower().removeprefix("sha256").lstrip(" :")
    if not _MIN_HASH_CHARS <= len(start) <= 64 or set(start) - set("0123456789abcdef"):
        raise InvalidInputError(
            f"The expected_hash for {path} is not a SHA-256: give at least the first "
            f"{_MIN_HASH_CHARS} hexadecimal digits that read_file shows, or leave it out."
        )
    if found is None:
        raise StaleFileError(f"File {path} does not exist any more; nothing was changed.")
    if found.sha256.startswith(start):
        return
    if not planning.gate.grant.may_read(place.path):  # from a hash what is short can be guessed
        raise StaleFileError(
            f"File {path} has changed since: its sha256 is not {start[:12]}. Nothing was changed."
        )
    raise StaleFileError(
        f"File {path} has changed since: its sha256 is {found.sha256[:12]} now, not {start[:12]}. "
        f"Nothing was changed. {_since(found, start, place.path, planning)}"
    )


def _since(found: State, start: str, path: str, planning: Planning) -> str:
    seen = planning.seen.find(path, start) or planning.journal.content(path, start)
    if seen is None:
        return "Read it again, then repeat the call with that hash."
    with suppress(NotTextError):
        changed = diff(decode(seen, path).text, decode(found.content, path).text)
        return f"See what is new, then repeat the call with that hash.\n{changed}"
    return "Read it again, then repeat the call with that hash."


def check_size(content: bytes, path: str, planning: Planning) -> None:
    """Raise LimitError if `content` is more than a file may hold."""
    limit = planning.gate.grant.limits.file_bytes
    if len(content) > limit:
        raise LimitError(
            f"The content for {shown(path)} has {len(content)} bytes; at most {limit} are "
            "written. Write it as several files.",
            limit=limit,
            actual=len(content),
            unit="bytes",
        )
