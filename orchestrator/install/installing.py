"""Put Workyard into a host's settings, and take it out again.

A change is planned first: nothing is written until everything that can be wrong has been found.
"""

import difflib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from orchestrator.errors import ConflictError, InvalidInputError, UnavailableError
from orchestrator.install.document import Document
from orchestrator.install.entry import SHOWN_VARIABLES, Entry
from orchestrator.install.files import SettingsFile, read_file, replace_file
from orchestrator.install.hosts import Host, Scope
from orchestrator.install.machine import Machine

_HIDDEN = "***"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,40}")
"""What every host takes: it becomes part of the names of tools and of slash commands."""


@dataclass(frozen=True)
class Target:
    """Where an entry is meant to stand."""

    host: Host
    name: str
    """The entry's, among the host's servers."""
    scope: Scope
    project: Path
    """The directory whose settings are meant, if they are a project's."""

    @property
    def path(self) -> tuple[str, str]:
        """The members that lead to the entry."""
        return (self.host.section, self.name)


@dataclass(frozen=True)
class Change:
    """What would become of a host's settings file."""

    target: Target
    file: SettingsFile
    before: Document
    after: Document

    @property
    def is_needed(self) -> bool:
        """Whether anything would change."""
        return self.after.text != self.before.text

    def diff(self) -> str:
        """Return the change of our entry as a unified diff; empty if there is none.

        The rest of the file stays as it is and is not shown: it may hold keys. So may variables
        that somebody has added to our entry, whose values are hidden.
        """
        old, new = (self._shown(each) for each in (self.before, self.after))
        origin = "/dev/null" if self.file.raw is None else str(self.file.path)
        return "\n".join(difflib.unified_diff(old, new, origin, str(self.file.path), lineterm=""))

    def apply(self) -> None:
        """Write the file, if anything changes.

        Raises:
            ConflictError: Somebody has changed it meanwhile.
            UnavailableError: It cannot be written.
        """
        if self.is_needed:
            replace_file(self.file, self.after.text)

    def _shown(self, document: Document) -> list[str]:
        shape = document.get(self.target.path)
        if shape is None:
            return []
        language = self.target.host.language
        return language.put("", self.target.path, _without_secrets(shape)).splitlines()


def settings_file(target: Target, machine: Machine) -> Path:
    """Return the file that a host reads, or would read if it were there.

    Raises:
        InvalidInputError: The host has no settings of a project.
    """
    files = [Path(each) for each in target.host.files(target.scope, machine, target.project)]
    return next((each for each in files if os.path.exists(each)), files[-1])


def plan_install(target: Target, entry: Entry, machine: Machine) -> Change:
    """Return the change that puts an entry into a host's settings.

    An entry of ours that is there already becomes this one; what its owner has added to it stays.

    Raises:
        ConflictError: The name is another server's.
        InvalidInputError: The name is no server's; the file is broken, or has another shape than
            the host's.
        UnavailableError: The file cannot be read, or the host has never run here.
    """
    if not _NAME.fullmatch(target.name):
        raise InvalidInputError(
            f"The name {target.name!r} is not one for a server; it has letters, digits, '-' and "
            "'_', at most 40."
        )
    host, file = target.host, _read(target, machine)
    directory = file.path.parent
    if target.scope == "user" and host.makes_directory and not os.path.isdir(directory):
        raise UnavailableError(
            f"{directory} does not exist: {host.title} has never run here, or keeps its settings "
            "elsewhere. Start it once, or add the entry by hand."
        )
    shape = host.shape(entry)
    with _explained(host, file):
        before = Document.parsed(host.language, file.text)
        old = before.get(target.path)
        if old is None:
            return Change(target, file, before, before.put(target.path, shape))
        _check_ours(target, old, file.path)
        after = before
        for path, value in _leaves(target.path, shape):
            after = after.put(path, value)
        return Change(target, file, before, after)


def plan_uninstall(target: Target, machine: Machine) -> Change:
    """Return the change that takes an entry of ours out of a host's settings.

    Raises:
        ConflictError: The name is another server's.
        InvalidInputError: The file is broken, or has another shape than the host's.
        UnavailableError: The file cannot be read.
    """
    file = _read(target, machine)
    with _explained(target.host, file):
        before = Document.parsed(target.host.language, file.text)
        old = before.get(target.path)
        if old is None:
            return Change(target, file, before, before)
        _check_ours(target, old, file.path)
        return Change(target, file, before, before.remove(target.path))


def installed(target: Target, machine: Machine) -> dict[str, Entry]:
    """Return the servers in a host's settings that are Workyard's, by name.

    Raises:
        InvalidInputError: The file is broken, or has another shape than the host's.
        UnavailableError: The file cannot be read.
    """
    host, file = target.host, _read(target, machine)
    with _explained(host, file):
        section = Document.parsed(host.language, file.text).get((host.section,))
    shapes = section if isinstance(section, dict) else {}
    entries = {name: host.entry(shape) for name, shape in shapes.items()}
    return {name: entry for name, entry in entries.items() if entry is not None and entry.is_ours}


def _read(target: Target, machine: Machine) -> SettingsFile:
    within = target.project if target.scope == "project" else None
    return read_file(settings_file(target, machine), within=within)


@contextmanager
def _explained(host: Host, file: SettingsFile) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise InvalidInputError(
            f"{file.path} is not as {host.title} should have it: {error}. Nothing is changed."
        ) from None


def _check_ours(target: Target, shape: JsonValue, file: Path) -> None:
    entry = target.host.entry(shape)
    if entry is None or not entry.is_ours:
        raise ConflictError(
            f"The server {target.name!r} in {file} is not started with 'workyard serve'; it stays "
            "as it is. Take another name with --name."
        )


def _leaves(path: tuple[str, ...], shape: JsonValue) -> Iterator[tuple[tuple[str, ...], JsonValue]]:
    """Yield each value that we write with the members that lead to it."""
    if isinstance(shape, dict):
        for name, value in shape.items():
            yield from _leaves((*path, name), value)
    else:
        yield path, shape


def _without_secrets(shape: JsonValue) -> JsonValue:
    if not isinstance(shape, dict):
        return _HIDDEN
    return {
        name: _hidden(value) if name in ("env", "environment") else value
        for name, value in shape.items()
        if name in ("type", "command", "args", "env", "environment", "enabled")
    }


def _hidden(env: JsonValue) -> JsonValue:
    if not isinstance(env, dict):
        return _HIDDEN
    return {name: env[name] if name in SHOWN_VARIABLES else _HIDDEN for name in env}
