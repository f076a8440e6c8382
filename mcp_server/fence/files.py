"""The work on files itself, blocking: what is read, listed and searched."""

import codecs
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mcp_server.errors import (
    LimitError,
    NotAFileError,
    NotTextError,
)
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.disk import read_at_most
from mcp_server.fence.finding import FoundNames, Names, find_names
from mcp_server.fence.gate import Gate
from mcp_server.fence.listing import Listing, list_tree
from mcp_server.fence.openers import Opened
from mcp_server.fence.ripgrep import Ripgrep
from mcp_server.fence.search import MAX_SEARCHED_BYTES, FileCounts, Query, Search, SearchResult
from mcp_server.fence.seen import Seen
from mcp_server.text import shown


@dataclass(frozen=True, slots=True)
class TextFile:
    """A whole file of text."""

    path: str
    """The canonical path, links resolved."""
    text: str
    size: int
    """Bytes."""
    sha256: str
    """Of the bytes, in hexadecimal."""


class Files:
    """The files beneath one root, as far as one grant goes."""

    def __init__(self, gate: Gate, seen: Seen) -> None:
        self._gate = gate
        self._seen = seen

    def read(self, path: str, deadline: Deadline) -> TextFile:
        """Read a whole file of UTF-8 text."""
        with self._gate.opened(path, "File", deadline) as opened:
            limit = self._gate.grant.limits.file_bytes
            content = whole_content(opened.fd, path, limit, deadline)
        sha256 = hashlib.sha256(content).hexdigest()
        self._seen.note(opened.path, sha256, content)
        return TextFile(opened.path, _decoded(content, path), len(content), sha256)

    def list(self, path: str, depth: int, deadline: Deadline) -> Listing:
        """List a directory, `depth` levels deep."""
        with self._directory(path, deadline) as opened:
            return list_tree(opened, depth, grant=self._gate.grant, deadline=deadline)

    def search(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> SearchResult:
        """Search a directory or one file."""
        with self._gate.opened(query.path, "Path", deadline) as opened:
            return Search(ripgrep, opened, query, self._gate.grant, deadline).lines()

    def count(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> FileCounts:
        """Count matches in the files of a directory, or in one file."""
        with self._gate.opened(query.path, "Path", deadline) as opened:
            return Search(ripgrep, opened, query, self._gate.grant, deadline).counts()

    def find(self, names: Names, ripgrep: Ripgrep, deadline: Deadline) -> FoundNames:
        """Find files below a directory by their names."""
        with self._directory(names.path, deadline) as opened:
            return find_names(ripgrep, opened, names, grant=self._gate.grant, deadline=deadline)

    @contextmanager
    def _directory(self, path: str, deadline: Deadline) -> Iterator[Opened]:
        with self._gate.opened(path, "Directory", deadline) as opened:
            if not stat.S_ISDIR(os.fstat(opened.fd).st_mode):
                raise NotAFileError(
                    f"Path {shown(path)} is a file, not a directory. Read it with read_file."
                )
            yield opened


def whole_content(fd: int, path: str, limit: int, deadline: Deadline) -> bytes:
    """Return what the open file holds, at most `limit` bytes; `path` is for errors."""
    state = os.fstat(fd)
    if stat.S_ISDIR(state.st_mode):
        raise NotAFileError(
            f"Path {shown(path)} is a directory. See what it holds with list_directory."
        )
    content = b""
    if state.st_size <= limit:  # a file can grow while it is read, hence the second check
        content = read_at_most(fd, limit + 1, deadline)
    size = max(state.st_size, len(content))
    if size > limit:
        advice = "Find what you need in it with grep."
        if size > MAX_SEARCHED_BYTES:
            advice = "It is too large for grep too: work without it."
        raise LimitError(
            f"File {shown(path)} has {size} bytes; files over {limit} bytes are not read. {advice}",
            limit=limit,
            actual=size,
            unit="bytes",
        )
    return content


def _decoded(content: bytes, path: str) -> str:
    # Not the codec "utf-8-sig": it would be imported now, in a thread that may not open modules.
    text = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        raise NotTextError(f"File {shown(path)} is not text: it holds NUL bytes.")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise NotTextError(
            f"File {shown(path)} is not UTF-8 text: byte {text[error.start]:#04x} at {error.start}."
        ) from None
