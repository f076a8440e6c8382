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
from itertools import islice

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
    replace_file,
    state_of,
)
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.faults import translated
from mcp_server.fence.grant import Grant
from mcp_server.fence.listing import Listing, aim_of, list_tree, visible_names
from mcp_server.fence.openers import Opened, Parts, join
from mcp_server.fence.search import MAX_SEARCHED_BYTES, Query, Ripgrep, SearchResult
from mcp_server.text import quoted, shown

_MAX_NAMES = 2000  # names that are looked at for one that was not found
_MAX_COMPARED = 200  # of these, names that are compared letter by letter, which is slow
_MAX_COMPARED_CHARS = 100
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

    def read(self, path: str, deadline: Deadline) -> TextFile:
        """Read a whole file of UTF-8 text."""
        with self._opened(path, "File", deadline) as opened:
            content = self._content(opened, path, deadline)
        return TextFile(
            opened.path,
            _decoded(content, path),
            len(content),
            hashlib.sha256(content).hexdigest(),
        )

    def write(self, path: str, text: str, deadline: Deadline) -> WrittenFile:
        """Create or replace a file, with the directories above it."""
        self._refuse_detours(path, _WRITTEN, deadline)
        content = self._encoded(text, path)
        if path.endswith("/"):
            raise NotAFileError(
                f"Path {shown(path)} ends in '/', so it names a directory. Give the path of "
                "the file itself."
            )
        with (
            self._explaining(path, "File", _WRITTEN, deadline),
            self._root.locate(path) as place,
        ):
            if not self._grant.may_write(place.path):
                raise self._refusal(path, _WRITTEN)
            with make_directories(place) as directory:
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
        with self._opened(path, "Directory", deadline) as opened:
            if not stat.S_ISDIR(os.fstat(opened.fd).st_mode):
                raise NotAFileError(
                    f"Path {shown(path)} is a file, not a directory. Read it with read_file."
                )
            return list_tree(opened, depth, grant=self._grant, deadline=deadline)

    def search(self, query: Query, ripgrep: Ripgrep, deadline: Deadline) -> SearchResult:
        """Search a directory or one file."""
        with self._opened(query.path, "Path", deadline) as opened:
            return ripgrep.search(opened, query, grant=self._grant, deadline=deadline)

    @contextmanager
    def _opened(self, path: str, what: str, deadline: Deadline) -> Iterator[Opened]:
        """Open a file or directory that the grant lets the caller read."""
        self._refuse_detours(path, _READ, deadline)
        with (
            self._explaining(path, what, _READ, deadline),
            self._root.open(path, READ_FLAGS) as opened,
        ):
            mode = os.fstat(opened.fd).st_mode
            is_directory = stat.S_ISDIR(mode)
            allowed = self._grant.may_list if is_directory else self._grant.may_read
            if not allowed(opened.path):
                raise self._refusal(path, _READ)
            if not is_directory and not stat.S_ISREG(mode):
                raise NotAFileError(
                    f"Path {shown(path)} is a pipe, a socket or a device; only files are opened."
                )
            yield opened

    def _content(self, opened: Opened, path: str, deadline: Deadline) -> bytes:
        state = os.fstat(opened.fd)
        if stat.S_ISDIR(state.st_mode):
            raise NotAFileError(
                f"Path {shown(path)} is a directory. See what it holds with list_directory."
            )
        limit = self._grant.limits.file_bytes
        content = b""
        if state.st_size <= limit:  # a file can grow while it is read, hence the second check
            content = _read_at_most(opened.fd, limit + 1, deadline)
        size = max(state.st_size, len(content))
        if size > limit:
            advice = "Find what you need in it with grep."
            if size > MAX_SEARCHED_BYTES:
                advice = "It is too large for grep too: work without it."
            raise LimitError(
                f"File {shown(path)} has {size} bytes; files over {limit} bytes are not read. "
                f"{advice}",
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
                f"The content for {shown(path)} is not valid Unicode: it holds a lone surrogate."
            ) from None
        limit = self._grant.limits.file_bytes
        if len(content) > limit:
            raise LimitError(
                f"The content for {shown(path)} has {len(content)} bytes; at most {limit} are "
                "written. Write it as several files.",
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

    def _refuse_detours(self, path: str, use: str, deadline: Deadline) -> None:
        """Refuse a way through what is hidden before walking it to its end.

        Otherwise the answer would tell whether a hidden name exists: `.git/x/../../a` can only be
        read if there is a `.git/x`.
        """
        parts = self._root.parts(path)
        for end in range(1, len(parts) + 1):
            deadline.check()
            aim = aim_of("", "/".join(parts[:end]))
            if aim is not None and self._grant.denies(aim):
                raise self._refusal(path, use)
            # Above what is known lies nothing that is hidden: one look is enough for `../../..`.
            turns = parts[end - 1] != ".." and parts[end:][:1] == ("..",)
            if turns and self._is_hidden(parts[:end], use, deadline):
                raise self._refusal(path, use)

    def _is_hidden(self, parts: Parts, use: str, deadline: Deadline) -> bool:
        """Tell whether the deepest thing on the way, or the next name, is not to be known."""
        for end in range(len(parts), -1, -1):
            deadline.check()
            try:
                with self._root.open_parts(parts[:end], READ_FLAGS) as opened:
                    below = [join(opened.path, name) for name in parts[end:][:1] if name != ".."]
                    reached = [opened.path, *below]
            except (OSError, PathEscapeError):  # not there, or no way to it: look above
                continue
            return not all(self._may_know(each, use) for each in reached)
        return True  # not even the root opens

    def _refusal(self, path: str, use: str) -> PermissionDeniedError:
        globs = self._grant.write if use == _WRITTEN else self._grant.read
        if not globs:
            return PermissionDeniedError(f"Path {shown(path)} may not be {use}: nothing may, here.")
        if "**" in globs:
            return PermissionDeniedError(
                f"Path {shown(path)} is out of reach: secrets, history and settings are denied to "
                "all tools."
            )
        some = ", ".join(map(quoted, globs[:_SHOWN_GLOBS])) + ("…" if globs[_SHOWN_GLOBS:] else "")
        return PermissionDeniedError(
            f"Path {shown(path)} may not be {use} here; what may be: {some}, unless denied."
        )

    @contextmanager
    def _explaining(self, path: str, what: str, use: str, deadline: Deadline) -> Iterator[None]:
        """Turn the system's refusals into errors that say no more than the caller may know."""
        try:
            yield
        except (OSError, PathEscapeError) as error:
            if self._is_hidden(self._root.parts(path), use, deadline):
                raise self._refusal(path, use) from error
            if isinstance(error, FileNotFoundError):
                raise self._not_found(path, what, deadline) from error
            if isinstance(error, OSError):
                raise translated(error, path) from error
            raise

    def _not_found(self, path: str, what: str, deadline: Deadline) -> ServerError:
        """Return the error for what does not exist, naming what is near and may be seen."""
        try:
            with self._root.locate(path) as place:
                return self._nothing_at(place, path, what, deadline)
        except (OSError, PathEscapeError):  # not even where it would be is clear: `nope/../x`
            return NotFoundError(f"{what} {shown(path)} does not exist.")

    def _nothing_at(self, place: Place, path: str, what: str, deadline: Deadline) -> ServerError:
        if not self._may_know(place.path, _READ):
            return self._refusal(path, _READ)
        holder = "the root" if place.parent == "." else shown(place.parent)
        if place.missing:
            return NotFoundError(f"{what} {shown(path)} does not exist, and neither does {holder}.")
        names = visible_names(place.directory, self._grant, deadline)
        near = _nearest(place.name, list(islice(names, _MAX_NAMES)))
        if not near:
            return NotFoundError(
                f"{what} {shown(path)} does not exist. See what {holder} holds with list_directory."
            )
        return NotFoundError(
            f"{what} {shown(path)} does not exist; {holder} holds {' and '.join(map(shown, near))}."
        )


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


def _nearest(name: str, names: list[str]) -> list[str]:
    def fold(text: str) -> str:
        return unicodedata.normalize("NFKC", text).casefold()

    def distance(other: str) -> tuple[bool, int]:
        return other[:1] != name[:1], abs(len(other) - len(name))

    folded = fold(name)
    same = [each for each in names if fold(each) == folded]
    # Half as long or twice as long is not near: the ratio that difflib asks for says so too.
    similar = [each for each in names if len(name) < 2 * len(each) + 1 < 4 * len(name) + 2]
    similar = [] if len(name) > _MAX_COMPARED_CHARS else sorted(similar, key=distance)
    close = difflib.get_close_matches(name, similar[:_MAX_COMPARED], n=3)
    return list(dict.fromkeys([*same, *close]))[:3]
