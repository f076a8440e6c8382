"""Pages of files: numbered lines under a header, and in the last line how to go on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from mcp_server.errors import InvalidInputError, LimitError
from mcp_server.fence.grant import Limits
from mcp_server.fence.reading.file import OtherFile, TextFile
from mcp_server.fence.texts.content import line_ends
from mcp_server.text import byte_size, count_lines, counted, printable_name, rows_that_fit, shown

_STEP_CHARS = 1 << 16


@dataclass(frozen=True, slots=True)
class Page:
    """Some lines of a file, as they are shown."""

    path: str
    first: int
    rows: list[str]
    total: int
    """Lines of the file."""
    facts: str
    """What the header says of the whole file."""

    def cut(self, max_bytes: int) -> "Page":
        """Return the page with as many rows as fit, if any."""
        page = replace(self, rows=rows_that_fit(self.rows, max_bytes))
        return page if page.size <= max_bytes else replace(self, rows=[])

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        return sum(byte_size(row) + 1 for row in self.rows)

    def __str__(self) -> str:
        last = self.first + len(self.rows) - 1 if self.rows else 0
        header = (
            f"{printable_name(self.path)} · lines {min(self.first, last)}-{last} of {self.total} · "
            f"{self.facts}"
        )
        left = self.total - last
        footer = [f"… {counted(left, 'more line')}; go on with offset={last + 1}."]
        return "\n".join([header, *self.rows, *(footer if left else [])])


def page_of(file: TextFile, offset: int, limit: int | None, limits: Limits) -> Page:
    """Return the lines of `file` from `offset` on, as many as `limit` and `limits` allow.

    Raises:
        InvalidInputError: there is no line at `offset`.
        LimitError: a page of `limit` lines would be too large; the message names one that fits.
    """
    total = count_lines(file.text)
    first = _first_line(file.path, offset, total)
    wanted = total - first + 1
    if limit is not None:
        wanted = min(limit, wanted)
    rows = _rows(lines_from(file.text, first), first, wanted, limits)
    if limit is not None and len(rows) < wanted:
        raise LimitError(
            f"{wanted} lines of {shown(file.path)} from line {first} on are more than one page "
            f"holds. limit={len(rows)} fits.",
            limit=len(rows),
            actual=wanted,
            unit="lines",
        )
    return Page(file.path, first, rows, total, _facts(file))


def described(file: OtherFile) -> str:
    """Return one line about a file that is no text."""
    pixels = file.media.pixels if file.media else None
    facts = [
        printable_name(file.path),
        file.media.mime if file.media else file.kind,
        *([f"{pixels[0]}x{pixels[1]} pixels"] if pixels else []),
        counted(file.size, "byte"),
        *([f"sha256 {file.sha256[:12]}"] if file.sha256 else []),
        *(["not text"] if file.media is None else []),
    ]
    return " · ".join(facts)


def lines_from(text: str, first: int) -> Iterator[str]:
    r"""Yield the lines of `text` from number `first` on, without their ends.

    >>> list(lines_from("a\r\nb\r\nc", 2))
    ['b', 'c']
    """
    start = _start_of_line(text, first)
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start:end].removesuffix("\r")
        start = end + 1


def _start_of_line(text: str, number: int) -> int:
    start, ahead = 0, number - 1  # lines ahead of it
    # By large steps: a file can have millions of lines, of which one page is shown.
    while (count := text.count("\n", start, start + _STEP_CHARS)) < ahead:
        start += _STEP_CHARS
        ahead -= count
    for _ in range(ahead):
        start = text.find("\n", start) + 1
    return start


def _facts(file: TextFile) -> str:
    """Return size and hash, and what an editor has to keep: how the text is stored."""
    ends = line_ends(file.text)
    facts = [
        counted(file.size, "byte"),
        f"sha256 {file.sha256[:12]}",
        *([file.encoding.upper()] if file.encoding != "utf-8" else []),
        *([] if _is_unicode(file) else ["not UTF-8: \\xHH is one byte"]),
        *(["BOM"] if file.has_bom else []),
        *(["CRLF"] if ends == "CRLF" else ["CRLF and LF"] if ends == "mixed" else []),
    ]
    return " · ".join(facts)


def _is_unicode(file: TextFile) -> bool:
    """Tell whether no byte had to be shown by its number."""
    try:
        file.text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _first_line(path: str, offset: int, total: int) -> int:
    if offset == 0:
        raise InvalidInputError("Lines are counted from 1: offset=0 is none. Use offset=1.")
    if offset < 0:
        return max(1, total + offset + 1)
    if offset > max(1, total):
        raise InvalidInputError(
            f"File {shown(path)} has {counted(total, 'line')}; there is no line {offset}."
        )
    return offset


def _rows(lines: Iterator[str], first: int, wanted: int, limits: Limits) -> list[str]:
    page = enumerate(islice(lines, min(wanted, limits.read_lines)), first)
    rows = (f"{number:6}\t{_cut(line, limits.line_chars)}" for number, line in page)
    return rows_that_fit(rows, limits.read_bytes)


def _cut(line: str, limit: int) -> str:
    if len(line) <= limit:
        return line
    return f"{line[:limit]}… (cut here: the line has {len(line)} characters)"
