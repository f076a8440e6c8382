"""`list_directory`: what a directory holds, one entry a line."""

from pydantic import Field

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.reading.listing import Entry, EntryKind, Listing
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_name, rows_that_fit
from mcp_server.tools.tool import DirectoryPath, Tool, ToolArguments


class ListDirectory(ToolArguments):
    """The arguments of `list_directory`."""

    path: DirectoryPath = "."
    """Directory to list, relative to the workspace root."""
    depth: int = Field(default=1, ge=1, le=10)
    """Levels to list: 1 is the directory itself, 2 its subdirectories too."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """List the directory."""
        return show_listing(await workspace.list_directory(self.path, depth=self.depth))


LIST_DIRECTORY = Tool(
    name="list_directory",
    title="List directory",
    description=(
        "List a directory, sorted by name. Directories end in '/', files are followed by a TAB and "
        "their size in bytes, links by '->' and what they hold. What may not be read is not shown."
    ),
    arguments=ListDirectory,
    is_read_only=True,
)


def show_listing(listing: Listing) -> str:
    """Return the listing as text; the last line says how many entries do not fit."""
    rows = rows_that_fit(map(_row, listing.entries))
    header = f"{printable_name(listing.path)} · {counted(len(rows), 'entry', 'entries')}"
    missing = listing.left_out + len(listing.entries) - len(rows)
    if not missing:
        return "\n".join([header, *rows])
    at_least = "" if listing.is_complete else "at least "
    left_out = counted(missing, "more entry", "more entries")
    footer = f"… {at_least}{left_out} left out; {_advice(listing)}."
    return "\n".join([header, *rows, footer])


def _advice(listing: Listing) -> str:
    if listing.depth > 1:
        return "list a subdirectory or take a smaller depth"
    return "name some of them with find_files, such as glob='a*'"


def _row(entry: Entry) -> str:
    name = printable_name(entry.path)
    match entry.kind:
        case EntryKind.DIRECTORY:
            return f"{name}/"
        case EntryKind.FILE:
            return f"{name}\t{entry.size}"
        case EntryKind.LINK:
            target = "(outside the workspace)" if entry.target is None else entry.target
            return f"{name} -> {printable_name(target)}"
        case EntryKind.OTHER:
            return f"{name}\t(neither file nor directory)"
