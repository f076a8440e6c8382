"""`write_file`: create or replace a text file as a whole."""

from mcp_server.fence.workspace import Workspace
from mcp_server.text import count_lines, counted, printable_name
from mcp_server.tools.tool import Tool, ToolArguments


class WriteFile(ToolArguments):
    """The arguments of `write_file`."""

    path: str
    """File to write, relative to the workspace root. Missing directories are created."""
    content: str
    """The whole new content of the file."""

    async def call(self, workspace: Workspace) -> str:
        """Write the file and say what was done."""
        written = await workspace.write_text(self.path, self.content)
        lines = count_lines(self.content)
        return (
            f"{'Created' if written.is_new else 'Replaced'} {printable_name(written.path)} · "
            f"{counted(lines, 'line')} · {counted(written.size, 'byte')} · "
            f"sha256 {written.sha256[:12]}"
        )


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
