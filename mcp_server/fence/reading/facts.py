"""The facts about one path, as far as they are cheap to tell."""

import os
import stat
from contextlib import suppress
from dataclasses import dataclass

from mcp_server.errors import LimitError, PathEscapeError
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.gate import Gate
from mcp_server.fence.openers import DIRECTORY_FLAGS, Opened, join
from mcp_server.fence.reading.file import OtherFile, TextFile, read_any
from mcp_server.fence.reading.listing import Entry, judged_link, visible_names
from mcp_server.fence.texts.content import Encoding, LineEnds, line_ends
from mcp_server.text import count_lines


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What a file of text is like."""

    lines: int
    ends: LineEnds | None
    encoding: Encoding
    has_bom: bool
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFacts:
    """What a directory is like."""

    entries: int
    """Names in it that the caller may see."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """What is at a path; links are followed."""

    path: str
    """The canonical path, links resolved."""
    link: Entry | None
    """The link that the path names, if it names one that may be shown."""
    content: TextFacts | OtherFile | DirectoryFacts | None
    """None for text that is too large to be read."""
    size: int
    """Bytes."""
    modified_s: float
    """Since 1970, UTC."""
    mode: int
    """The permissions: the lowest 12 bits."""
    is_writable: bool
    """Whether the grant lets the caller write it."""


def facts_about(gate: Gate, path: str, deadline: Deadline) -> PathFacts:
    """Return the facts about what is at `path`; raises what `Gate.opened` raises."""
    with gate.opened(path, "Path", deadline) as opened:
        state = os.fstat(opened.fd)
        return PathFacts(
            path=opened.path,
            link=_link_at(gate, path),
            content=_content(opened, gate, path, deadline),
            size=state.st_size,
            modified_s=state.st_mtime,
            mode=stat.S_IMODE(state.st_mode),
            is_writable=gate.grant.may_write(opened.path),
        )


def _content(
    opened: Opened, gate: Gate, path: str, deadline: Deadline
) -> TextFacts | OtherFile | DirectoryFacts | None:
    if stat.S_ISDIR(os.fstat(opened.fd).st_mode):
        names = visible_names(opened, gate.grant, deadline)
        return DirectoryFacts(entries=sum(1 for _ in names))
    try:
        file = read_any(opened, path, gate.grant.limits, deadline)
    except LimitError:
        deadline.check()
        return None
    if isinstance(file, TextFile):
        lines, ends = count_lines(file.text), line_ends(file.text)
        return TextFacts(lines, ends, file.encoding, file.has_bom, file.sha256)
    return file


def _link_at(gate: Gate, path: str) -> Entry | None:
    """Return the link that `path` itself names, which the gate has let pass."""
    parts = gate.root.parts(path)
    if not parts or parts[-1] == ".." or path.endswith(("/", "/.")):
        return None
    with (
        suppress(OSError, PathEscapeError),  # no link, or exchanged meanwhile
        gate.root.open_parts(parts[:-1], DIRECTORY_FLAGS) as parent,
    ):
        target = os.readlink(parts[-1], dir_fd=parent.fd)
        return judged_link(join(parent.path, parts[-1]), target, gate.grant)
    return None
