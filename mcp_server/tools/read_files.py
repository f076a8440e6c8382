"""`read_files`: the first pages of several files, in one answer of the size of one."""

from typing import Annotated

from pydantic import Field

from mcp_server.errors import ServerError
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.reading.file import OtherFile, TextFile
from mcp_server.fence.workspace import Workspace
from mcp_server.text import without_host_paths
from mcp_server.tools.pages import Page, described, page_of
from mcp_server.tools.tool import Tool, ToolArguments

_MAX_FILES = 50


class ReadFiles(ToolArguments):
    """The arguments of `read_files`."""

    paths: Annotated[list[str], Field(min_length=1, max_length=_MAX_FILES)]
    """Files to read, relative to the workspace root."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Read the files and show the first page of each, or what is wrong with it."""
        limits = workspace.grant.limits

        def view(file: TextFile | OtherFile) -> Page | str:
            if isinstance(file, OtherFile):
                return described(file)
            return page_of(file, 1, None, limits)

        seen = await workspace.view_files(dict.fromkeys(self.paths), view)
        pages = [page for page in seen if isinstance(page, Page)]
        share = fair_share([page.size for page in pages], limits.read_bytes)

        def shown(each: Page | str | ServerError) -> str:
            if isinstance(each, ServerError):
                return f"Error: {without_host_paths(str(each), workspace.root_names)}"
            return str(each.cut(share) if isinstance(each, Page) else each)

        return "\n\n".join(map(shown, seen))


READ_FILES = Tool(
    name="read_files",
    title="Read several files",
    description=(
        f"Read up to {_MAX_FILES} text files at once, each as read_file shows it or with its own "
        "error, an empty line between them. Together they get the room of one page: small files "
        "are shown whole, large ones end in a line that says how to go on with read_file."
    ),
    arguments=ReadFiles,
    is_read_only=True,
)


def fair_share(sizes: list[int], budget: int) -> int:
    """Return the most that each may take so that all fit; who needs less leaves it to the others.

    >>> fair_share([10, 20, 500, 700], 430), fair_share([5], 9)
    (200, 9)
    """
    left = budget
    for count, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - count)
        if size > share:
            return share
        left -= size
    return budget
