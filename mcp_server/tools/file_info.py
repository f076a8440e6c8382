"""`file_info`: what is at a path, a fact a line."""

from collections.abc import Iterator
from datetime import UTC, datetime

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.reading.facts import DirectoryFacts, PathFacts, TextFacts
from mcp_server.fence.reading.file import OtherFile
from mcp_server.fence.workspace import Workspace
from mcp_server.text import counted, printable_name
from mcp_server.tools.tool import DirectoryPath, Tool, ToolArguments


class FileInfo(ToolArguments):
    """The arguments of `file_info`."""

    path: DirectoryPath
    """File or directory, relative to the workspace root."""

    async def call(self, workspace: Workspace, caller: Caller) -> str:
        """Look at the path and tell what is there."""
        return "\n".join(_facts(await workspace.file_info(self.path)))


FILE_INFO = Tool(
    name="file_info",
    title="File information",
    description=(
        "Tell what is at a path without its content: type, size, lines, encoding, when it was "
        "changed, permissions, hash, and whether you may write it. Of a link, what it leads to."
    ),
    arguments=FileInfo,
    is_read_only=True,
)


def _facts(facts: PathFacts) -> Iterator[str]:
    yield printable_name(facts.path)
    if facts.link is not None and facts.link.target is not None:
        link, target = printable_name(facts.link.path), printable_name(facts.link.target)
        yield f"link: {link} -> {target}"
    yield f"type: {_type(facts)}"
    if not isinstance(facts.content, DirectoryFacts):
        yield f"size: {counted(facts.size, 'byte')}"
    # To the second: no file system's clock is finer than its use.
    yield f"modified: {datetime.fromtimestamp(int(facts.modified_s), UTC):%Y-%m-%dT%H:%M:%SZ}"
    yield f"mode: {facts.mode:04o}"
    if isinstance(facts.content, TextFacts | OtherFile) and facts.content.sha256:
        yield f"sha256: {facts.content.sha256}"
    if not isinstance(facts.content, DirectoryFacts):
        yield f"writable: {'yes' if facts.is_writable else 'no'}"


def _type(facts: PathFacts) -> str:
    match facts.content:
        case DirectoryFacts(entries=entries):
            return f"directory, {counted(entries, 'entry', 'entries')}"
        case TextFacts() as text:
            bom = " with BOM" if text.has_bom else ""
            ends = f", line ends {text.ends}" if text.ends else ""
            return f"text, {counted(text.lines, 'line')}, {text.encoding.upper()}{bom}{ends}"
        case OtherFile(media=None, kind=kind):
            return f"{kind}, not text"
        case OtherFile(media=media) if media is not None:
            pixels = f", {media.pixels[0]}x{media.pixels[1]} pixels" if media.pixels else ""
            return f"{media.mime}{pixels}"
        case _:
            return "text, too large to be read"
