"""What an open file holds: text as text, pictures and PDF as what they are, the rest in words."""

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, field

from mcp_server.errors import LimitError, NotAFileError, NotTextError
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Limits
from mcp_server.fence.openers import Opened
from mcp_server.fence.reading.magic import HEAD_BYTES, MediaType, binary_kind, media_type
from mcp_server.fence.search import MAX_SEARCHED_BYTES
from mcp_server.fence.texts.content import UTF16_MARKS, Encoding, decode
from mcp_server.text import shown

_PDF = b"%PDF-"  # most of it can be text


@dataclass(frozen=True, slots=True)
class TextFile:
    """A whole file of text."""

    path: str
    """The canonical path, links resolved."""
    text: str
    """Without the byte order mark; bytes that are not UTF-8 as one of U+DC80..U+DCFF each."""
    encoding: Encoding
    has_bom: bool
    content: bytes = field(repr=False)
    """The file as it is stored."""
    sha256: str
    """Of the bytes, in hexadecimal."""

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.content)


@dataclass(frozen=True, slots=True)
class OtherFile:
    """A file that is no text."""

    path: str
    """The canonical path, links resolved."""
    kind: str
    """In words, at worst "binary"."""
    media: MediaType | None
    """What models can look at it as, if at all."""
    size: int
    """Bytes."""
    sha256: str | None
    """Of the bytes, in hexadecimal; None for a file that is too large to be read."""
    content: bytes | None = field(repr=False)
    """All of it, if models can look at it and the limits let them."""


def read_text(opened: Opened, path: str, limits: Limits, deadline: Deadline) -> TextFile:
    """Read an open file of text.

    Args:
        opened: the file.
        path: what the caller calls it, for errors.
        limits: how large it may be.
        deadline: when to give up.

    Raises:
        NotAFileError: it is a directory.
        NotTextError: there are NULs in it.
        LimitError: it is too large.
    """
    return _text_file(opened.path, path, _whole(opened.fd, path, limits, deadline))


def read_any(opened: Opened, path: str, limits: Limits, deadline: Deadline) -> TextFile | OtherFile:
    """Read an open file, whatever it is; of a large one that is no text, only the head.

    Raises:
        NotAFileError: it is a directory.
        LimitError: it is text, and too large.
    """
    state = os.fstat(opened.fd)
    _check_is_file(state.st_mode, path)
    head = os.pread(opened.fd, HEAD_BYTES, 0)
    if _is_other(head) and state.st_size > limits.file_bytes:
        return OtherFile(
            opened.path, binary_kind(head), media_type(head), state.st_size, None, None
        )
    content = _whole(opened.fd, path, limits, deadline)
    if not _is_other(content):
        with suppress(NotTextError):
            return _text_file(opened.path, path, content)
    media = media_type(content)
    is_sent = media is not None and len(content) <= limits.media_bytes
    return OtherFile(
        opened.path,
        binary_kind(content),
        media,
        len(content),
        hashlib.sha256(content).hexdigest(),
        content if is_sent else None,
    )


def read_at_most(fd: int, limit: int, deadline: Deadline) -> bytes:
    """Return what the open file holds, at most `limit` bytes of it."""
    chunks: list[bytes] = []
    left = limit
    while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
        deadline.check()
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _is_other(content: bytes) -> bool:
    if content.startswith(UTF16_MARKS):
        return False
    return content.startswith(_PDF) or b"\0" in content


def _text_file(canonical: str, path: str, content: bytes) -> TextFile:
    text = decode(content, path)
    return TextFile(
        canonical,
        text.text,
        text.encoding,
        bool(text.bom),
        content,
        hashlib.sha256(content).hexdigest(),
    )


def _check_is_file(mode: int, path: str) -> None:
    if stat.S_ISDIR(mode):
        raise NotAFileError(
            f"Path {shown(path)} is a directory. See what it holds with list_directory."
        )


def _whole(fd: int, path: str, limits: Limits, deadline: Deadline) -> bytes:
    state = os.fstat(fd)
    _check_is_file(state.st_mode, path)
    limit = limits.file_bytes
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
