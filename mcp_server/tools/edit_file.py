"""`edit_file`: replace exact text in a file."""

from pydantic.json_schema import SkipJsonSchema

from mcp_server.fence.changes.change import Caller, Change, Outcome
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.texts.content import decode
from mcp_server.fence.texts.diffs import MAX_DIFF_BYTES, diff
from mcp_server.fence.texts.edits import Edit, count
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_name
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change


class EditFile(ToolArguments):
    """The arguments of `edit_file`."""

    path: str
    """File to edit."""
    old_string: str
    """Text to replace, exactly as in the file; with enough around it to stand there once."""
    new_string: str
    """Text to put in its place."""
    replace_all: bool = False
    """Replace it everywhere."""
    expected_hash: str | SkipJsonSchema[None] = None
    """Edit only if the file still has this sha256, as read_file shows it."""

    async def call(self, workspace: Workspace, caller: Caller) -> Changed:
        """Edit the file and show what was changed."""
        edit = Edit(
            path=self.path,
            old_string=self.old_string,
            new_string=self.new_string,
            replace_all=self.replace_all,
        )

        def show_edited(outcome: Outcome) -> str:
            (change,) = outcome.changes
            assert change.before is not None
            times = count(decode(change.before.content, change.path).text, edit)
            return show_changed(change, counted(times, "replacement"))

        request = EditFiles(edits=(edit,), expected_hash=self.expected_hash)
        return await make_change(workspace, request, caller, show_edited)


EDIT_FILE = Tool(
    name="edit_file",
    title="Edit file",
    description="Replace exact text in a file; shows the diff. Line endings and encoding stay.",
    arguments=EditFile,
    is_read_only=False,
    is_destructive=True,
    is_idempotent=False,
)


def show_changed(change: Change, what: str, max_bytes: int = MAX_DIFF_BYTES) -> str:
    """Return a line about a file, with `what` was done, and the diff."""
    assert change.before is not None
    assert change.after is not None
    before, after = (
        decode(state.content, change.path).text for state in (change.before, change.after)
    )
    header = f"{printable_name(change.path)} · {what} · sha256 {change.after.sha256[:12]}"
    return f"{header}\n{diff(before, after, max_bytes=max_bytes)}".rstrip("\n")
