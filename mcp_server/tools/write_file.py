"""`write_file`: create or replace a text file as a whole."""

from pydantic.json_schema import SkipJsonSchema

from mcp_server.fence.changes import writing
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.texts.content import decode
from mcp_server.fence.workspace import Workspace
from mcp_server.text import count_lines, counted, printable_name
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change


class WriteFile(ToolArguments):
    """The arguments of `write_file`."""

    path: str
    """File to write, relative to the workspace root. Missing directories are created."""
    content: str
    """The whole new content of the file."""
    expected_hash: str | SkipJsonSchema[None] = None
    """Replace the file only if it still has this sha256, as read_file shows it."""

    async def call(self, workspace: Workspace, caller: Caller) -> Changed:
        """Write the file and say what was done."""
        request = writing.WriteFile(
            path=self.path, text=self.content, expected_hash=self.expected_hash
        )
        return await make_change(workspace, request, caller, show_written)


WRITE_FILE = Tool(
    name="write_file",
    title="Write file",
    description=(
        "Create a text file, or replace one as a whole: what it held before is gone. The file is "
        "exchanged at once, keeps its permissions, and links to it stay."
    ),
    arguments=WriteFile,
    is_read_only=False,
    is_destructive=True,
)


def show_written(outcome: Outcome) -> str:
    """Return one line about the file that was written."""
    change = outcome.changes[-1]
    assert change.after is not None
    text = decode(change.after.content, change.path).text
    return (
        f"{'Created' if change.before is None else 'Replaced'} {printable_name(change.path)} · "
        f"{counted(count_lines(text), 'line')} · "
        f"{counted(len(change.after.content), 'byte')} · sha256 {change.after.sha256[:12]}"
    )
