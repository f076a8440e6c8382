"""Find files by name: ripgrep walks, the caller's glob and the grant choose."""

import os
from dataclasses import dataclass
from typing import Literal

from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding.found import Found, Rank, by_path, exclusions
from mcp_server.fence.finding.ripgrep import Ripgrep
from mcp_server.fence.finding.wanted import Wanted
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opened

Order = Literal["path", "newest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Which files to find."""

    glob: str
    """By their paths below `path`; without `/`, by their names at any depth."""
    path: str = "."
    include_ignored: bool = False
    """Whether what .gitignore and the like leave out is found too."""
    order: Order = "path"


@dataclass(frozen=True, slots=True)
class FoundNames:
    """Canonical paths in the order that was asked for; the first ones, when there are too many."""

    path: str
    """The canonical path of the directory that was looked through."""
    paths: tuple[str, ...]
    left_out: int


def find_names(
    ripgrep: Ripgrep, target: Opened, names: Names, *, grant: Grant, deadline: Deadline
) -> FoundNames:
    """Find files below the open directory `target`; directories and links are no files.

    Raises:
        InvalidInputError: the glob is not accepted.
        LimitError: the deadline passed, or the glob is too long.
        UnavailableError: ripgrep is missing or failed.
    """
    wanted = Wanted.parse(names.glob)

    def newest(name: bytes) -> Rank | None:
        try:
            changed = os.stat(name, dir_fd=target.fd, follow_symlinks=False).st_mtime_ns
        except OSError:  # gone meanwhile
            return None
        return -changed, name

    rank = newest if names.order == "newest" else by_path
    found = Found(target, grant, wanted, grant.limits.entries, rank)
    options = [
        "--files",
        *(["--no-ignore"] if names.include_ignored else []),
        *wanted.options(),
        *exclusions(grant, target.path),
    ]
    rest = b""

    def receive(chunk: bytes) -> None:
        nonlocal rest
        *whole, rest = (rest + chunk).split(b"\0")
        for name in whole:
            deadline.check()
            found.add(name, 1)

    ripgrep.run(target, options, (), receive, deadline)
    paths = tuple(file.path for file in found.first())
    return FoundNames(target.path, paths, found.files - len(paths))
