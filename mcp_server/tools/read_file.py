"""`read_file`: one page of a text file with line numbers, or a picture or PDF as it is."""

from typing import Annotated

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Limits
from mcp_server.fence.reading.file import OtherFile, TextFile
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.pages import described, page_of
from mcp_server.tools.tool import Answer, Media, Tool, ToolArguments


class ReadFile(ToolArguments):
    """The arguments of `read_file`."""

    path: str
    """File to read, relative to the workspace root."""
    offset: int = 1
    """First line to show, counted from 1; negative counts from the end (-20: the last 20 lines)."""
    limit: Annotated[int, Field(ge=1)] | SkipJsonSchema[None] = None
    """Most lines to show; as many as fit in one page when left out."""

    async def call(self, workspace: Workspace, caller: Caller) -> Answer:
        """Read the file and show a page of it, or what else it is."""
        limits = workspace.grant.limits

        def view(file: TextFile | OtherFile) -> Answer:
            if isinstance(file, OtherFile):
                return _shown(file, limits)
            return str(page_of(file, self.offset, self.limit, limits))

        return await workspace.view_file(self.path, view)


READ_FILE = Tool(
    name="read_file",
    title="Read file",
    description=(
        "Read a text file, or a part of it; pictures and PDF are shown as such. The first line "
        "tells the lines shown, the total and the hash; then comes each line as its number, a TAB "
        "and the text. Number and TAB are not part of the file. When there is more, the last line "
        "says how to go on."
    ),
    arguments=ReadFile,
    is_read_only=True,
)


def _shown(file: OtherFile, limits: Limits) -> Answer:
    text = described(file)
    if file.media is None:
        return text
    if file.content is None:
        return f"{text} · not shown: over {limits.media_bytes} bytes"
    return Media(text, file.path, file.media.mime, file.content)
