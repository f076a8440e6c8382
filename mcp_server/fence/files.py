"""The work on files itself, blocking: open beneath the root, ask the grant, read, replace, list."""

import codecs
import difflib
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    NotTextError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.beneath import (
    READ_FLAGS,
    Place,
    Root,
    make_directories,
    mode_of,
    replace_file,
)
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.faults import translated
from mcp_server.fence.grant import Grant
from mcp_server.fence.listing import Listing, aim_of, list_tree, visible_names
from mcp_server.fence.openers import Opened, Parts, join
from mcp_server.fence.search import Query, Ripgrep, SearchResult

_MAX_COMPARED = 2000  # names that are compared with one that was not found
_SHOWN_GLOBS = 5
_READ, _WRITTEN = "read", "written"  # what a path may be used for, as errors put it


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

    def __init__(self, root: Root, grant: Grant) -> None:
        self._root = root
        self._grant = grant

    def read(self, path: str) -> TextFile:
        """Read a whole file of UTF-8 text."""
        with self._opened(path, "File") as opened:
            content = self._content(opened, path)
        return TextFile(
            opened.path,
            _decoded(content, path),
            len(content),
            hashlib.sha256(content).hexdigest(),
        )

    def write(self, path: str, text: str) -> WrittenFile:
        """Create or replace a file, with the directories above it."""
        content = self._encoded(text, path)
        self._refuse_detours(path, _WRITTEN)
        with (
            self._explaining(path, "File", _WRITTEN),
            self._root.locate(path) as place,
        ):
            if not self._grant.may_write(place.path):
                raise self._refusal(path, _WRITTEN)
            with make_directories(place) as directory:
                mode = mode_of(directory.fd, place.name)
                replace_file(directory.fd, place.name, content, _permissions(mode, path))
        return WrittenFile(
            place.path, mode is None, len(content), hashlib.sha256(content).hexdigest()
        )

    def list(self, path: str, depth: int, deadline: Deadline) -> Listing:
        """List a directory, `depth` levels deep."""
        with self._opened(path, "Directory") as opened:
            if not stat.S_ISDIR(os.fstat(opened.fd).st_mode):
                raise NotAFileError(
                    f"Path {path!r} is a file, not a directory. Read it with read_file."
                )
            return list_tree(opened, depth, grant=self._grant, deadline=deadline)

    def search(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> SearchResult:
        """Search a directory or one file."""
        with self._opened(query.path, "Path") as opened:
            return ripgrep.search(opened, query, grant=self._grant, deadline=deadline)

    @contextmanager
    def _opened(self, path: str, what: str) -> Iterator[Opened]:
        """Open a file or directory that the grant lets the caller read."""
        self._refuse_detours(path, _READ)
        with (
            self._explaining(path, what, _READ),
            self._root.open(path, READ_FLAGS) as opened,
        ):
            mode = os.fstat(opened.fd).st_mode
            is_directory = stat.S_ISDIR(mode)
            allowed = self._grant.may_list if is_directory else self._grant.may_read
            if not allowed(opened.path):
                raise self._refusal(path, _READ)
            if not is_directory and not stat.S_ISREG(mode):
                raise NotAFileError(
                    f"Path {path!r} is a pipe, a socket or a device; only files are opened."
                )
            yield opened

    def _content(self, opened: Opened, path: str) -> bytes:
        state = os.fstat(opened.fd)
        if stat.S_ISDIR(state.st_mode):
            raise NotAFileError(
                f"Path {path!r} is a directory. See what it holds with list_directory."
            )
        limit = self._grant.limits.file_bytes
        content = b""
        if state.st_size <= limit:  # a file can grow while it is read, hence the second check
            content = _read_at_most(opened.fd, limit + 1)
        size = max(state.st_size, len(content))
        if size > limit:
            raise LimitError(
                f"File {path!r} has {size} bytes; files over {limit} bytes are not read. Find what "
                "you need in it with grep.",
                limit=limit,
                actual=size,
                unit="bytes",
            )
        return content

    def _encoded(self, text: str, path: str) -> bytes:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise InvalidInputError(
                f"The content for {path!r} is not valid Unicode: it holds a lone surrogate."
            ) from None
        limit = self._grant.limits.file_bytes
        if len(content) > limit:
            raise LimitError(
                f"The content for {path!r} has {len(content)} bytes; at most {limit} are written. "
                "Write it as several files.",
                limit=limit,
                actual=len(content),
                unit="bytes",
            )
        return content

    def _may_know(self, path: str, use: str) -> bool:
        """Tell whether a caller may know what is at the resolved `path`, when asking for `use`."""
        if use == _WRITTEN:
            return not self._grant.denies(path)
        return self._grant.may_read(path) or self._grant.may_list(path)

    def _refuse_detours(self, path: str, use: str) -> None:
        """Refuse a way through what is hidden before walking it to its end.

        Otherwise the answer would tell whether a hidden name exists: `.git/x/../../a` can only be
        read if there is a `.git/x`.
        """
        parts = self._root.parts(path)
        for end in range(1, len(parts) + 1):
            aim = aim_of("", "/".join(parts[:end]))
            if aim is not None and self._grant.denies(aim):
                raise self._refusal(path, use)
            if parts[end:][:1] == ("..",) and self._is_hidden(parts[:end], use):
                raise self._refusal(path, use)

    def _is_hidden(self, parts: Parts, use: str) -> bool:
        """Tell whether the deepest thing on the way, or the next name, is not to be known."""
        for end in range(len(parts), -1, -1):
            try:
                with self._root.open("/".join(parts[:end]), READ_FLAGS) as opened:
                    below = [join(opened.path, name) for name in parts[end:][:1] if name != ".."]
                    reached = [opened.path, *below]
            except (OSError, PathEscapeError):  # not there, or no way to it: look above
                continue
            return not all(self._may_know(each, use) for each in reached)
        return True  # not even the root opens

    def _refusal(self, path: str, use: str) -> PermissionDeniedError:
        globs = self._grant.write if use == _WRITTEN else self._grant.read
        if not globs:
            return PermissionDeniedError(f"Path {path!r} may not be {use}: nothing may, here.")
        if "**" in globs:
            return PermissionDeniedError(
                f"Path {path!r} is out of reach: secrets, history and settings are denied to all "
                "tools."
            )
        shown = ", ".join(map(repr, globs[:_SHOWN_GLOBS])) + ("…" if globs[_SHOWN_GLOBS:] else "")
        return PermissionDeniedError(
            f"Path {path!r} may not be {use} here; what may be: {shown}, unless denied."
        )

    @contextmanager
    def _explaining(self, path: str, what: str, use: str) -> Iterator[None]:
        """Turn the system's refusals into errors that say no more than the caller may know."""
        try:
            yield
        except (OSError, PathEscapeError) as error:
            if self._is_hidden(self._root.parts(path), use):
                raise self._refusal(path, use) from error
            if isinstance(error, FileNotFoundError):
                raise self._not_found(path, what) from error
            if isinstance(error, OSError):
                raise translated(error, path) from error
            raise

    def _not_found(self, path: str, what: str) -> ServerError:
        """Return the error for what does not exist, naming what is near and may be seen."""
        try:
            with self._root.locate(path) as place:
                return self._nothing_at(place, path, what)
        except (OSError, PathEscapeError):  # not even where it would be is clear: `nope/../x`
            return NotFoundError(f"{what} {path!r} does not exist.")

    def _nothing_at(self, place: Place, path: str, what: str) -> ServerError:
        if not self._may_know(place.path, _READ):
            return self._refusal(path, _READ)
        holder = "the root" if place.parent == "." else repr(place.parent)
        if place.missing:
            return NotFoundError(f"{what} {path!r} does not exist, and neither does {holder}.")
        names = visible_names(place.directory, self._grant)[:_MAX_COMPARED]
        near = _nearest(place.name, names)
        if not near:
            return NotFoundError(
                f"{what} {path!r} does not exist. See what {holder} holds with list_directory."
            )
        return NotFoundError(
            f"{what} {path!r} does not exist; {holder} holds {' and '.join(map(repr, near))}."
        )


def _read_at_most(fd: int, limit: int) -> bytes:
    chunks: list[bytes] = []
    left = limit
    while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
        chunks.append(chunk)
        left -= len(chunk)
    return b"".join(chunks)


def _decoded(content: bytes, path: str) -> str:
    # Not the codec "utf-8-sig": it would be imported now, in a thread that may not open modules.
    text = content.removeprefix(codecs.BOM_UTF8)
    if b"\0" in text:
        raise NotTextError(f"File {path!r} is not text: it holds NUL bytes.")
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise NotTextError(
            f"File {path!r} is not UTF-8 text: byte {text[error.start]:#04x} at {error.start}."
        ) from None


def _permissions(mode: int | None, path: str) -> int | None:
    """Return the permission bits to keep for a file of `mode` that is replaced."""
    if mode is None:
        return None
    if stat.S_ISDIR(mode):
        raise NotAFileError(f"Path {path!r} is a directory and cannot be replaced by a file.")
    if not stat.S_ISREG(mode):
        raise NotAFileError(
            f"Path {path!r} is a link, a pipe, a socket or a device; only files are replaced."
        )
    if not mode & 0o222:
        raise PermissionDeniedError(f"File {path!r} is read-only (mode {mode & 0o777:04o}).")
    return mode & 0o777  # setuid and setgid go, as the kernel does it for any write


def _nearest(name: str, names: list[str]) -> list[str]:
    def fold(text: str) -> str:
        return unicodedata.normalize("NFKC", text).casefold()

    same = [each for each in names if fold(each) == fold(name)]
    close = difflib.get_close_matches(name, names, n=3)
    return list(dict.fromkeys([*same, *close]))[:3]
