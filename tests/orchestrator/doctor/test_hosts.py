"""`workyard doctor` and the hosts: what stands in their settings is started as they would."""

import json
import re
import sys
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.doctor.findings import Finding, Status
from orchestrator.doctor.hosts import Hosts, try_to_start
from orchestrator.install.entry import Entry
from orchestrator.install.machine import Machine


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


async def findings(project: Path | None = None) -> list[Finding]:
    return [each async for each in Hosts(Machine.here(), project).findings()]


def program(file: Path, body: str) -> str:
    """Return the path of a program that a host would take for Workyard's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!{sys.executable}\n{body}\n")
    file.chmod(0o755)
    return str(file)


def write_entry(file: Path, command: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = {"command": command, "args": ["serve", "--root", "/r"]}
    file.write_text(json.dumps({"mcpServers": {"yard": entry}}))


def test_whole_chain_is_told_a_line_each_and_as_json(project: Path) -> None:
    assert workyard("install", "cursor", "--root", str(project)).exit_code == 0

    done = workyard("doctor", "--root", str(project), "--json")

    checks = {each["check"]: each for each in json.loads(done.stdout)["checks"]}
    assert done.exit_code == 0
    assert [*checks] == [
        *("python", "command", "ripgrep", "root", "confinement", "journal", "record", "model"),
        *("agents", "host cursor"),
    ]
    assert checks["host cursor"]["status"] == "ok"
    assert re.fullmatch(
        r"'workyard' starts and lists [1-9]\d* tools", checks["host cursor"]["detail"]
    )


def test_what_failed_is_in_the_exit_code_and_has_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL", "openai:x")
    monkeypatch.setenv("WORKYARD_MODEL_TIMEOUT_S", "soon")

    done = workyard("doctor", "--root", "/nowhere")

    assert done.exit_code == 6
    assert done.stdout.splitlines()[-1].startswith("failed  settings: WORKYARD_MODEL_TIMEOUT_S")
    monkeypatch.delenv("WORKYARD_MODEL_TIMEOUT_S")
    done = workyard("doctor", "--root", "/nowhere")
    assert done.exit_code == 6
    assert "failed  root: The root '/nowhere' does not exist" in done.stdout
    assert (
        "failed  model: Model 'openai:x' needs a key for OpenAI: set OPENAI_API_KEY" in done.stdout
    )
    assert "ok      hosts: none has settings here" in done.stdout


async def test_entry_whose_program_has_gone_is_named() -> None:
    home = Path.home()
    write_entry(home / ".cursor/mcp.json", str(home / "gone/workyard"))
    write_entry(home / ".junie/mcp/mcp.json", "workyard")

    for found, host in zip(await findings(), ("cursor", "jetbrains"), strict=True):
        assert (found.check, found.status) == (f"host {host}", Status.FAILED)
        assert "no path of a program here" in found.detail
        assert f"workyard install {host}" in found.advice


async def test_host_without_workyard_is_told_how_it_gets_it() -> None:
    (Path.home() / ".claude.json").write_text('{"mcpServers": {"other": {"command": "npx"}}}')

    (found,) = await findings()

    assert (found.check, found.status) == ("host claude-code", Status.OK)
    assert found.detail.startswith("Workyard is not in")
    assert "workyard install claude-code" in found.advice


async def test_broken_settings_are_a_warning_that_names_the_file() -> None:
    (Path.home() / ".claude.json").write_text("{")

    (found,) = await findings()

    assert found.status is Status.WARNING
    assert ".claude.json is not as Claude Code should have it: line 1" in found.detail


async def test_nothing_that_a_project_names_is_started(project: Path) -> None:
    trace = project / "trace"
    evil = program(project / "bin/workyard", f"open({str(trace)!r}, 'w')")
    write_entry(project / ".mcp.json", evil)

    (found,) = await findings(project)

    assert (found.check, found.status) == ("host claude-code, project", Status.OK)
    assert "is not tried" in found.detail
    assert not trace.exists()


FAULTS = [
    ("import sys; sys.exit('the root is gone')", 20, "does not start: the root is gone"),
    ("print('hello')", 20, "does not start"),
    ("import time; time.sleep(60)", 0.5, "has not listed its tools within 0.5 s"),
]


@pytest.mark.parametrize(("body", "patience_s", "problem"), FAULTS)
async def test_server_that_does_not_start_is_told_with_its_reason(
    body: str, patience_s: float, problem: str, tmp_path: Path
) -> None:
    entry = Entry(program(tmp_path / "workyard", body), ("serve",))

    with anyio.fail_after(30):
        starts, detail = await try_to_start(entry, patience_s)

    assert (starts, detail) == (False, problem)


async def test_file_that_is_no_program_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "workyard"
    file.write_bytes(b"\x7fELF not really")
    file.chmod(0o755)

    assert (await try_to_start(Entry(str(file), ("serve",)), 20))[0] is False


async def test_server_in_two_settings_is_started_once(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    command = program(tmp_path / "workyard", f"open({str(starts)!r}, 'a').write('.')")
    write_entry(Path.home() / ".cursor/mcp.json", command)
    write_entry(Path.home() / ".junie/mcp/mcp.json", command)

    found = await findings()

    assert [each.status for each in found] == [Status.FAILED] * 2
    assert starts.read_text() == "."
