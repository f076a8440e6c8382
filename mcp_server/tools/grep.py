"""`grep`: lines that match a pattern, by path and line."""

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from mcp_server.fence.changes import Caller
from mcp_server.fence.search import Match, Query, SearchResult
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_line, printable_name, quoted, rows_that_fit, shown
from mcp_server.tools.tool import DirectoryPath, Tool, ToolArguments


class Grep(ToolArguments):
    """The arguments of `grep`."""

    pattern: str = Field(min_length=1)
    """Regular expression (Rust syntax: no look-around or back-references), matched line by line."""
    path: DirectoryPath = "."
    """Directory or file to search, relative to the workspace root."""
    glob: str | SkipJsonSchema[None] = None
    """Search only files that match, such as '*.py', 'docs/**/*.md' or '!*.lock'."""
    ignore_case: bool = False
    """Match without regard to case."""
    literal: bool = False
    """Take the pattern as plain text."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Search and show the matches."""
        query = Query(
            pattern=self.pattern,
            path=self.path,
            glob=self.glob,
            ignore_case=self.ignore_case,
            literal=self.literal,
        )
        return show_matches(self.pattern, await workspace.search(query))


GREP = Tool(
    name="grep",
    title="Search in files",
    description=(
        "Find lines in files by a regular expression, with ripgrep: as 'path:line:text', sorted by "
        "path. Files that .gitignore names, binary files and files over 100 MB are left out. When "
        "there are too many matches, the last line says how many are missing."
    ),
    arguments=Grep,
    is_read_only=True,
)


def show_matches(pattern: str, result: SearchResult) -> str:
    """Return the matches as text; the last line says how many do not fit."""
    if not result.matches:
        return f"No matches for {quoted(pattern)} under {shown(result.path)}."
    rows = rows_that_fit(map(_row, result.matches))
    files = counted(len({match.path for match in result.matches[: len(rows)]}), "file")
    header = f"{counted(len(rows), 'match', 'matches')} in {files}"
    missing = result.left_out + len(result.matches) - len(rows)
    if result.is_complete and not missing:
        return "\n".join([header, *rows])
    at_least = "" if result.is_complete else "at least "
    left_out = counted(missing, "more match", "more matches")
    footer = f"… {at_least}{left_out} left out; narrow by path or glob."
    return "\n".join([header, *rows, footer])


def _row(match: Match) -> str:
    return f"{printable_name(match.path)}:{match.line}:{printable_line(match.text)}"
