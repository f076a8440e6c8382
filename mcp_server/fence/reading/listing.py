"""List a directory tree by descriptor, showing only what the grant lets a caller reach."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from heapq import nsmallest
from itertools import chain, islice
from operator import itemgetter

from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import DIRECTORY_FLAGS, Opened, join

MAX_COUNTED = 100_000
"""Entries that are counted at all: a listing says how many it left out, but not at any price."""
_CHECKED_EVERY = 64  # entries between two looks at the clock


class EntryKind(Enum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    LINK = "link"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory."""

    path: str
    kind: EntryKind
    size: int = 0
    """Bytes, of a file."""
    target: str | None = None
    """What a link holds; None when that is outside."""


@dataclass(frozen=True, slots=True)
class Listing:
    """Entries in order of name, those of a subdirectory right behind it."""

    path: str
    """The canonical path that was listed."""
    entries: tuple[Entry, ...]
    left_out: int
    is_complete: bool
    """Whether `left_out` is exact: a very large tree is not counted to its end."""
    depth: int
    """The levels that were listed."""


def list_tree(opened: Opened, depth: int, *, grant: Grant, deadline: Deadline) -> Listing:
    """List the open directory `opened`, `depth` levels deep.

    Raises:
        LimitError: the deadline passed.
    """
    entries: list[Entry] = []
    counted = 0
    for entry in _walk(opened, depth, grant, deadline):
        counted += 1
        if counted > MAX_COUNTED:
            break
        if len(entries) < grant.limits.entries:
            entries.append(entry)
    left_out = min(counted, MAX_COUNTED) - len(entries)
    return Listing(opened.path, tuple(entries), left_out, counted <= MAX_COUNTED, depth)


def visible_names(opened: Opened, grant: Grant, deadline: Deadline) -> Iterator[str]:
    """Yield the names in the open directory that the grant lets a caller see, in order."""
    return (name for name, _ in _visible(opened, grant, deadline))


def _walk(opened: Opened, depth: int, grant: Grant, deadline: Deadline) -> Iterator[Entry]:
    for name, entry in _visible(opened, grant, deadline):
        yield entry
        if depth > 1 and entry.kind is EntryKind.DIRECTORY:
            try:
                fd = os.open(name, DIRECTORY_FLAGS | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=opened.fd)
            except OSError:  # gone, exchanged or not readable: its name was shown, that is all
                continue
            with Opened(fd, entry.path) as inner:
                yield from _walk(inner, depth - 1, grant, deadline)


def _visible(opened: Opened, grant: Grant, deadline: Deadline) -> Iterator[tuple[str, Entry]]:
    """Yield name and entry in order, in a directory of any size the first `MAX_COUNTED` and one."""
    # Given a descriptor, scandir stats by descriptor too; given a name it would follow a swap.
    with os.scandir(opened.fd) as found:
        judged = _checked(found, opened, grant, deadline)
        first = list(islice(judged, MAX_COUNTED + 1))
        if len(first) > MAX_COUNTED:
            yield from nsmallest(MAX_COUNTED + 1, chain(first, judged), key=itemgetter(0))
        else:
            yield from sorted(first, key=itemgetter(0))


def _checked(
    found: Iterable[os.DirEntry[str]], directory: Opened, grant: Grant, deadline: Deadline
) -> Iterator[tuple[str, Entry]]:
    for count, each in enumerate(found):
        if count % _CHECKED_EVERY == 0:
            deadline.check()
        entry = _judged(each, directory, grant)
        if entry is not None:
            yield each.name, entry


def _judged(found: os.DirEntry[str], directory: Opened, grant: Grant) -> Entry | None:
    """Return what is shown of `found`, or None if it is out of the caller's reach."""
    path = join(directory.path, found.name)
    try:
        if found.is_symlink():
            return judged_link(path, os.readlink(found.name, dir_fd=directory.fd), grant)
        if found.is_dir(follow_symlinks=False):
            return Entry(path, EntryKind.DIRECTORY) if grant.may_list(path) else None
        if not grant.may_read(path):
            return None
        if not found.is_file(follow_symlinks=False):
            return Entry(path, EntryKind.OTHER)
        return Entry(path, EntryKind.FILE, found.stat(follow_symlinks=False).st_size)
    except OSError:  # it went away between the reading of the directory and the look at it
        return None


def judged_link(path: str, target: str, grant: Grant) -> Entry | None:
    """Return what is shown of the link at `path`, or None if it is out of the caller's reach."""
    if grant.denies(path):
        return None
    aim = aim_of(path, target)
    if aim is None:
        return Entry(path, EntryKind.LINK) if grant.may_read(path) else None
    if grant.may_read(aim) or grant.may_list(aim):
        return Entry(path, EntryKind.LINK, target=target)
    return None


def aim_of(link: str, target: str) -> str | None:
    """Return the path that the text of a link means, or None if it leads outside."""
    if target.startswith("/"):
        return None
    parts = link.split("/")[:-1]
    for part in target.split("/"):
        if part == ".." and not parts:
            return None
        if part == "..":
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts) or "."
