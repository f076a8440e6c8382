"""`delete_path`: remove a file or a directory; the journal keeps what it held."""

from mcp_server.fence.changes import moving
from mcp_server.fence.changes.change import Caller, Kind, Outcome
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_name
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change


class DeletePath(ToolArguments):
    """The arguments of `delete_path`."""

    path: str
    """File, link or directory to delete, relative to the workspace root."""
    recursive: bool = False
    """Delete a directory with all that it holds."""

    async def call(self, workspace: Workspace, caller: Caller) -> Changed:
        """Delete and say what is gone."""
        request = moving.DeletePath(path=self.path, recursive=self.recursive)
        return await make_change(workspace, request, caller, show_deleted)


DELETE_PATH = Tool(
    name="delete_path",
    title="Delete",
    description=(
        "Delete a file, a link (not what it leads to) or an empty directory; one that holds "
        "something only with recursive=true. The user can undo it."
    ),
    arguments=DeletePath,
    is_read_only=False,
    is_destructive=True,
    is_idempotent=False,
)


def show_deleted(outcome: Outcome) -> str:
    """Return one line about what was deleted."""
    *inner, change = outcome.changes
    assert change.before is not None
    name = printable_name(change.path)
    if change.before.kind is Kind.DIRECTORY:
        return f"Deleted {name}/ with {counted(len(inner), 'entry', 'entries')} in it"
    size = counted(len(change.before.content), "byte")
    return f"Deleted {name}" + (f" · {size}" if change.before.kind is Kind.FILE else " (a link)")
