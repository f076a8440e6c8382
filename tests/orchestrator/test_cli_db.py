"""`workyard db`: what an operator of the database types, and reads."""

import json
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.store.schema import Revisions
from tests.orchestrator.first_schema import make_file, make_in_postgres

KNOWN = Revisions(None).known


def workyard(*arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def use(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKYARD_DATABASE_URL", url)


def test_new_postgres_gets_its_record_by_the_command_that_is_named(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(postgres_url, monkeypatch)

    refused = CliRunner().invoke(app, ["sessions", "list"])
    assert (refused.exit_code, refused.stderr.count("`workyard db upgrade`")) == (6, 1)
    assert "holds no record yet; `workyard db upgrade`" in workyard("db", "status")

    assert workyard("db", "upgrade") == f"Made the record, at revision {KNOWN}.\n"
    assert workyard("db", "upgrade") == f"The record is at revision {KNOWN} already.\n"
    assert f"revision {KNOWN}, as this Workyard knows it" in workyard("db", "status")
    assert json.loads(workyard("sessions", "list", "--json"))["sessions"] == []


def test_older_postgres_is_upgraded_by_the_command_that_is_named(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anyio.run(make_in_postgres, postgres_url, tmp_path / "rows.db")
    use(postgres_url, monkeypatch)

    assert f"revision 0001; `workyard db upgrade` makes it {KNOWN}." in workyard("db", "status")
    done = workyard("db", "upgrade")
    assert done == f"Upgraded the record from revision 0001 to {KNOWN}.\n"
    assert "Where are totals rounded?" in workyard("sessions", "list")


def test_status_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(f"sqlite+aiosqlite:///{tmp_path / 'none.db'}", monkeypatch)
    assert "holds no record yet" in workyard("db", "status")
    assert list(tmp_path.iterdir()) == []

    use(make_file(tmp_path / "old.db"), monkeypatch)
    before = (tmp_path / "old.db").read_bytes()
    assert "revision 0001" in workyard("db", "status")
    assert (tmp_path / "old.db").read_bytes() == before


def test_address_is_shown_without_the_password(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(postgres_url.replace("@", ":secret@") + "&password=secret", monkeypatch)

    shown = workyard("db", "status")

    assert "database postgresql+asyncpg://postgres:***@/test_" in shown
    assert "secret" not in shown


WITHOUT_DRIVER = """
import sys
sys.modules["asyncpg"] = None
from orchestrator.cli import main
sys.argv[1:] = ["db", "status"]
main()
"""


def test_missing_driver_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    use("postgresql+asyncpg://me@localhost/record", monkeypatch)

    done = subprocess.run([sys.executable, "-c", WITHOUT_DRIVER], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'workyard[postgres]'" in done.stderr
