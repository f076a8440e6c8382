"""The files that ripgrep has found and the caller may know of: the first ones, and how many."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import itemgetter

from mcp_server.fence.finding.wanted import Wanted
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opened, join

_SIMPLE_GLOB = re.compile(r"[\w.*/-]+")
_SLACK = 1000
"""Files held beyond those that are asked for, so that they need not be sorted at each one."""

Rank = tuple[int, bytes]
"""Where a file stands in an answer; by the second part alone when all have the same first one."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that may be read."""

    name: bytes
    """As ripgrep writes it: from the directory that was searched, "./" ahead."""
    path: str
    """The canonical path."""
    count: int
    """The lines in it that match, 1 where nothing was searched for."""


class Found:
    """The first files of a walk that are wanted and may be read; memory does not grow with it."""

    def __init__(
        self,
        target: Opened,
        grant: Grant,
        wanted: Wanted | None,
        keep: int,
        rank: Callable[[bytes], Rank | None],
    ) -> None:
        """Take how to judge what is found.

        Args:
            target: what is searched: an open directory, or a file that the caller may read.
            grant: what may be read.
            wanted: what is asked for; anything when None.
            keep: how many files are held at the end.
            rank: gives the place of a name, or None for a file that does not count at all.
        """
        self._target = target
        self._is_directory = stat.S_ISDIR(os.fstat(target.fd).st_mode)
        self._grant = grant
        self._wanted = wanted
        self._keep = keep
        self._rank = rank
        self._held: list[tuple[Rank, bytes, str, int]] = []
        self._last: Rank | None = None
        self.files = 0
        """How many there are, held or not."""
        self.total = 0
        """The lines in all of them."""

    def add(self, name: bytes, count: int) -> None:
        """Take in a file as ripgrep names it, unless the caller is not to know of it."""
        path = self._permitted(name)
        rank = self._rank(name) if path is not None else None
        if path is None or rank is None:
            return
        self.files += 1
        self.total += count
        if self._last is None or rank < self._last:
            self._held.append((rank, name, path, count))
            if len(self._held) >= self._keep + _SLACK:
                self._prune()
                self._last = self._held[-1][0]

    def first(self) -> list[FoundFile]:
        """Return the files that are held, in order."""
        self._prune()
        return [FoundFile(name, path, count) for _, name, path, count in self._held]

    def _prune(self) -> None:
        self._held.sort(key=itemgetter(0))
        del self._held[self._keep :]

    def _permitted(self, name: bytes) -> str | None:
        if not self._is_directory:
            return self._target.path
        below = os.fsdecode(name.removeprefix(b"./"))
        if self._wanted is not None and not self._wanted.has(below):
            return None
        path = join(self._target.path, below)
        return path if self._grant.may_read(path) else None


def by_path(name: bytes) -> Rank:
    """Rank by the components of the path: what a directory holds stands together, as in a tree."""
    return 0, name.replace(b"/", b"\0")


def exclusions(grant: Grant, searched: str) -> Iterator[str]:
    """Yield options that save work: every file is judged again by the grant."""
    above = "" if searched == "." else searched + "/"
    for glob in filter(_SIMPLE_GLOB.fullmatch, grant.skippable):
        if "/" not in glob:
            yield f"--iglob=!{glob}"
        elif glob.startswith(above):  # as ripgrep sees it, from where it searches
            yield f"--iglob=!/{glob.removeprefix(above)}"
