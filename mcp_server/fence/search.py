"""Search lines of files, in two runs of ripgrep: how many match and where, then the lines to show.

The first run prints a number for each file, whatever the lines hold, and in no order, so that it
can use all processors: the answer is sorted and counted here, to the end. The second reads the few
files that the answer shows. What is said about files that may not be read counts only as time.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotTextError,
    PathEscapeError,
    PatternError,
    ServerError,
    UnavailableError,
)
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding.found import Found, FoundFile, Rank, by_path, exclusions
from mcp_server.fence.finding.ripgrep import Option, OutOfMemoryError, Ripgrep, name_of
from mcp_server.fence.finding.rows import Match, Rows, near_matches
from mcp_server.fence.finding.wanted import Wanted
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import READ_FLAGS, Opened, open_by_walk, split
from mcp_server.fence.texts.content import UTF16_MARKS
from mcp_server.text import quoted, shown

MAX_SEARCHED_BYTES = 100_000_000
"""Bytes of one file that is searched: a line is held in memory, and a file can be one line."""
_MAX_PATTERN_CHARS = 10_000
_MAX_OPEN = 64  # files that one run of ripgrep is given: there are 1024 descriptors by default
_HEAD_BYTES = 8192  # where a file that is binary shows it
_COUNT = re.compile(rb"([^\0]+)\0(\d+)\n")
# Slow: it looks at each file before it opens it. Only for a walk that has met what is too large.
_SPARING = ("--threads=1", f"--max-filesize={MAX_SEARCHED_BYTES}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to search for."""

    pattern: str
    path: str = "."
    glob: str | None = None
    ignore_case: bool = False
    literal: bool = False
    context: int = 0
    """Lines to show before and after each match."""
    limit: int | None = None
    """Most matches, or files, to give; the grant has its own limit."""


@dataclass(frozen=True, slots=True)
class FileCounts:
    """The files with matches in the order of their paths; the first ones, when there are many."""

    path: str
    """The canonical path that was searched."""
    counts: tuple[tuple[str, int], ...]
    """The path of each file and how many lines match in it."""
    files: int
    """How many files have matches."""
    total: int
    """How many lines match in all of them."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Lines in the order of their paths, then numbers; the first ones, when there are too many."""

    path: str
    """The canonical path that was searched."""
    matches: tuple[Match, ...]
    """Lines that match, with the context that was asked for around them."""
    left_out: int
    """How many matches there are beyond these."""


class Search:
    """One search of an open file or directory."""

    def __init__(
        self, ripgrep: Ripgrep, target: Opened, query: Query, grant: Grant, deadline: Deadline
    ) -> None:
        """Take the parts.

        Raises:
            PatternError, InvalidInputError: the pattern or glob cannot be searched for.
            NotTextError: the one file to search is binary.
            LimitError: the pattern, the glob or the file is too large.
        """
        self._ripgrep = ripgrep
        self._target = target
        self._query = query
        self._grant = grant
        self._deadline = deadline
        _check(query)
        self._wanted = None if query.glob is None else Wanted.parse(query.glob)
        self._is_directory = stat.S_ISDIR(os.fstat(target.fd).st_mode)
        if not self._is_directory:
            _check_file(target.fd, query.path)

    def counts(self) -> FileCounts:
        """Count the matches in each file.

        Raises:
            PatternError: the pattern is not accepted.
            LimitError: the deadline passed, or too much memory is needed.
            UnavailableError: ripgrep is missing or failed.
        """
        found = self._count(self._bounded(self._grant.limits.entries))
        counts = tuple((file.path, file.count) for file in found.first())
        return FileCounts(self._target.path, counts, found.files, found.total)

    def lines(self) -> SearchResult:
        """Find the lines that match; raises what `counts` raises."""
        limit = self._bounded(self._grant.limits.matches)
        found = self._count(limit)
        files = list(_enough(found.first(), limit))
        lines = self._read(files, limit) if files else []
        given = sum(not line.is_context for line in lines)
        return SearchResult(self._target.path, tuple(lines), max(0, found.total - given))

    def _bounded(self, limit: int) -> int:
        return limit if self._query.limit is None else min(limit, self._query.limit)

    def _count(self, keep: int) -> Found:
        options: list[Option] = [
            "--count",
            "--with-filename",
            *([] if self._is_directory else ["--text"]),
            *(self._wanted.options() if self._wanted else ()),
            *exclusions(self._grant, self._target.path),
        ]
        try:
            return self._count_with(options, keep)
        except OutOfMemoryError:
            return self._count_with([*_SPARING, *options], keep)

    def _count_with(self, options: Sequence[Option], keep: int) -> Found:
        found = Found(self._target, self._grant, self._wanted, keep, self._rank)
        rest = b""

        def receive(chunk: bytes) -> None:
            nonlocal rest
            rest += chunk
            end = 0
            for count in _COUNT.finditer(rest):
                self._deadline.check()
                found.add(count[1], int(count[2]))
                end = count.end()
            rest = rest[end:]

        self._run(options, (), receive)
        return found

    def _rank(self, name: bytes) -> Rank | None:
        if self._is_directory:
            try:
                state = os.stat(name, dir_fd=self._target.fd, follow_symlinks=False)
            except OSError:  # gone meanwhile
                return None
            if state.st_size > MAX_SEARCHED_BYTES:
                return None
        return by_path(name)

    def _read(self, files: Sequence[FoundFile], limit: int) -> list[Match]:
        lines: list[Match] = []
        for at in range(0, len(files), _MAX_OPEN):
            left = limit - sum(not line.is_context for line in lines)
            if left:
                lines += self._read_some(files[at : at + _MAX_OPEN], left)
        return near_matches(lines, self._query.context)

    def _read_some(self, files: Sequence[FoundFile], limit: int) -> list[Match]:
        if not self._is_directory:
            os.lseek(self._target.fd, 0, os.SEEK_SET)
            return self._read_opened({file.name: file.path for file in files}, (), limit)
        with ExitStack() as stack:
            opened = {
                fd: file.path for file in files if (fd := self._open(file, stack)) is not None
            }
            paths = {name_of(fd): path for fd, path in opened.items()}
            return self._read_opened(paths, tuple(opened), limit) if opened else []

    def _open(self, file: FoundFile, stack: ExitStack) -> int | None:
        """Open a file that was found; None if it is not there any more, or behind a link now."""
        below = file.name.removeprefix(b"./")
        try:
            opened = open_by_walk(self._target.fd, split(os.fsdecode(below)), READ_FLAGS)
        except (OSError, PathEscapeError):
            return None
        stack.enter_context(opened)
        is_file = stat.S_ISREG(os.fstat(opened.fd).st_mode)
        return opened.fd if is_file and os.fsencode(opened.path) == below else None

    def _read_opened(
        self, paths: Mapping[bytes, str], files: Sequence[int], limit: int
    ) -> list[Match]:
        rows = Rows(paths, limit, self._grant.limits.match_chars)
        options = [
            "--threads=1",  # so that files come in the order in which they are given
            "--no-mmap",  # a file that shrinks meanwhile would end ripgrep
            "--text",  # what is binary was left out by the first run
            "--no-heading",
            "--with-filename",
            "--line-number",
            "--column",
            "--no-context-separator",
            f"--context={self._query.context}",
            f"--max-count={limit}",
        ]
        self._run(options, files, rows.feed)
        return rows.lines

    def _run(
        self, options: Sequence[Option], files: Sequence[int], receive: Callable[[bytes], None]
    ) -> None:
        asked = [
            "--regex-size-limit=10M",
            "--dfa-size-limit=10M",
            *(["--ignore-case"] if self._query.ignore_case else []),
            *(["--fixed-strings"] if self._query.literal else []),
            "-e",
            self._query.pattern,
        ]
        complaint = self._ripgrep.run(
            self._target, [*options, *asked], files, receive, self._deadline
        )
        if complaint:
            raise _fault(complaint, self._query)


