"""Make, move and delete: what happens to names, not to what is in files."""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from mcp_server.errors import InvalidInputError, LimitError, NotAFileError, PermissionDeniedError
from mcp_server.fence.beneath import Place
from mcp_server.fence.changes.change import Change, Kind, State
from mcp_server.fence.changes.changer import Planning
from mcp_server.fence.changes.disk import look, state_of
from mcp_server.fence.changes.writing import directories_to_make
from mcp_server.fence.gate import Gate, link_text
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import DIRECTORY_FLAGS, MAX_STEPS, Opened, is_in, join
from mcp_server.text import shown

MAX_ENTRIES = 10_000
"""Files and directories that one call moves or deletes."""
MAX_DELETED_BYTES = 50_000_000
"""Bytes that one call deletes: all of them are kept, to be put back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MakeDirectory:
    """A wish to have a directory at `path`, and those above it."""

    path: str
    tool: str = "make_directory"
    quotes: ClassVar[bool] = False

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return the directories to make: none when it is there."""
        with planning.gate.entry(self.path, planning.deadline) as place:
            found = _found(place)
            if found is None:
                return [
                    *directories_to_make(place),
                    Change(place.path, None, State(Kind.DIRECTORY)),
                ]
            if stat.S_ISDIR(found.st_mode):
                return []
            raise NotAFileError(
                f"Path {shown(self.path)} is taken: something that is not a directory is there. "
                "Choose another name."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovePath:
    """A wish to have at `destination` what is at `source`; nothing is ever replaced."""

    source: str
    destination: str
    tool: str = "move_path"
    quotes: ClassVar[bool] = False

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return the directories to make above the destination, and the move."""
        gate, deadline = planning.gate, planning.deadline
        with (
            gate.entry(self.source, deadline) as old,
            gate.entry(self.destination, deadline) as new,
        ):
            found = _present(old, self.source, planning)
            self._check_free(new)
            if is_in(new.path, old.path):
                raise InvalidInputError(
                    f"Path {shown(self.source)} cannot be moved into itself. Give a destination "
                    "outside of it."
                )
            if stat.S_ISDIR(found.st_mode):
                for directory, name, path in _below(old, self.source, planning):
                    target = new.path + path.removeprefix(old.path)
                    self._check_below(state_of(directory.fd, name), path, target, gate.grant)
                    self._check_link(Place(directory, (), name), target, gate)
            elif not stat.S_ISLNK(found.st_mode):
                gate.check_readable(old.path, self.source)
            self._check_link(old, new.path, gate)
            return [*directories_to_make(new), Change(old.path, None, None, new.path)]

    def _check_free(self, new: Place) -> None:
        found = _found(new)
        if found is None:
            return
        advice = "Choose another name, or move or delete what is there first."
        if stat.S_ISDIR(found.st_mode):
            advice = "To move something into that directory, give the whole new path."
        raise InvalidInputError(
            f"Destination {shown(self.destination)} exists, and nothing is replaced. {advice}"
        )

    def _check_link(self, old: Place, target: str, gate: Gate) -> None:
        """Refuse to put a link to what is hidden where ripgrep might take it for a file.

        As `.gitignore`, or between the moment in which it finds a file and that in which it reads
        it: it follows links then.
        """
        text = link_text(old)
        if text is not None and gate.hides(target, text):
            raise PermissionDeniedError(
                f"Path {shown(self.source)} may not be moved: it is or holds a link, which would "
                "lead to what may not be read here."
            )

    def _check_below(
        self, found: os.stat_result | None, path: str, target: str, grant: Grant
    ) -> None:
        """Refuse to carry what is hidden into view, or anything to where it must not be."""
        is_directory = found is not None and stat.S_ISDIR(found.st_mode)
        is_seen = grant.may_list(path) if is_directory else grant.may_read(path)
        if not (is_seen and grant.may_write(path) and grant.may_write(target)):
            raise _holds_more(self.source, "moved")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletePath:
    """A wish to have nothing at `path`; a link goes, not what it leads to."""

    path: str
    recursive: bool = False
    tool: str = "delete_path"
    quotes: ClassVar[bool] = False

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return the deletions, what is in a directory before the directory."""
        with planning.gate.entry(self.path, planning.deadline) as place:
            found = _present(place, self.path, planning)
            if not stat.S_ISDIR(found.st_mode):
                return [_deletion(place.directory, place.name, planning)]
            deletions: list[Change] = []
            size = 0
            for directory, name, path in _below(place, self.path, planning):
                if not self.recursive:
                    raise InvalidInputError(
                        f"Directory {shown(self.path)} is not empty. Give recursive=true to delete "
                        "it with all that it holds."
                    )
                if not planning.gate.grant.may_write(path):
                    raise _holds_more(self.path, "deleted")
                deletion = _deletion(directory, name, planning)
                deletions.append(deletion)
                size += len(deletion.before.content) if deletion.before else 0
                _check_size(size, self.path)
            return [*deletions, _deletion(place.directory, place.name, planning)]


def _found(place: Place) -> os.stat_result | None:
    return None if place.missing else state_of(place.directory.fd, place.name)


def _present(place: Place, path: str, planning: Planning) -> os.stat_result:
    found = _found(place)
    if found is None:
        raise planning.gate.missing(path, planning.deadline)
    if path.endswith(("/", "/.")) and not stat.S_ISDIR(found.st_mode):
        raise NotAFileError(
            f"Path {shown(path)} ends in '/', but it is not a directory. Leave out the '/'."
        )
    return found


def _below(place: Place, path: str, planning: Planning) -> Iterator[tuple[Opened, str, str]]:
    """Yield directory, name and canonical path of all below `place`, the deepest first."""
    found_below = _walk(place.directory, place.name, planning, MAX_STEPS)
    for count, found in enumerate(found_below, 1):
        if count > MAX_ENTRIES:
            raise LimitError(
                f"Directory {shown(path)} holds more than {MAX_ENTRIES} files and directories; one "
                "call does not take more. Do it in parts.",
                limit=MAX_ENTRIES,
                actual=count,
                unit="entries",
            )
        yield found


def _walk(
    parent: Opened, name: str, planning: Planning, depth: int
) -> Iterator[tuple[Opened, str, str]]:
    planning.deadline.check()
    if depth == 0:
        raise InvalidInputError(f"Directories are nested deeper than {MAX_STEPS} levels there.")
    flags = DIRECTORY_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=parent.fd)
    with Opened(fd, join(parent.path, name)) as directory:
        for each in sorted(os.listdir(fd)):
            found = state_of(fd, each)
            if found is not None and stat.S_ISDIR(found.st_mode):
                yield from _walk(directory, each, planning, depth - 1)
            yield directory, each, join(directory.path, each)


def _deletion(directory: Opened, name: str, planning: Planning) -> Change:
    limit = planning.gate.grant.limits.file_bytes
    before = look(directory, name, limit, planning.deadline)
    return Change(join(directory.path, name), before, None)


def _check_size(size: int, path: str) -> None:
    if size > MAX_DELETED_BYTES:
        raise LimitError(
            f"Directory {shown(path)} holds more than {MAX_DELETED_BYTES} bytes, more than one "
            "deletion keeps to be undone. Delete it in parts.",
            limit=MAX_DELETED_BYTES,
            actual=size,
            unit="bytes",
        )


def _holds_more(path: str, what: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"Path {shown(path)} may not be {what} as a whole: not all of it, or not its destination, "
        "may be written here. Take its parts one by one."
    )
