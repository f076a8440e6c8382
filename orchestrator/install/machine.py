"""The machine as hosts see it: where their settings are follows from nothing else."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal, Self

from orchestrator.errors import InvalidInputError

Platform = Literal["linux", "macos", "windows"]


@dataclass(frozen=True)
class Machine:
    """A system, its user's home directory and environment. It touches no file."""

    platform: Platform
    home: PurePath
    """In the flavour of the platform."""
    environ: Mapping[str, str]

    @classmethod
    def here(cls) -> Self:
        """Return the machine of this process.

        Raises:
            InvalidInputError: The user has no home directory.
        """
        platforms: dict[str, Platform] = {"darwin": "macos", "win32": "windows"}
        try:
            return cls(platforms.get(sys.platform, "linux"), Path.home(), os.environ)
        except RuntimeError:
            raise InvalidInputError(
                "There is no home directory to look for hosts in; set HOME."
            ) from None

    def application_settings(self) -> PurePath:
        """Return where desktop programs keep their settings."""
        match self.platform:
            case "windows":
                return self.named("APPDATA", self.home / "AppData" / "Roaming")
            case "macos":
                return self.home / "Library" / "Application Support"
            case "linux":
                return self.xdg_settings()

    def xdg_settings(self) -> PurePath:
        """Return where programs keep their settings that follow the XDG rules, on any system."""
        return self.named("XDG_CONFIG_HOME", self.home / ".config")

    def named(self, variable: str, default: PurePath) -> PurePath:
        """Return the directory that a variable names; a relative one counts for nothing."""
        path = type(self.home)(self.environ.get(variable, ""))
        return path if path.is_absolute() else default
