"""The reference server from npm, kept under `.tools/npm/`: one exact version, checked by its hash.

There is no lock file: it would hold the addresses of a registry.
"""

import json
import shutil
import subprocess
from pathlib import Path

PACKAGE = "@modelcontextprotocol/server-filesystem"
VERSION = "2026.8.31"
_INTEGRITY = (
    "sha512-kKaFkyAh6oipvc9+EAbJ552JafnMnOq5nzmzWkp1"
    "jJdBhTAAGpmIpWihUG1+rfNhmEFM98gUZDdCHCDD4v6a7Q=="
)
_PLACE = Path(__file__).parents[1] / ".tools" / "npm"


class ReferenceMissingError(Exception):
    """The reference server cannot be run here; the message says why in one sentence."""


def reference_command() -> list[str]:
    """Return how to start the reference server, without its directory; installs it on first use.

    Raises:
        ReferenceMissingError: node or npm is missing, or npm cannot install it.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise ReferenceMissingError("The reference server needs node and npm on the PATH.")
    home = _PLACE / VERSION
    lock = home / "node_modules" / ".package-lock.json"  # npm writes it when all else is done
    if not lock.exists():
        _install(npm, home)
    installed = json.loads(lock.read_text(encoding="utf-8"))["packages"]
    found = installed[f"node_modules/{PACKAGE}"]["integrity"]
    assert found == _INTEGRITY, f"{PACKAGE} {VERSION} is another one than before: {found}"
    return [node, str(home / "node_modules" / PACKAGE / "dist" / "index.js")]


def node_version() -> str:
    """Return the version of node."""
    return subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()


def _install(npm: str, home: Path) -> None:
    """Install into `home`; npm checks each package against the registry's hash."""
    home.mkdir(parents=True, exist_ok=True)
    options = ("--ignore-scripts", "--no-save", "--no-audit", "--no-fund", "--loglevel=error")
    places = (f"--prefix={home}", f"--cache={_PLACE / 'cache'}")
    done = subprocess.run(
        [npm, "install", *options, *places, f"{PACKAGE}@{VERSION}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = next(iter(done.stderr.strip().splitlines()), "no reason given")
        raise ReferenceMissingError(f"npm cannot install {PACKAGE} {VERSION}: {reason}.")
