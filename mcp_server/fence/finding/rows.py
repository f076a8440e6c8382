"""The lines that ripgrep prints, read as they come; of a long one, only what is shown is held."""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_HEAD = re.compile(rb"([^\0]+)\0(\d+)(?::(\d+):|-)")
_HEAD_BYTES = 10_000  # a path, two numbers
_CONTINUATION = bytes(range(0x80, 0xC0))
_LEAD_CHARS = 100  # what is shown before a match far to the right in a long line
_CHAR_BYTES = 4  # at most, in UTF-8


@dataclass(frozen=True, slots=True)
class Match:
    """One line that matches, or stands near one that does."""

    path: str
    line: int
    text: str
    """The line without its end, cut around the match when it is long; bytes that are not UTF-8 as
    one of U+DC80..U+DCFF each.
    """
    is_context: bool = False


class Rows:
    """Takes output as `path NUL line:column:text` for matches, `path NUL line-text` for others."""

    def __init__(self, paths: Mapping[bytes, str], limit: int, chars: int) -> None:
        """Take what to look for.

        Args:
            paths: the canonical path of each name that ripgrep prints.
            limit: matches to take in; what comes behind them is passed over.
            chars: characters of a line to show.
        """
        self._paths = paths
        self._chars = chars
        self._left = limit
        self._is_full = False
        self._row = _Row(chars)
        self.lines: list[Match] = []

    def feed(self, chunk: bytes) -> None:
        """Take the next piece of the output."""
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            if self._is_full:
                return
            self._row.take(end)
            if self._row.is_in_name:  # a name can hold what ends a line
                self._row.take(b"\n")
            else:
                self._add(self._row)
                self._row = _Row(self._chars)
        self._row.take(rest)

    def _add(self, row: "_Row") -> None:
        self._is_full = not row.is_context and self._left == 0
        if not self._is_full and row.name in self._paths:
            self._left -= not row.is_context
            self.lines.append(Match(self._paths[row.name], row.line, row.text(), row.is_context))


class _Row:
    """A line of output that is being read."""

    def __init__(self, chars: int) -> None:
        self._limit = chars
        self._raw = bytearray()  # what is held: the head, then text
        self._start = 0  # bytes of the text that are passed over
        self._room = 0
        self._match_at = 0
        self._length = 0  # of the text, in bytes
        self._chars = 0
        self._has_head = False
        self.name = b""
        self.line = 0
        self.is_context = False

    @property
    def is_in_name(self) -> bool:
        """Whether the NUL that ends the name has not come yet."""
        return not self._has_head and b"\0" not in self._raw

    def take(self, part: bytes) -> None:
        if not self._has_head:
            self._raw += part
            part = self._take_head()
        if self._has_head:
            skipped = max(0, self._start - self._length)
            self._raw += part[skipped : skipped + self._room - len(self._raw)]
            self._length += len(part)
            self._chars += len(part.translate(None, _CONTINUATION))

    def _take_head(self) -> bytes:
        """Return what is behind the head, if that has come."""
        head = _HEAD.match(self._raw)
        if head is None:
            del self._raw[_HEAD_BYTES:]
            return b""
        self._has_head = True
        self.name, self.line = head[1], int(head[2])
        self.is_context = head[3] is None
        self._match_at = 0 if self.is_context else int(head[3]) - 1
        lead = _CHAR_BYTES * _LEAD_CHARS
        near = _CHAR_BYTES * (self._limit + _LEAD_CHARS)
        self._start = self._match_at - lead if self._match_at > near else 0
        self._room = 2 * near
        text = bytes(self._raw[head.end() :])
        self._raw.clear()
        return text

    def text(self) -> str:
        raw = bytes(self._raw)
        if self._length <= self._room:
            raw = raw.removesuffix(b"\r")
        text = raw.decode(errors="surrogateescape")
        if self._start == 0 and self._length <= self._room and len(text) <= self._limit:
            return text
        before = raw[: self._match_at - self._start].decode(errors="surrogateescape")
        first = max(0, len(before) - _LEAD_CHARS)
        lead = "…" if first or self._start else ""
        return f"{lead}{text[first : first + self._limit]}… ({self._chars} characters in this line)"


def near_matches(lines: Iterable[Match], context: int) -> list[Match]:
    """Return the matches in `lines` with at most `context` lines before and after each."""
    lines = list(lines)
    numbers: dict[str, list[int]] = {}
    for line in lines:
        if not line.is_context:
            numbers.setdefault(line.path, []).append(line.line)
    return [line for line in lines if _is_near(line, numbers.get(line.path, []), context)]


def _is_near(line: Match, numbers: list[int], context: int) -> bool:
    """Tell whether one of `numbers`, in order, is at most `context` away."""
    at = bisect_left(numbers, line.line - context)
    return at < len(numbers) and numbers[at] <= line.line + context
