"""`make_directory`: a directory, and those above it."""

from mcp_server.fence.changes import moving
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.workspace import Workspace
from mcp_server.text import printable_name, shown
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change


class MakeDirectory(ToolArguments):
    """The arguments of `make_directory`."""

    path: str
    """Directory to make, relative to the workspace root. Missing ones above it are made too."""

    async def call(self, workspace: Workspace, caller: Caller) -> Changed:
        """Make the directory and say so."""
        request = moving.MakeDirectory(path=self.path)
        return await make_change(workspace, request, caller, self._show)

    def _show(self, outcome: Outcome) -> str:
        if not outcome.changes:
            return f"Directory {shown(self.path)} was there already."
        return f"Made {printable_name(outcome.changes[-1].path)}/"


MAKE_DIRECTORY = Tool(
    name="make_directory",
    title="Make directory",
    description="Make a directory. write_file makes the directories it needs by itself.",
    arguments=MakeDirectory,
    is_read_only=False,
)
