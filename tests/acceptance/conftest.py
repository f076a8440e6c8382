"""The command as a user has it: a subprocess with an environment of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = str(Path(sys.executable).parent / "workyard")
DEADLINE_S = 60


@dataclass(frozen=True)
class Workyard:
    """The `workyard` command with a home of its own and no keys but those given."""

    home: Path

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment that the command is run in."""
        kept = {k: os.environ[k] for k in ("PATH", "LANG", "SYSTEMROOT") if k in os.environ}
        return {**kept, "HOME": str(self.home), "NO_COLOR": "1", **(extra or {})}

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run the command to its end."""
        return subprocess.run(
            [COMMAND, *arguments],
            env=self.environment(env),
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=DEADLINE_S,
            check=False,
        )

    def start(
        self, arguments: Sequence[str], *, env: Mapping[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        """Start the command and leave it running."""
        return subprocess.Popen(
            [COMMAND, *arguments],
            env=self.environment(env),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )


@pytest.fixture
def workyard(tmp_path: Path) -> Workyard:
    return Workyard(tmp_path / "home")
