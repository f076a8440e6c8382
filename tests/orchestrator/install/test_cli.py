"""`workyard install` and `uninstall`: what a user types, sees, and finds in the host's settings."""

import os
import sys
from pathlib import Path

import pytest
from mcp import Client, StdioServerParameters
from pydantic import JsonValue
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.install.hosts import HOSTS, Host
from orchestrator.install.installing import Target, installed, settings_file
from orchestrator.install.machine import Machine

COMMAND = str(Path(sys.executable).parent / "workyard")
HOST = pytest.mark.parametrize("host", HOSTS, ids=lambda host: host.name)


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def done(*arguments: str) -> str:
    result = workyard(*arguments)
    assert result.exit_code == 0, result.stderr
    return result.stdout


def file_of(host: Host) -> Path:
    """Return the user's settings of a host that has run here once."""
    file = settings_file(Target(host, "workyard", "user", Path()), Machine.here())
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def entry_in(host: Host, file: Path) -> dict[str, JsonValue]:
    plain = host.language.read(file.read_text())
    assert isinstance(plain, dict)
    section = plain[host.section]
    assert isinstance(section, dict)
    entry = section["workyard"]
    assert isinstance(entry, dict)
    return entry


def settings_with(host: Host, entry: str) -> str:
    """Return a settings file with another server in it, whose key is secret."""
    if host.name == "codex":
        return f'# mine\n[{host.section}.other]\ncommand = "npx"\nenv = {{KEY = "sk-1"}}\n{entry}'
    other = '"other": {"command": "npx", "env": {"KEY": "sk-1"}}'
    return f'{{\n  // mine\n  "{host.section}": {{\n    {other}{entry}\n  }},\n}}\n'


@HOST
def test_host_gets_an_entry_and_keeps_all_else_until_it_is_taken_out(
    host: Host, project: Path
) -> None:
    file = file_of(host)
    before = settings_with(host, "")
    file.write_text(before)

    shown = done("install", host.name, "--root", str(project), "--read-only")
    target = Target(host, "workyard", "user", project)
    entry = installed(target, Machine.here())["workyard"]
    assert (entry.command, entry.args) == (
        COMMAND,
        ("serve", "--root", str(project), "--read-only"),
    )
    assert set(before.splitlines()) - {*file.read_text().splitlines()} <= {before.splitlines()[3]}
    assert "+" in shown
    assert "sk-1" not in shown

    assert "nothing is changed" in done("install", host.name, "--root", str(project), "--read-only")
    done("uninstall", host.name)
    assert file.read_text() == before
    assert "nothing is changed" in done("uninstall", host.name)


@HOST
def test_dry_run_shows_what_would_be_written_and_writes_nothing(host: Host, project: Path) -> None:
    file = file_of(host)

    shown = done("install", host.name, "--root", str(project), "--dry-run")

    assert f"+++ {file}" in shown
    assert str(project) in shown
    assert "Nothing is written" in shown
    assert [*file.parent.iterdir()] == []


@HOST
def test_server_of_somebody_else_under_the_name_is_refused_and_stays(
    host: Host, project: Path
) -> None:
    file = file_of(host)
    theirs = '[mcp_servers.workyard]\ncommand = "npx"\n'
    if host.name != "codex":
        theirs = f'{{"{host.section}": {{"workyard": {{"command": "npx", "url": "x"}}}}}}'
    file.write_text(theirs)

    for arguments in (("install", host.name, "--root", str(project)), ("uninstall", host.name)):
        refused = workyard(*arguments)
        assert (refused.exit_code, refused.stdout) == (4, "")
        assert "--name" in refused.stderr
    assert file.read_text() == theirs

    done("install", host.name, "--root", str(project), "--name", "yard")
    assert "yard" in file.read_text()


BROKEN = [
    ("claude-code", "{'mcpServers': 1}", "line 1"),
    ("claude-code", '{"mcpServers": []}', "'mcpServers' is not an object"),
    ("vscode", "[]", "the whole is not an object"),
    ("opencode", '{"mcp": {}, "mcp": {}}', "twice"),
    ("codex", "a =", "not as Codex should have it"),
    ("codex", "mcp_servers = 3", "'mcp_servers' is not an object"),
]


@pytest.mark.parametrize(("name", "text", "problem"), BROKEN)
def test_broken_file_is_named_and_left_as_it_is(
    name: str, text: str, problem: str, project: Path
) -> None:
    file = file_of(next(host for host in HOSTS if host.name == name))
    file.write_text(text)

    refused = workyard("install", name, "--root", str(project))

    assert refused.exit_code == 2
    assert problem in refused.stderr
    assert str(file) in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert [each.read_text() for each in file.parent.iterdir() if each.is_file()] == [text]


def test_entry_of_ours_is_brought_up_to_date_and_keeps_what_its_owner_added(project: Path) -> None:
    host = HOSTS[1]
    file = file_of(host)
    old = '"workyard": {"command": "/old/workyard", "args": ["serve", "--root", "/old"],'
    mine = '"env": {"ANTHROPIC_API_KEY": "sk-2"}, "timeout": 90 /* long */}'
    file.write_text(settings_with(host, f",\n    {old} {mine}"))

    shown = done("install", host.name, "--root", str(project))

    entry = entry_in(host, file)
    assert (entry["command"], entry["timeout"]) == (COMMAND, 90)
    assert isinstance(entry["env"], dict)
    assert entry["env"]["ANTHROPIC_API_KEY"] == "sk-2"
    assert "/* long */" in file.read_text()
    assert '-        "/old"' in shown
    assert "sk-" not in shown


