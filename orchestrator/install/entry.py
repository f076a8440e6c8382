"""What a host is told to start: the installed command, its arguments and its settings.

Hosts pass on a short environment, so the command is a whole path and settings that the user has
made stand in the entry. Secrets do not: settings files are synchronised, shared and read by others.
"""

import os
import re
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from orchestrator.errors import InvalidInputError, UnavailableError
from orchestrator.settings import Settings

_PROGRAMS = ("workyard", "workyard.exe")
_REPLACED = re.compile(r"\$[\w{(]|\{(?:env|file):")
"""What one host or another takes for a variable or a file to put in its place."""

_DIRECTORIES = {
    "WORKYARD_DATA_DIR": "XDG_DATA_HOME",
    "WORKYARD_CONFIG_DIR": "XDG_CONFIG_HOME",
    "WORKYARD_STATE_DIR": "XDG_STATE_HOME",
}
"""Each with what it follows from where it is not set, and what a host may not pass on."""

_TAKEN_OVER = (
    "WORKYARD_MODEL",
    "WORKYARD_MODEL_TIMEOUT_S",
    "WORKYARD_JOURNAL_DAYS",
    "WORKYARD_JOURNAL_MB",
)
SHOWN_VARIABLES = frozenset((*_DIRECTORIES, *_TAKEN_OVER))
"""Those whose values hold no secret, whoever has written them."""


@dataclass(frozen=True)
class Entry:
    """A server as a host starts it."""

    command: str
    args: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether it starts Workyard's server, of whichever installation."""
        # Either flavour: a file may have been written on another system.
        names = {PurePosixPath(self.command).name, PureWindowsPath(self.command).name}
        return not names.isdisjoint(_PROGRAMS) and self.args[:1] == ("serve",)


def make_entry(
    root: Path, flags: Iterable[str], settings: Settings, environ: Mapping[str, str]
) -> Entry:
    """Return the entry for a root, with flags of `workyard serve`; the record's URL is not in it.

    Raises:
        InvalidInputError: Hosts would not take a path as it is.
        UnavailableError: There is no command to name.
    """
    args = ("serve", "--root", str(root), *flags)
    entry = Entry(str(find_command()), args, _env(settings, environ))
    for text in (entry.command, *entry.args, *entry.env.values()):
        if _REPLACED.search(text):
            raise InvalidInputError(
                f"Hosts would not take {text!r} as it stands: they replace '$NAME', '{{env:' and "
                "'{file:'. Name a place without them."
            )
    return entry


def find_command() -> Path:
    """Return the command of this installation, as it is started from anywhere.

    Raises:
        UnavailableError: It is not where installers put it.
    """
    name = "workyard.exe" if sys.platform == "win32" else "workyard"
    user_scripts = sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user"))
    places = (Path(sys.executable).parent, Path(sysconfig.get_path("scripts")), Path(user_scripts))
    for place in places:
        command = place.absolute() / name
        if os.access(command, os.X_OK) and command.is_file():
            return command
    raise UnavailableError(
        f"There is no command {name!r} beside {sys.executable}; install Workyard there with "
        "pip, pipx or uv, so that hosts can start it."
    )


def _env(settings: Settings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the settings that the user has made, as a process in any directory takes them."""
    directories = {
        "WORKYARD_DATA_DIR": settings.data_dir,
        "WORKYARD_CONFIG_DIR": settings.config_dir,
        "WORKYARD_STATE_DIR": settings.state_dir,
    }
    env = {
        name: str(directories[name])
        for name, origin in _DIRECTORIES.items()
        if environ.get(name) or environ.get(origin)
    }
    return env | {name: environ[name] for name in _TAKEN_OVER if environ.get(name)}
