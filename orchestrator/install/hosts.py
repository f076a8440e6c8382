"""The hosts: where each keeps its MCP servers, and how it writes one down.

Sources: the hosts' own documents, and their programs as far as they run without a model
(docs/decisions/0021-installation.md says which).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pydantic import JsonValue

from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.install import jsonc, toml
from orchestrator.install.document import Language
from orchestrator.install.entry import Entry
from orchestrator.install.machine import Machine

Scope = Literal["user", "project"]


@dataclass(frozen=True, kw_only=True)
class Host:
    """A program that starts MCP servers, as far as its settings go."""

    name: str
    title: str
    section: str
    """The member of the settings that holds the servers, by name."""
    user_files: Callable[[Machine], Sequence[PurePath]]
    """Where the user's settings are; the first that exists counts, else the last is made."""
    project_file: str | None = None
    """Where a project's are, below its directory; None where the host has none."""
    language: Language = jsonc
    extra: dict[str, JsonValue] | None = None
    """What stands in an entry beside command, arguments and environment."""
    is_whole: bool = False
    """Whether the arguments stand in one list with the command, as `environment` for `env`."""
    makes_directory: bool = False
    """Whether its directory is there once it has run: without, nobody would read the file."""
    then: str = "Start a new session there."
    """What its user has to do for the change to count."""

    def files(self, scope: Scope, machine: Machine, project: PurePath) -> Sequence[PurePath]:
        """Return where the settings of a scope can be.

        Raises:
            InvalidInputError: The host has no settings of a project.
        """
        if scope == "user":
            return self.user_files(machine)
        if self.project_file is None:
            raise InvalidInputError(
                f"{self.title} has no settings of a project; leave --scope out to use the user's."
            )
        return (project / self.project_file,)

    def shape(self, entry: Entry) -> dict[str, JsonValue]:
        """Return an entry as the host writes it."""
        if self.is_whole:
            parts: dict[str, JsonValue] = {"command": [entry.command, *entry.args]}
        else:
            parts = {"command": entry.command, "args": [*entry.args]}
        if entry.env:
            parts["environment" if self.is_whole else "env"] = {**entry.env}
        return {**(self.extra or {}), **parts}

    def entry(self, shape: JsonValue) -> Entry | None:
        """Return what the host would start for an entry, or None where it starts nothing."""
        if not isinstance(shape, dict):
            return None
        words, env = shape.get("command"), shape.get("environment" if self.is_whole else "env")
        if not self.is_whole:
            arguments = shape.get("args", [])
            words = [words, *arguments] if isinstance(arguments, list) else None
        if not isinstance(words, list) or not words:
            return None
        texts = [word for word in words if isinstance(word, str)]
        if len(texts) < len(words):
            return None
        given = env if isinstance(env, dict) else {}
        return Entry(
            texts[0],
            tuple(texts[1:]),
            {name: value for name, value in given.items() if isinstance(value, str)},
        )


def _in_home(*parts: str) -> Callable[[Machine], Sequence[PurePath]]:
    return lambda machine: (machine.home.joinpath(*parts),)


def _in_application_settings(*parts: str) -> Callable[[Machine], Sequence[PurePath]]:
    return lambda machine: (machine.application_settings().joinpath(*parts),)


def _of_claude_code(machine: Machine) -> Sequence[PurePath]:
    return (machine.named("CLAUDE_CONFIG_DIR", machine.home) / ".claude.json",)


def _of_codex(machine: Machine) -> Sequence[PurePath]:
    return (machine.named("CODEX_HOME", machine.home / ".codex") / "config.toml",)


def _of_gemini(machine: Machine) -> Sequence[PurePath]:
    return (machine.named("GEMINI_CLI_HOME", machine.home) / ".gemini" / "settings.json",)


def _of_opencode(machine: Machine) -> Sequence[PurePath]:
    directory = machine.xdg_settings() / "opencode"
    return (directory / "opencode.jsonc", directory / "opencode.json")


def _of_zed(machine: Machine) -> Sequence[PurePath]:
    if machine.platform == "macos":
        return (machine.home / ".config" / "zed" / "settings.json",)
    name = "Zed" if machine.platform == "windows" else "zed"
    return (machine.application_settings() / name / "settings.json",)


HOSTS = (
    Host(
        name="claude-desktop",
        title="Claude Desktop",
        section="mcpServers",
        user_files=_in_application_settings("Claude", "claude_desktop_config.json"),
        makes_directory=True,
        then="Quit Claude Desktop and start it again.",
    ),
    Host(
        name="claude-code",
        title="Claude Code",
        section="mcpServers",
        user_files=_of_claude_code,
        project_file=".mcp.json",
        extra={"type": "stdio"},
    ),
    Host(
        name="vscode",
        title="VS Code",
        section="servers",
        user_files=_in_application_settings("Code", "User", "mcp.json"),
        project_file=".vscode/mcp.json",
        extra={"type": "stdio"},
        makes_directory=True,
        then="VS Code asks whether you trust the server when it first starts it.",
    ),
    Host(
        name="cursor",
        title="Cursor",
        section="mcpServers",
        user_files=_in_home(".cursor", "mcp.json"),
        project_file=".cursor/mcp.json",
        then="Switch it on in Cursor's settings, under MCP, if it is not.",
    ),
    Host(
        name="zed",
        title="Zed",
        section="context_servers",
        user_files=_of_zed,
        project_file=".zed/settings.json",
        makes_directory=True,
        then="Zed starts it at once.",
    ),
    Host(
        name="codex",
        title="Codex",
        section="mcp_servers",
        user_files=_of_codex,
        project_file=".codex/config.toml",
        language=toml,
        then="Start a new session there; a project's settings count once it is trusted.",
    ),
    Host(
        name="gemini",
        title="Gemini CLI",
        section="mcpServers",
        user_files=_of_gemini,
        project_file=".gemini/settings.json",
        then="Start a new session there; in a folder that is not trusted, servers are off.",
    ),
    Host(
        name="jetbrains",
        title="JetBrains Junie",
        section="mcpServers",
        user_files=_in_home(".junie", "mcp", "mcp.json"),
        project_file=".junie/mcp/mcp.json",
        then="AI Assistant reads no file: paste the entry into its settings, under MCP.",
    ),
    Host(
        name="opencode",
        title="opencode",
        section="mcp",
        user_files=_of_opencode,
        project_file="opencode.json",
        extra={"type": "local", "enabled": True},
        is_whole=True,
    ),
)


def find_host(name: str) -> Host:
    """Return the host of a name.

    Raises:
        NotFoundError: There is none; the known ones are named.
    """
    for host in HOSTS:
        if host.name == name:
            return host
    raise NotFoundError("host", name, known=[host.name for host in HOSTS])
