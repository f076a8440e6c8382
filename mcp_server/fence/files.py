"""The work on files itself, blocking: what is read, replaced, listed and searched."""

import codecs
import hashlib
import os
import stat
from dataclasses import dataclass

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotTextError,
    PermissionDeniedError,
)
from mcp_server.fence.beneath import make_directories, replace_file, state_of
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.gate import Gate
from mcp_server.fence.listing import Listing, list_tree
from mcp_server.fence.search import MAX_SEARCHED_BYTES, Query, Ripgrep, SearchResult
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


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """What a write has done."""

    path: str
    """The canonical path, links resolved."""
    is_new: bool
    size: int
    """Bytes."""
    sha256: str
    """Of the bytes, in hexadecimal."""


class Files:
    """The files beneath one root, as far as one grant goes."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def read(self, path: str, deadline: Deadline) -> TextFile:
        """Read a whole file of UTF-8 text."""
        with self._gate.opened(path, "File", deadline) as opened:
            limit = self._gate.grant.limits.file_bytes
            content = whole_content(opened.fd, path, limit, deadline)
        return TextFile(
            opened.path,
            _decoded(content, path),
            len(content),
            hashlib.sha256(content).hexdigest(),
        )

    def write(self, path: str, text: str, deadline: Deadline) -> WrittenFile:
        """Create or replace a file, with the directories above it."""
        content = self._encoded(text, path)
        with self._gate.writable(path, deadline) as place, make_directories(place) as directory:
            replaced = state_of(directory.fd, place.name)
            if replaced is not None:
                _check_replaceable(replaced.st_mode, path)
            deadline.check()
            replace_file(directory.fd, place.name, content, replaced)
        return WrittenFile(
            place.path, replaced is None, len(content), hashlib.sha256(content).hexdigest()
        )

    def list(self, path: str, depth: int, deadline: Deadline) -> Listing:
        """List a directory, `depth` levels deep."""
        with self._gate.opened(path, "Directory", deadline) as opened:
            if not stat.S_ISDIR(os.fstat(opened.fd).st_mode):
                raise NotAFileError(
                    f"Path {shown(path)} is a file, not a directory. Read it with read_file."
                )
            return list_tree(opened, depth, grant=self._gate.grant, deadline=deadline)

    def search(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> SearchResult:
        """Search a directory or one file."""
        with self._gate.opened(query.path, "Path", deadline) as opened:
            return ripgrep.search(opened, query, grant=self._gate.grant, deadline=deadline)

    def _encoded(self, text: str, path: str) -> bytes:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(
                f"The content for {shown(path)} is not valid Unicode: it holds a lone surrogate."
            ) from None
        limit = self._gate.grant.limits.file_bytes
        if len(content) > limit:
            raise LimitError(
                f"The content for {shown(path)} has {len(content)} bytes; at most {limit} are "
                "written. Write it as several files.",
                limit=limit,
                actual=len(content),
                unit="bytes",
            )
        return content


def whole_content(fd: int, path: str, limit: int, deadline: Deadline) -> bytes:
    """Return what the open file holds, at most `limit` bytes; `path` is for errors."""
    state = os.fstat(fd)
    if stat.S_ISDIR(state.st_mode):
        raise NotAFileError(
            f"Path {shown(path)} is a directory. See what it holds with list_directory."
        )
    content = b""
    if state.st_size <= limit:  # a file can grow while it is read, hence the second check
        content = _read_at_most(fd, limit + 1, deadline)
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


def _read_at_most(fd: int, limit: int, deadline: Deadline) -> bytes:
    chunks: list[bytes] = []
    left = limit
    while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
        deadline.check()
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


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


def _check_replaceable(mode: int, path: str) -> None:
    """Refuse to replace what is not a file, or read-only."""
    if stat.S_ISDIR(mode):
        raise NotAFileError(f"Path {shown(path)} is a directory and cannot be replaced by a file.")
    if not stat.S_ISREG(mode):
        raise NotAFileError(
            f"Path {shown(path)} is a link, a pipe, a socket or a device; only files are replaced."
        )
    if not mode & 0o222:
        raise PermissionDeniedError(f"File {shown(path)} is read-only (mode {mode & 0o777:04o}).")