def test_settings_of_the_user_go_with_it_and_no_key_does(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL", "anthropic:x")
    monkeypatch.setenv("WORKYARD_DATA_DIR", "~/yard")
    monkeypatch.delenv("WORKYARD_CONFIG_DIR")  # it follows from XDG_CONFIG_HOME then
    monkeypatch.delenv("WORKYARD_STATE_DIR")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-3")
    monkeypatch.setenv("WORKYARD_DATABASE_URL", "sqlite+aiosqlite:///r.db")
    file = file_of(HOSTS[1])

    done("install", "claude-code", "--root", str(project))

    home = Path.home()
    assert entry_in(HOSTS[1], file)["env"] == {
        "WORKYARD_DATA_DIR": str(home / "yard"),
        "WORKYARD_CONFIG_DIR": str(home / "workyard"),
        "WORKYARD_MODEL": "anthropic:x",
        "WORKYARD_DATABASE_URL": f"sqlite+aiosqlite:///{Path('r.db').resolve()}",
    }
    assert "sk-3" not in file.read_text()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://me:hunter2@db/record",
        "postgresql+asyncpg://me@db/record?password=hunter2",
        "postgresql+asyncpg://me:hunter2@x@db/record",
    ],
)
def test_password_of_the_record_is_not_written_down(
    url: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_DATABASE_URL", url)
    file = file_of(HOSTS[1])

    result = workyard("install", "claude-code", "--root", str(project))

    assert result.exit_code == 0
    assert "keep the password in ~/.pgpass" in result.stderr
    assert "hunter2" not in result.output + file.read_text()
    assert "WORKYARD_DATABASE_URL" not in file.read_text()


def test_url_of_the_record_without_a_password_goes_with_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_DATABASE_URL", "postgresql+asyncpg://me@db/record?host=/run/pg")
    done("install", "claude-code", "--root", str(project))

    assert "postgresql+asyncpg://me@db/record?host=/run/pg" in file_of(HOSTS[1]).read_text()


@pytest.mark.parametrize("name", ["$HOME", "${x}", "{env:KEY}", "{file:a}"])
def test_root_that_a_host_would_take_for_a_variable_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    refused = workyard("install", "claude-code", "--root", str(tmp_path / name))

    assert refused.exit_code == 2
    assert "Hosts would not take" in refused.stderr


def test_project_gets_an_entry_that_no_agent_there_can_change(project: Path) -> None:
    done("install", "vscode", "--root", str(project), "--scope", "project")

    file = project / ".vscode/mcp.json"
    args = entry_in(HOSTS[2], file)["args"]
    assert args == ["serve", "--root", str(project), "--deny", ".vscode/mcp.json*"]
    done("uninstall", "vscode", "--root", str(project), "--scope", "project")
    assert "workyard" not in file.read_text()


def test_project_whose_settings_lead_elsewhere_is_refused(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("{}")
    (project / ".mcp.json").symlink_to(elsewhere)

    refused = workyard("install", "claude-code", "--root", str(project), "--scope", "project")

    assert (refused.exit_code, elsewhere.read_text()) == (2, "{}")


REFUSED = [
    (["emacs"], 3, "known: claude-code"),
    (["claude-desktop"], 6, "has never run here"),
    (["claude-desktop", "--scope", "project"], 2, "no settings of a project"),
    (["claude-code", "--root", "/nonexistent"], 2, "does not exist"),
    (["claude-code", "--name", ""], 2, "letters, digits"),
    (["codex", "--name", 'a"]\nb'], 2, "letters, digits"),
]


@pytest.mark.parametrize(("arguments", "code", "part"), REFUSED)
def test_what_cannot_be_done_gets_one_line_and_its_exit_code(
    arguments: list[str], code: int, part: str, project: Path
) -> None:
    result = workyard("install", *arguments[:1], "--root", str(project), *arguments[1:])

    assert (result.exit_code, result.stdout) == (code, "")
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1


async def test_what_is_installed_starts_with_no_more_than_hosts_pass_on_and_guards_itself(
    project: Path,
) -> None:
    for _ in range(2):  # the second time, what was there is kept beside it
        done("install", "claude-code", "--root", str(project), "--scope", "project")
        (project / ".mcp.json").write_text((project / ".mcp.json").read_text().replace("stdio", ""))
    target = Target(HOSTS[1], "", "project", project)
    (entry,) = installed(target, Machine.here()).values()
    bare = {"PATH": os.defpath, "HOME": str(Path.home()), **entry.env}
    server = StdioServerParameters(command=entry.command, args=[*entry.args], env=bare, cwd="/")

    async with Client(server) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        reached = [
            await client.call_tool("read_file", {"path": path})
            for path in ("README.md", ".mcp.json", ".mcp.json.before-workyard")
        ]

    assert names >= {"read_file", "write_file", "run_agent"}
    assert [each.is_error for each in reached] == [False, True, True]
    assert (project / ".mcp.json.before-workyard").exists()


def test_root_that_the_server_would_refuse_is_refused_at_once() -> None:
    refused = workyard("install", "claude-code", "--root", str(Path.home()))

    assert refused.exit_code == 2
    assert "The journal would lie below the root" in refused.stderr
    assert not (Path.home() / ".claude.json").exists()
    done("install", "claude-code", "--root", str(Path.home()), "--read-only")
