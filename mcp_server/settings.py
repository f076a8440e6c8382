"""What the operator decides for every server of a user, from `WORKYARD_*` environment variables."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mcp_server.errors import InvalidInputError

_DAY_S = 86_400
_MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class JournalSettings:
    """Where the journals of all roots are kept, and for how long."""

    directory: Path
    keep_s: float = 30 * _DAY_S
    """Seconds after which a change can no longer be undone."""
    keep_bytes: int = 1_000_000_000
    """Bytes that one journal has in use; beyond that, the oldest changes go first."""

    @property
    def environ(self) -> dict[str, str]:
        """The variables that tell another process the same."""
        return {
            "WORKYARD_STATE_DIR": str(self.directory.parent),
            "WORKYARD_JOURNAL_DAYS": repr(self.keep_s / _DAY_S),
            "WORKYARD_JOURNAL_MB": repr(self.keep_bytes / _MEGABYTE),
        }

    def directory_for(self, root: str) -> Path:
        """Return the directory of the journal of `root`, an absolute path without links.

        Raises:
            InvalidInputError: it would lie below the root, by whatever name, or the root among the
                journals.
        """
        name = hashlib.sha256(os.fsencode(root)).hexdigest()[:16]
        journals = Path(os.path.realpath(self.directory))
        above = (journals, *journals.parents)
        if Path(root).is_relative_to(journals) or any(_is_same(each, root) for each in above):
            raise InvalidInputError(
                "The journal would lie below the root, where what it keeps could be changed. Name "
                "a directory elsewhere with WORKYARD_STATE_DIR, or a narrower root."
            )
        return journals / name

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "JournalSettings":
        """Return the settings of this process.

        `WORKYARD_STATE_DIR` (else the user's state directory), `WORKYARD_JOURNAL_DAYS`,
        `WORKYARD_JOURNAL_MB`.

        Raises:
            InvalidInputError: a variable holds what it cannot; it is named.
        """
        environ = os.environ if environ is None else environ
        state = environ.get("WORKYARD_STATE_DIR") or platformdirs.user_state_path(
            "workyard", appauthor=False
        )
        days = _positive("WORKYARD_JOURNAL_DAYS", environ, 30)
        megabytes = _positive("WORKYARD_JOURNAL_MB", environ, 1000)
        try:
            directory = Path(state).expanduser().absolute() / "journals"
        except RuntimeError as error:  # `~` of nobody
            raise InvalidInputError(f"WORKYARD_STATE_DIR cannot be used: {error}.") from None
        return cls(directory, days * _DAY_S, int(megabytes * _MEGABYTE))


def _is_same(directory: Path, root: str) -> bool:
    # By its inode: it has another name where it is mounted twice, or whatever case is written.
    try:
        return os.path.samefile(directory, root)
    except OSError:  # one of them does not exist yet
        return str(directory) == root


def _positive(name: str, environ: Mapping[str, str], default: float) -> float:
    given = environ.get(name)
    if not given:
        return default
    try:
        value = float(given)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise InvalidInputError(f"{name} is {given!r}; it must be a number above 0.")
    return value
