"""Where hosts keep their settings on each system, and what they write for a server."""

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from pydantic import JsonValue

from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.install.entry import Entry
from orchestrator.install.hosts import HOSTS, Host, find_host
from orchestrator.install.machine import Machine

LINUX = Machine("linux", PurePosixPath("/home/a"), {})
MACOS = Machine("macos", PurePosixPath("/Users/a"), {})
WINDOWS = Machine("windows", PureWindowsPath(r"C:\Users\a"), {"APPDATA": r"D:\Roaming"})

FILES = {
    "claude-desktop": (
        "/home/a/.config/Claude/claude_desktop_config.json",
        "/Users/a/Library/Application Support/Claude/claude_desktop_config.json",
        r"D:\Roaming\Claude\claude_desktop_config.json",
    ),
    "claude-code": (
        "/home/a/.claude.json",
        "/Users/a/.claude.json",
        r"C:\Users\a\.claude.json",
    ),
    "vscode": (
        "/home/a/.config/Code/User/mcp.json",
        "/Users/a/Library/Application Support/Code/User/mcp.json",
        r"D:\Roaming\Code\User\mcp.json",
    ),
    "cursor": (
        "/home/a/.cursor/mcp.json",
        "/Users/a/.cursor/mcp.json",
        r"C:\Users\a\.cursor\mcp.json",
    ),
    "zed": (
        "/home/a/.config/zed/settings.json",
        "/Users/a/.config/zed/settings.json",
        r"D:\Roaming\Zed\settings.json",
    ),
    "codex": (
        "/home/a/.codex/config.toml",
        "/Users/a/.codex/config.toml",
        r"C:\Users\a\.codex\config.toml",
    ),
    "gemini": (
        "/home/a/.gemini/settings.json",
        "/Users/a/.gemini/settings.json",
        r"C:\Users\a\.gemini\settings.json",
    ),
    "jetbrains": (
        "/home/a/.junie/mcp/mcp.json",
        "/Users/a/.junie/mcp/mcp.json",
        r"C:\Users\a\.junie\mcp\mcp.json",
    ),
    "opencode": (
        "/home/a/.config/opencode/opencode.json",
        "/Users/a/.config/opencode/opencode.json",
        r"C:\Users\a\.config\opencode\opencode.json",
    ),
}


def user_file(name: str, machine: Machine) -> PurePath:
    return find_host(name).files("user", machine, machine.home)[-1]


@pytest.mark.parametrize("name", [host.name for host in HOSTS])
def test_settings_of_the_user_are_where_the_host_has_them_on_each_system(name: str) -> None:
    found = tuple(str(user_file(name, machine)) for machine in (LINUX, MACOS, WINDOWS))
    assert found == FILES[name]


@pytest.mark.parametrize(
    ("name", "variable", "file"),
    [
        ("claude-desktop", "XDG_CONFIG_HOME", "/x/Claude/claude_desktop_config.json"),
        ("vscode", "XDG_CONFIG_HOME", "/x/Code/User/mcp.json"),
        ("zed", "XDG_CONFIG_HOME", "/x/zed/settings.json"),
        ("opencode", "XDG_CONFIG_HOME", "/x/opencode/opencode.json"),
        ("claude-code", "CLAUDE_CONFIG_DIR", "/x/.claude.json"),
        ("codex", "CODEX_HOME", "/x/config.toml"),
        ("gemini", "GEMINI_CLI_HOME", "/x/.gemini/settings.json"),
    ],
)
def test_variables_that_a_host_heeds_are_heeded(name: str, variable: str, file: str) -> None:
    assert str(user_file(name, Machine("linux", LINUX.home, {variable: "/x"}))) == file
    relative = Machine("linux", LINUX.home, {variable: "x"})
    assert user_file(name, relative) == user_file(name, LINUX)


def test_windows_without_its_variable_has_the_usual_directory() -> None:
    bare = Machine("windows", WINDOWS.home, {})
    assert str(user_file("zed", bare)) == r"C:\Users\a\AppData\Roaming\Zed\settings.json"


def test_project_has_settings_of_its_own_where_the_host_has_them() -> None:
    project = PurePosixPath("/p")
    found = {
        host.name: str(host.files("project", LINUX, project)[0])
        for host in HOSTS
        if host.project_file
    }

    assert found == {
        "claude-code": "/p/.mcp.json",
        "vscode": "/p/.vscode/mcp.json",
        "cursor": "/p/.cursor/mcp.json",
        "zed": "/p/.zed/settings.json",
        "codex": "/p/.codex/config.toml",
        "gemini": "/p/.gemini/settings.json",
        "jetbrains": "/p/.junie/mcp/mcp.json",
        "opencode": "/p/opencode.json",
    }
    with pytest.raises(InvalidInputError, match="leave --scope out"):
        find_host("claude-desktop").files("project", LINUX, project)


STANDARD: dict[str, JsonValue] = {"command": "/b", "args": ["serve"], "env": {"A": "1"}}
SHAPES: dict[str, dict[str, JsonValue]] = {
    **{host.name: STANDARD for host in HOSTS},
    "claude-code": {"type": "stdio", **STANDARD},
    "vscode": {"type": "stdio", **STANDARD},
    "opencode": {
        "type": "local",
        "enabled": True,
        "command": ["/b", "serve"],
        "environment": {"A": "1"},
    },
}
SECTIONS = {
    **{host.name: "mcpServers" for host in HOSTS},
    "vscode": "servers",
    "zed": "context_servers",
    "codex": "mcp_servers",
    "opencode": "mcp",
}


@pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)
def test_entry_is_written_as_the_host_reads_it(host: Host) -> None:
    entry = Entry("/b", ("serve",), {"A": "1"})

    assert host.section == SECTIONS[host.name]
    assert host.shape(entry) == SHAPES[host.name]
    assert host.entry(host.shape(entry)) == entry


@pytest.mark.parametrize(
    "shape",
    [None, "x", [], {}, {"command": 1}, {"command": "/b", "args": "x"}, {"url": "http://x"}],
)
def test_what_starts_no_program_is_no_entry(shape: JsonValue) -> None:
    assert [host.entry(shape) for host in HOSTS] == [None] * len(HOSTS)


def test_entry_of_ours_is_known_by_what_it_starts() -> None:
    ours = [
        Entry("/v/bin/workyard", ("serve", "--root", "/p")),
        Entry(r"C:\v\Scripts\workyard.exe", ("serve",)),
    ]
    others = [
        Entry("/v/bin/workyard", ("agents", "list")),
        Entry("/v/bin/workyard-else", ("serve",)),
        Entry("npx", ("workyard", "serve")),
        Entry("workyard", ()),
    ]

    assert [entry.is_ours for entry in ours] == [True, True]
    assert [entry.is_ours for entry in others] == [False] * 4


def test_unknown_host_is_answered_with_the_known_ones() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'vscode'"):
        find_host("vscod")
    with pytest.raises(NotFoundError, match="known: claude-code, claude-desktop, codex"):
        find_host("emacs")
