"""A settings file: read whole, replaced whole or not at all, its content before kept beside it."""

import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from orchestrator.errors import ConflictError, InvalidInputError, UnavailableError

BACKUP_ENDING = ".before-workyard"
_BOM = "\ufeff"
_MAX_BYTES = 64_000_000  # Claude Code keeps the history of each project in its own


@dataclass(frozen=True)
class SettingsFile:
    """What a file holds, and where it really is."""

    path: Path
    place: Path
    """The file itself, behind all links: it is what is replaced, so that the links stay."""
    text: str
    """Without the byte order mark."""
    raw: bytes | None
    """None where there is no file yet."""

    @property
    def backup(self) -> Path:
        """Where the content before the last change is kept."""
        return self.place.with_name(self.place.name + BACKUP_ENDING)


def read_file(path: Path, *, within: Path | None = None) -> SettingsFile:
    """Read a settings file; one that is not there is empty.

    Args:
        path: The file.
        within: A directory that links must not lead out of: a project may be somebody else's work.

    Raises:
        InvalidInputError: It is no file of UTF-8 text, or a link leads out of `within`.
        UnavailableError: It cannot be read.
    """
    try:
        place = Path(os.path.realpath(path))
        if within is not None and not place.is_relative_to(os.path.realpath(within)):
            raise InvalidInputError(f"{path} leads out of {within}; nothing is written there.")
        raw = _content(place)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path} is not UTF-8 text; nothing is changed.") from None
    return SettingsFile(path, place, text.removeprefix(_BOM), raw)


def replace_file(file: SettingsFile, text: str) -> None:
    """Put a text in the place of what was read, which is kept beside it.

    Mode and owner stay. A new file is its user's alone: hosts keep keys in them.

    Raises:
        ConflictError: Somebody has changed the file since it was read.
        UnavailableError: It cannot be written; it is as it was.
    """
    mark = _BOM if file.raw is not None and file.raw.startswith(_BOM.encode()) else ""
    try:
        file.place.parent.mkdir(parents=True, exist_ok=True)
        if _content(file.place) != file.raw:
            raise ConflictError(f"{file.path} has just been changed by somebody else; try again.")
        kept = None if file.raw is None else file.place.stat()
        if file.raw is not None:
            _put(file.backup, file.raw, kept)
        _put(file.place, (mark + text).encode(), kept)
    except OSError as error:
        raise UnavailableError(
            f"{file.path} cannot be written ({error.strerror}); it is as it was."
        ) from None


def _content(place: Path) -> bytes | None:
    try:
        found = place.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):  # a pipe would never end
        raise InvalidInputError(f"{place} is not a file; nothing is changed.")
    if found.st_size > _MAX_BYTES:
        raise InvalidInputError(f"{place} has {found.st_size:,} bytes, too many for settings.")
    return place.read_bytes()


def _put(place: Path, content: bytes, kept: os.stat_result | None) -> None:
    """Write a file beside its place and move it there: never half, and through no link."""
    descriptor, name = tempfile.mkstemp(".tmp", ".workyard-", place.parent)  # mode 600
    try:
        with open(descriptor, "wb") as stream:
            if kept is not None:
                _take_over(name, kept)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(name, place)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise


def _take_over(name: str, kept: os.stat_result) -> None:
    written = os.stat(name)
    if (written.st_uid, written.st_gid) != (kept.st_uid, kept.st_gid):
        os.chown(name, kept.st_uid, kept.st_gid)
    os.chmod(name, stat.S_IMODE(kept.st_mode))
