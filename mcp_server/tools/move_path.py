"""`move_path`: rename or move a file or directory."""

from mcp_server.fence.changes import moving
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.workspace import Workspace
from mcp_server.text import printable_name
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change


class MovePath(ToolArguments):
    """The arguments of `move_path`."""

    source: str
    """File or directory to move, relative to the workspace root."""
    destination: str
    """Its whole new path. Missing directories above it are made."""

    async def call(self, workspace: Workspace, caller: Caller) -> Changed:
        """Move and say what was done."""
        request = moving.MovePath(source=self.source, destination=self.destination)
        return await make_change(workspace, request, caller, show_moved)


MOVE_PATH = Tool(
    name="move_path",
    title="Move or rename",
    description=(
        "Move or rename a file or a directory with all that it holds. Nothing is replaced: a "
        "destination that exists is refused. A link is moved itself, not what it leads to."
    ),
    arguments=MovePath,
    is_read_only=False,
    is_idempotent=False,
)


def show_moved(outcome: Outcome) -> str:
    """Return one line about what was moved."""
    change = outcome.changes[-1]
    return f"Moved {printable_name(change.path)} -> {printable_name(change.moved_to or '')}"
