"""The gate: what every path passes before anything happens at it.

A path is resolved beneath the root, the grant is asked about what it leads to, and what goes wrong
becomes an error that says no more than the caller may know.
"""

import difflib
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.beneath import Place, Root
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.faults import translated
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import READ_FLAGS, Opened, Parts, join, split
from mcp_server.fence.reading.listing import aim_of, visible_names
from mcp_server.text import quoted, shown, without_host_paths

_MAX_NAMES = 2000  # names that are looked at for one that was not found
_MAX_COMPARED = 200  # of these, names that are compared letter by letter, which is slow
_MAX_COMPARED_CHARS = 100
_SHOWN_GLOBS = 5
_READ, _WRITTEN = "read", "written"  # what a path may be used for, as errors put it


class Gate:
    """The way to what lies beneath one root, as far as one grant goes."""

    def __init__(self, root: Root, grant: Grant) -> None:
        self.root = root
        self.grant = grant

    @contextmanager
    def opened(self, path: str, what: str, deadline: Deadline) -> Iterator[Opened]:
        """Open a file or directory that the grant lets the caller read; links are followed.

        Args:
            path: as the caller gave it.
            what: what the caller takes it for, as errors put it: "File", "Directory", "Path".
            deadline: when to give up.
        """
        self._refuse_detours(path, _READ, deadline)
        with (
            self._explaining(path, what, _READ, deadline),
            self.root.open(path, READ_FLAGS) as opened,
        ):
            mode = os.fstat(opened.fd).st_mode
            is_directory = stat.S_ISDIR(mode)
            allowed = self.grant.may_list if is_directory else self.grant.may_read
            if not allowed(opened.path):
                raise self._refusal(path, _READ)
            if not is_directory and not stat.S_ISREG(mode):
                raise NotAFileError(
                    f"Path {self._shown(path)} is a pipe, a socket or a device; only files are "
                    "opened."
                )
            yield opened

    @contextmanager
    def writable(self, path: str, deadline: Deadline) -> Iterator[Place]:
        """Find the place of a file that the grant lets the caller write; links are followed."""
        self._refuse_detours(path, _WRITTEN, deadline)
        if path.endswith("/"):
            raise NotAFileError(
                f"Path {self._shown(path)} ends in '/', so it names a directory. Give the path of "
                "the file itself."
            )
        with (
            self._explaining(path, "File", _WRITTEN, deadline),
            self.root.locate(path) as place,
        ):
            self.check_writable(place.path, path)
            yield place

    @contextmanager
    def entry(self, path: str, deadline: Deadline) -> Iterator[Place]:
        """Find the place of a name that the grant lets the caller make, move or delete.

        A link that the path ends in is the thing itself, not what it leads to.
        """
        self._refuse_detours(path, _WRITTEN, deadline)
        if self.root.parts(path)[-1:] in ((), ("..",)):
            raise InvalidInputError(
                f"Path {self._shown(path)} names no entry of a directory. Give its own name, "
                "without '..' at the end; the root itself stays where it is."
            )
        with (
            self._explaining(path, "Path", _WRITTEN, deadline),
            self.root.locate_entry(path) as place,
        ):
            self.check_writable(place.path, path)
            target = None if place.missing else link_text(place)
            aim = None if target is None else aim_of(place.path, target)
            if aim is not None and self.grant.denies(aim):
                raise self._refusal(path, _WRITTEN)
            yield place

    def missing(self, path: str, deadline: Deadline) -> ServerError:
        """Return the error for a path that nothing is at, naming what is near."""
        return self._not_found(path, "Path", deadline)

    def check_writable(self, canonical: str, path: str) -> None:
        """Raise PermissionDeniedError, about `path`, unless what is there may be written."""
        if not self.grant.may_write(canonical):
            raise self._refusal(path, _WRITTEN)

    def check_readable(self, canonical: str, path: str) -> None:
        """Raise PermissionDeniedError, about `path`, unless what is there may be read."""
        if not self.grant.may_read(canonical):
            raise self._refusal(path, _READ)

    def hides(self, link: str, target: str) -> bool:
        """Tell whether a link at the canonical path `link` would lead to what may not be read.

        One that leads outside does not: nobody follows it.
        """
        aim = aim_of(link, target)
        if aim is None:
            return False
        with (
            suppress(OSError, PathEscapeError),  # nothing is there yet: then the text is judged
            self.root.open_parts(split(aim), READ_FLAGS) as opened,
        ):
            aim = opened.path
        return not self._may_know(aim, _READ)

    def _shown(self, path: str) -> str:
        """Return what a caller gave, short enough to be shown to it, without the root before it."""
        # Cut with the root, a long one would be all that is left.
        return shown(without_host_paths(path, self.root.names))

    def _may_know(self, path: str, use: str) -> bool:
        """Tell whether a caller may know what is at the resolved `path`, when asking for `use`."""
        grant = self.grant
        if grant.may_read(path) or grant.may_list(path):
            return True
        return use == _WRITTEN and (grant.may_write(path) or grant.may_hold_written(path))

    def _refuse_detours(self, path: str, use: str, deadline: Deadline) -> None:
        """Refuse a way through what is hidden before walking it to its end.

        Otherwise the answer would tell whether a hidden name exists: `.git/x/../../a` can only be
        read if there is a `.git/x`.
        """
        parts = self.root.parts(path)
        for end in range(1, len(parts) + 1):
            deadline.check()
            aim = aim_of("", "/".join(parts[:end]))
            if aim is not None and self.grant.denies(aim):
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
                with self.root.open_parts(parts[:end], READ_FLAGS) as opened:
                    below = [join(opened.path, name) for name in parts[end:][:1] if name != ".."]
                    reached = [opened.path, *below]
            except (OSError, PathEscapeError):  # not there, or no way to it: look above
                continue
            return not all(self._may_know(each, use) for each in reached)
        return True  # not even the root opens

    def _refusal(self, path: str, use: str) -> PermissionDeniedError:
        bounds = self.grant.writable if use == _WRITTEN else self.grant.readable
        if not all(bounds):
            return PermissionDeniedError(
                f"Path {self._shown(path)} may not be {use}: nothing may, here."
            )
        named = dict.fromkeys(globs for globs in bounds if "**" not in globs)
        if not named:
            return PermissionDeniedError(
                f"Path {self._shown(path)} is out of reach of all tools: it is denied, as secrets, "
                "history and settings are. Go on without it."
            )
        some = "; of that only: ".join(map(_some, named))
        return PermissionDeniedError(
            f"Path {self._shown(path)} may not be {use} here; what may be: {some}, unless denied."
        )

    @contextmanager
    def _explaining(self, path: str, what: str, use: str, deadline: Deadline) -> Iterator[None]:
        """Turn the system's refusals into errors that say no more than the caller may know."""
        try:
            yield
        except (OSError, PathEscapeError) as error:
            if self._is_hidden(self.root.parts(path), use, deadline):
                raise self._refusal(path, use) from error
            if isinstance(error, FileNotFoundError):
                raise self._not_found(path, what, deadline) from error
            if isinstance(error, OSError):
                raise translated(error, path) from error
            raise

    def _not_found(self, path: str, what: str, deadline: Deadline) -> ServerError:
        """Return the error for what does not exist, naming what is near and may be seen."""
        try:
            with self.root.locate(path) as place:
                return self._nothing_at(place, path, what, deadline)
        except (OSError, PathEscapeError):  # not even where it would be is clear: `nope/../x`
            return NotFoundError(f"{what} {self._shown(path)} does not exist.")

    def _nothing_at(self, place: Place, path: str, what: str, deadline: Deadline) -> ServerError:
        if not self._may_know(place.path, _READ):
            return self._refusal(path, _READ)
        named = f"{what} {self._shown(path)}"
        holder = "the root" if place.parent == "." else shown(place.parent)
        if place.missing:
            return NotFoundError(f"{named} does not exist, and neither does {holder}.")
        names = visible_names(place.directory, self.grant, deadline)
        near = _nearest(place.name, list(islice(names, _MAX_NAMES)))
        if not near:
            return NotFoundError(
                f"{named} does not exist. See what {holder} holds with list_directory."
            )
        return NotFoundError(
            f"{named} does not exist; {holder} holds {' and '.join(map(shown, near))}."
        )


def _some(globs: tuple[str, ...]) -> str:
    return ", ".join(map(quoted, globs[:_SHOWN_GLOBS])) + ("…" if globs[_SHOWN_GLOBS:] else "")


def link_text(place: Place) -> str | None:
    """Return where the link at `place` points, or None if there is none."""
    try:
        return os.readlink(place.name, dir_fd=place.directory.fd)
    except OSError:
        return None


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
