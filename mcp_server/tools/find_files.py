"""`find_files`: paths of files by a glob."""

from typing import Literal

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.finding.names import FoundNames, Names
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_name, quoted, rows_that_fit, shown
from mcp_server.tools.tool import DirectoryPath, Tool, ToolArguments


class FindFiles(ToolArguments):
    """The arguments of `find_files`."""

    glob: str
    """'*.py' (at any depth), 'src/**/*.{ts,tsx}' (from path), '!*.md' (all others)."""
    path: DirectoryPath = "."
    """Directory to look in."""
    include_ignored: bool = False
    """Find those that .gitignore names too."""
    sort: Literal["path", "newest"] = "path"
    """By path, or what was changed last first."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Find the files and show their paths."""
        names = Names(
            glob=self.glob,
            path=self.path,
            include_ignored=self.include_ignored,
            order=self.sort,
        )
        return show_names(self, await workspace.find_files(names))


FIND_FILES = Tool(
    name="find_files",
    title="Find files",
    description=(
        "Find files by name, one path a line. '*' and '?' stay within a name, '**' stands for any "
        "directories. Hidden files are found, but no directories, links or files that .gitignore "
        "names. The last line says how many are missing, if any."
    ),
    arguments=FindFiles,
    is_read_only=True,
)


def show_names(asked: FindFiles, found: FoundNames) -> str:
    """Return the paths as text; the last line says how many do not fit."""
    if not found.paths:
        ignored = "" if asked.include_ignored else " that is not ignored (include_ignored=true)"
        return f"No file{ignored} matches {quoted(asked.glob)} under {shown(found.path)}."
    rows = rows_that_fit(map(printable_name, found.paths))
    missing = found.left_out + len(found.paths) - len(rows)
    more = counted(missing, "more file")
    footer = [f"… {more} left out; narrow by path or glob."] if missing else []
    return "\n".join([counted(len(rows) + missing, "file"), *rows, *footer])
