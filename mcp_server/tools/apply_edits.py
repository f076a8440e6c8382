"""`apply_edits`: replace exact text in several places and files, everywhere or nowhere."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.texts.diffs import MAX_DIFF_BYTES
from mcp_server.fence.texts.edits import Edit
from mcp_server.fence.workspace import Workspace
from mcp_server.text import MAX_ANSWER_BYTES, counted, rows_that_fit
from mcp_server.tools.edit_file import show_changed
from mcp_server.tools.tool import Changed, Tool, ToolArguments, make_change

_MAX_EDITS = 200
_MIN_DIFF_BYTES = 200
_PATHS = ("path", "file_path", "filePath")


class OneEdit(BaseModel):
    """One of the edits, with the arguments of `edit_file`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    old_string: str
    new_string: str
    replace_all: bool = False


class ApplyEdits(ToolArguments):
    """The arguments of `apply_edits`."""

    edits: Annotated[list[OneEdit], Field(min_length=1, max_length=_MAX_EDITS)]
    """As for edit_file; each works on the result of those before it."""
    dry_run: bool = False
    """Only show the diffs; write nothing."""

    @classmethod
    def translated(cls, given: Mapping[str, object]) -> Mapping[str, object]:
        """Return what was given, with one path for all edits in each that has none."""
        said = dict(given)
        path = next((said.pop(name) for name in _PATHS if name in said), None)
        if path is not None and isinstance(edits := said.get("edits"), list):
            said["edits"] = [_with_path(each, path) for each in edits]
        return said

    async def call(self, workspace: Workspace, caller: Caller) -> str | Changed:
        """Make all edits or none, and show what was changed."""
        edits = tuple(Edit(**each.model_dump()) for each in self.edits)
        request = EditFiles(edits=edits, tool="apply_edits")

        def show(outcome: Outcome) -> str:
            return show_outcome(outcome, len(edits))

        if self.dry_run:
            return await workspace.preview(request, show)
        return await make_change(workspace, request, caller, show)


APPLY_EDITS = Tool(
    name="apply_edits",
    title="Apply edits",
    description=(
        "Make several edits in one or more files: all, or none if one fails; shows the diffs."
    ),
    arguments=ApplyEdits,
    is_read_only=False,
    is_destructive=True,
    is_idempotent=False,
)


def _with_path(edit: object, path: object) -> object:
    if not isinstance(edit, dict) or any(name in edit for name in _PATHS):
        return edit
    return {"path": path, **edit}


def show_outcome(outcome: Outcome, edits: int) -> str:
    """Return what was done, or would be, to each file."""
    done = f"{counted(edits, 'edit')} in {counted(len(outcome.changes), 'file')}"
    header = f"{done} made." if outcome.is_applied else f"Dry run: {done}; nothing was written."
    each = MAX_ANSWER_BYTES // max(1, len(outcome.changes)) - 2 * _MIN_DIFF_BYTES
    max_bytes = min(MAX_DIFF_BYTES, max(_MIN_DIFF_BYTES, each))
    files = rows_that_fit(show_changed(change, "edited", max_bytes) for change in outcome.changes)
    left_out = len(outcome.changes) - len(files)
    footer = [f"… {counted(left_out, 'more file')}"] if left_out else []
    return "\n".join([header, *files, *footer])
