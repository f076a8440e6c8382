"""`read_file`: one page of a text file, with line numbers, and how to get the next."""

from collections.abc import Iterator
from itertools import islice
from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from mcp_server.errors import InvalidInputError, LimitError
from mcp_server.fence.changes import Caller
from mcp_server.fence.files import TextFile
from mcp_server.fence.grant import Limits
from mcp_server.fence.workspace import Workspace
from mcp_server.text import count_lines, counted, printable_name, rows_that_fit, shown
from mcp_server.tools.tool import Tool, ToolArguments

_STEP_CHARS = 1 << 16


class ReadFile(ToolArguments):
    """The arguments of `read_file`."""

    path: str
    """File to read, relative to the workspace root."""
    offset: int = 1
    """First line to show, counted from 1; negative counts from the end (-20: the last 20 lines)."""
    limit: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = None
    """Most lines to show; as many as fit in one page when left out."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Read the file and show a page of it."""

        def page(file: TextFile) -> str:
            return show_page(file, self.offset, self.limit, workspace.grant.limits)

        return await workspace.view_text(self.path, page)


READ_FILE = Tool(
    name="read_file",
    title="Read file",
    description=(
        "Read a UTF-8 text file, or a part of it. The first line of the result tells the lines "
        "shown, the total and the hash; then comes each line as its number, a TAB and the text. "
        "Number and TAB are not part of the file. When there is more, the last line says how to "
        "go on."
    ),
    arguments=ReadFile,
    is_read_only=True,
)


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


def show_page(file: TextFile, offset: int, limit: int | None, limits: Limits) -> str:
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
    last = first + len(rows) - 1 if rows else 0
    header = (
        f"{printable_name(file.path)} · lines {min(first, last)}-{last} of {total} · "
        f"{counted(file.size, 'byte')} · sha256 {file.sha256[:12]}"
    )
    left = total - last
    footer = [f"… {counted(left, 'more line')}; go on with offset={last + 1}."]
    return "\n".join([header, *rows, *(footer if left else [])])


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
