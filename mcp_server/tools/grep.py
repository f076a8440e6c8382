"""`grep`: lines that match a pattern, by path and line; or the files they are in."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.finding.rows import Match, near_matches
from mcp_server.fence.search import FileCounts, Query, SearchResult
from mcp_server.fence.workspace import Workspace
from mcp_server.text import (
    MAX_ANSWER_BYTES,
    byte_size,
    counted,
    printable_line,
    printable_name,
    quoted,
    rows_that_fit,
    shown,
)
from mcp_server.tools.tool import DirectoryPath, Tool, ToolArguments

_SHORT_CHARS = 160
"""Characters of a line when the answer would be too large otherwise."""
_AROUND = ("-A", "-B", "-C", "context")
_OUTPUTS = {"content": "lines", "files_with_matches": "files"}


class Grep(ToolArguments):
    """The arguments of `grep`."""

    pattern: str = Field(min_length=1)
    """Regular expression (Rust syntax: no look-around, no back-references)."""
    path: DirectoryPath = "."
    """Directory or file to search."""
    glob: str | SkipJsonSchema[None] = None
    """Only in files like '*.{ts,tsx}', 'docs/**/*.md' (from path) or '!*.lock'."""
    ignore_case: bool = False
    """Ignore case."""
    literal: bool = False
    """Pattern is plain text."""
    context: int = Field(default=0, ge=0, le=20)
    """Lines to show before and after each match."""
    limit: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = None
    """Most matches or files to show."""
    output: Literal["lines", "files", "count"] = "lines"
    """Lines, or paths of files, or matches per file."""

    @classmethod
    def translated(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Return what was given, with ripgrep's options by their names here.

        Some models give a value to every argument, and "" to a glob that they do not want.

        >>> Grep.translated({"-i": True, "-n": True, "-A": 1, "-B": 3, "output_mode": "content"})
        {'ignore_case': True, 'context': 3, 'output': 'lines'}
        """
        said = dict(given)
        said.pop("-n", None)  # lines always have their numbers
        if said.get("glob") == "":
            del said["glob"]
        if "-i" in said:
            said.setdefault("ignore_case", said.pop("-i"))
        around = [value for name in _AROUND if isinstance(value := said.get(name), int)]
        if around:
            said = {name: value for name, value in said.items() if name not in _AROUND}
            said["context"] = max(around)
        if isinstance(mode := said.get("output_mode"), str) and "output" not in said:
            said["output"] = _OUTPUTS.get(mode, mode)
            del said["output_mode"]
        return said

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Search and show the matches."""
        query = Query(
            pattern=self.pattern,
            path=self.path,
            glob=self.glob,
            ignore_case=self.ignore_case,
            literal=self.literal,
            context=self.context,
            limit=self.limit,
        )
        if self.output == "lines":
            return show_matches(query, await workspace.search(query))
        counts = await workspace.count_matches(query)
        return show_files(query, counts, "{path}" if self.output == "files" else "{path}:{count}")


GREP = Tool(
    name="grep",
    title="Search in files",
    description=(
        "Find lines in files by a regular expression, with ripgrep: as 'path:line:text', sorted by "
        "path. Files that .gitignore names, binary files and files over 100 MB are left out. The "
        "last line says how many matches are missing, if any."
    ),
    arguments=Grep,
    is_read_only=True,
)


def show_matches(query: Query, result: SearchResult) -> str:
    """Return the matches as text; the last lines say what does not fit."""
    if not result.matches:
        return _nothing(query, result.path)
    page = _fitting(result.matches, query.context)
    files = counted(len({line.path for line in page.matches}), "file")
    header = f"{counted(len(page.matches), 'match', 'matches')} in {files}"
    given = sum(not line.is_context for line in result.matches)
    missing = result.left_out + given - len(page.matches)
    return "\n".join([header, *page.rows, *page.notes, *_footer(missing, "match", "matches")])


def show_files(query: Query, found: FileCounts, form: str) -> str:
    """Return the files as text, each in the `form`; the last line says how many do not fit."""
    if not found.files:
        return _nothing(query, found.path)
    rows = rows_that_fit(
        form.format(path=printable_name(path), count=count) for path, count in found.counts
    )
    header = f"{counted(found.total, 'match', 'matches')} in {counted(found.files, 'file')}"
    return "\n".join([header, *rows, *_footer(found.files - len(rows), "file", "files")])


def _nothing(query: Query, path: str) -> str:
    nothing = f"No matches for {quoted(query.pattern)} under {shown(path)}"
    if query.glob is None:
        return f"{nothing}."
    # Else who has guessed at the glob takes it that no file has the words, and asks no more.
    return f"{nothing} in files like {quoted(query.glob)}; leave out glob to search all."


def _footer(missing: int, one: str, more: str) -> Iterator[str]:
    if missing:
        left_out = counted(missing, f"more {one}", f"more {more}")
        yield f"… {left_out} left out; narrow by path or glob."


@dataclass(frozen=True, slots=True)
class _Page:
    """What of a result fits into one answer."""

    rows: list[str]
    matches: list[Match]
    notes: list[str]
    """What was shortened for it."""


def _fitting(lines: Sequence[Match], context: int) -> _Page:
    """Return the lines with less context, then shorter, then fewer, until they fit."""
    for less in _halved(context):
        notes = [] if less == context else [f"… context cut to {less} to fit."]
        page = _page(near_matches(lines, less), with_gaps=context > 0, notes=notes)
        if sum(byte_size(row) + 1 for row in page.rows) <= MAX_ANSWER_BYTES:
            return page
    matches = near_matches(lines, 0)
    short = [replace(line, text=_cut(line.text)) for line in matches]
    rows = rows_that_fit(map(_row, short))
    notes = ["… context left out to fit."] if context else []
    if short != matches:
        notes.append(f"… lines cut at {_SHORT_CHARS} characters to fit.")
    return _Page(rows, matches[: len(rows)], notes)


def _halved(context: int) -> Iterator[int]:
    while context:
        yield context
        context //= 2
    yield 0


def _page(lines: list[Match], *, with_gaps: bool, notes: list[str]) -> _Page:
    rows = [_row(line) for line in lines[:1]]
    for before, line in pairwise(lines):
        is_near = before.path == line.path and before.line + 1 == line.line
        rows += [_row(line)] if is_near or not with_gaps else ["--", _row(line)]
    return _Page(rows, [line for line in lines if not line.is_context], notes)


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT_CHARS else text[:_SHORT_CHARS] + "…"


def _row(line: Match) -> str:
    mark = "-" if line.is_context else ":"
    return f"{printable_name(line.path)}{mark}{line.line}{mark}{printable_line(line.text)}"