def _enough(files: Iterable[FoundFile], limit: int) -> Iterator[FoundFile]:
    """Yield the first files, until they hold `limit` matches."""
    matches = 0
    for file in files:
        if matches >= limit:
            return
        matches += file.count
        yield file


def _check(query: Query) -> None:
    pattern = query.pattern
    if len(pattern) > _MAX_PATTERN_CHARS:
        raise LimitError(
            f"The pattern has {len(pattern)} characters; at most {_MAX_PATTERN_CHARS} are taken. "
            "Search for a part of it.",
            limit=_MAX_PATTERN_CHARS,
            actual=len(pattern),
            unit="characters",
        )
    try:
        pattern.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            f"The pattern {quoted(pattern)} is not valid Unicode text."
        ) from None
    if "\0" in pattern:
        raise InvalidInputError(f"The pattern {quoted(pattern)} holds a NUL character.")
    if "\n" in pattern:
        raise _line_break(query)


def _line_break(query: Query) -> PatternError:
    return PatternError(
        f"Pattern {quoted(query.pattern)} holds a line break, but lines are matched one by one. "
        "Search for a part that is on one line."
    )


def _check_file(fd: int, path: str) -> None:
    size = os.fstat(fd).st_size
    if size > MAX_SEARCHED_BYTES:
        raise LimitError(
            f"File {shown(path)} has {size} bytes; files over {MAX_SEARCHED_BYTES} bytes are not "
            "searched, and not read either: work without it.",
            limit=MAX_SEARCHED_BYTES,
            actual=size,
            unit="bytes",
        )
    head = os.pread(fd, _HEAD_BYTES, 0)
    if b"\0" in head and not head.startswith(UTF16_MARKS):
        raise NotTextError(f"File {shown(path)} is binary: it holds NUL bytes, and no lines.")


def _fault(complaint: str, query: Query) -> ServerError:
    """Return the error for what ripgrep complained of, quoting only what the caller wrote."""
    if complaint.startswith("rg: regex parse error"):
        lines = complaint.splitlines()
        reason = next((line for line in lines if line.startswith("error: ")), "")
    elif complaint.startswith("rg: compiled regex exceeds size limit"):
        reason = "error: it is too large"
    elif "is not allowed in a regex" in complaint:
        return _line_break(query)
    else:
        return UnavailableError("ripgrep failed; the search was not done.")
    return PatternError(
        f"Pattern {quoted(query.pattern)} is not accepted: {reason.removeprefix('error: ')}. "
        "Correct it (Rust regex syntax), or set literal=true to search for the text as it is."
    )
