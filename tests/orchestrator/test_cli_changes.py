"""`workyard changes`, `diff` and `undo`, after a real run that has written."""

import json
import re
from pathlib import Path

import anyio
import pytest
from pydantic_ai import models
from typer.testing import CliRunner, Result

from orchestrator.bootstrap import Orchestrator
from orchestrator.cli.app import app
from orchestrator.connections import InProcessConnection
from orchestrator.runner import RunResult
from tests.orchestrator.played import playing
from tests.wire.environment import environment
from tests.wire.script import Answer, Call, Say
from tests.wire.server import Wire, serving


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def write(path: str, content: str) -> tuple[str, str]:
    return "write_file", json.dumps({"path": path, "content": content})


@pytest.fixture
def run(project: Path, monkeypatch: pytest.MonkeyPatch) -> RunResult:
    """Return a run that has made `docs/new/a.md` and written `README.md`, here."""
    monkeypatch.chdir(project)

    async def work() -> RunResult:
        async with Orchestrator.open(connect=InProcessConnection) as yard:
            calls = [write("docs/new/a.md", "# New\n")], [write("README.md", "# Other\n")]
            return await yard.run("doc_writer", "go", model=playing(*calls, "Done."))

    return anyio.run(work)


def test_run_of_the_command_line_is_listed_and_undone_by_its_ids(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it real: the server is a process of its own and is told where the journal is."""
    place = ("--root", str(project))
    script: list[Answer] = [
        Call("write_file", {"path": "docs/a.md", "content": "new"}),
        Say("Done."),
    ]
    with models.override_allow_model_requests(True), serving(Wire(script)) as url:
        for name, value in environment("openai-chat", url).items():
            monkeypatch.setenv(name, value)
        done = workyard("run", "doc_writer", "go", *place, "--model", "openai-chat:m", "--json")
    ids = json.loads(done.stdout)

    for chosen in (("--session", ids["session_id"]), ("--run", ids["run_id"])):
        listed = workyard("changes", *place, *chosen, "--json")
        (call,) = json.loads(listed.stdout)["changes"]
        assert (call["actor"], call["tool"]) == ("doc_writer", "write_file")
        assert (call["session_id"], call["run_id"]) == (ids["session_id"], ids["run_id"])
    assert workyard("undo", *place, "--run", ids["run_id"]).exit_code == 0
    assert not (project / "docs" / "a.md").exists()


def test_changed_files_are_shown_with_the_session_below_the_call(run: RunResult) -> None:
    lines = workyard("sessions", "show", run.session_id).stdout.splitlines()

    assert lines[lines.index("  ± docs/new/a.md created +1") - 1].startswith("  ↳ Created docs/new")
    assert lines[lines.index("  ± README.md +1 -3") - 1].startswith("  ↳ Replaced README.md")


def test_changed_files_are_shown_while_an_agent_works(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script: list[Answer] = [
        Call("write_file", {"path": "docs/a.md", "content": "new"}),
        Say("Done."),
    ]
    with models.override_allow_model_requests(True), serving(Wire(script)) as url:
        for name, value in environment("openai-chat", url).items():
            monkeypatch.setenv(name, value)
        place = ("--root", str(project), "--model", "openai-chat:m")
        done = workyard("run", "doc_writer", "go", *place)

    assert done.stdout == "Done.\n"
    assert "  ± docs/a.md created +1\n" in done.stderr


def test_changes_are_a_line_each_the_newest_first(run: RunResult) -> None:
    first, second = workyard("changes").stdout.splitlines()

    moment = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    source = f"session {run.session_id[-12:]}  run {run.run_id[-12:]}"
    start = "doc_writer  write_file  "
    assert re.fullmatch(rf"2  {moment}  {start}README\.md changed  {source}", first)
    assert re.fullmatch(rf"1  {moment}  {start}docs/new/a\.md created  {source}", second)


def test_ids_that_are_listed_can_be_given_back(run: RunResult) -> None:
    assert len(workyard("changes", "--session", run.session_id[-12:]).stdout.splitlines()) == 2
    assert workyard("undo", "--run", run.run_id[-12:]).stdout.count(" is undone:") == 2


def test_diff_is_of_the_last_call_or_of_what_is_named(run: RunResult) -> None:
    last = workyard("diff").stdout

    assert last.startswith("--- a/README.md\n+++ b/README.md\n@@ -1,3 +1,1 @@\n-# Sample\n")
    assert workyard("diff", "2").stdout == last
    assert "+++ b/docs/new/a.md" in workyard("diff", "1").stdout
    both = workyard("diff", "--run", run.run_id).stdout
    assert "+++ b/docs/new/a.md" in both
    assert "+++ b/README.md" in both


def test_undo_says_what_it_has_done_and_how_to_take_it_back(run: RunResult, project: Path) -> None:
    undone = workyard("undo").stdout.splitlines()
    text = (project / "README.md").read_text()
    redone = workyard("undo", "3").stdout.splitlines()

    assert undone[0].startswith("2 is undone: write_file by doc_writer, ")
    assert undone[1:] == [
        "  README.md is as before",
        "This is 3: 'workyard undo 3' takes it back.",
    ]
    assert text == "# Sample\n\nA till that adds prices.\n"
    assert redone[0].startswith("3 is undone: undo by owner, ")
    assert (project / "README.md").read_text() == "# Other\n"
    listed = workyard("changes").stdout
    assert "README.md changed (undone by 4)" in listed
    assert listed.count("undone by") == 1


def test_undo_refuses_what_others_have_changed_since_unless_forced(
    run: RunResult, project: Path
) -> None:
    (project / "README.md").write_text("mine")

    refused = workyard("undo", "--run", run.run_id)
    kept = (project / "README.md").read_text()
    forced = workyard("undo", "--run", run.run_id, "--force")

    assert (refused.exit_code, refused.stdout, kept) == (4, "", "mine")
    assert "'README.md' has been changed since" in refused.stderr
    assert forced.exit_code == 0
    assert (project / "README.md").read_text().startswith("# Sample")
    assert not (project / "docs" / "new").exists()


def test_undo_can_be_looked_at_before_it_is_done(run: RunResult, project: Path) -> None:
    told = workyard("undo", "1", "--dry-run").stdout.splitlines()
    machine = json.loads(workyard("undo", "1", "--dry-run", "--json").stdout)

    assert told[0].startswith("1 would be undone: write_file by doc_writer, ")
    assert told[1:] == ["  docs/new/a.md is gone", "  docs/new/ is gone"]
    assert machine["number"] is None
    assert [path["path"] for path in machine["paths"]] == ["docs/new/a.md", "docs/new/"]
    assert (project / "docs" / "new" / "a.md").exists()


def test_json_of_an_undo_is_an_object(run: RunResult) -> None:
    done = json.loads(workyard("undo", "--json").stdout)

    assert done["number"] == 3
    assert [call["number"] for call in done["calls"]] == [2]
    assert done["paths"] == [{"path": "README.md", "what": "changed", "moved_to": None}]


NOTHING = [
    (("undo",), 3, "nothing to undo"),
    (("undo", "7"), 3, "nothing to undo"),
    (("diff",), 3, "nothing to show"),
    (("diff", "--session", "nope"), 3, "nothing to show"),
    (("undo", "--run", ""), 2, "run is empty"),
    (("changes", "--session", ""), 2, "session is empty"),
    (("changes", "--root", "/nonexistent"), 2, "does not exist"),
]


@pytest.mark.parametrize(("arguments", "code", "part"), NOTHING)
def test_what_is_not_there_gets_one_clear_line_and_its_exit_code(
    arguments: tuple[str, ...], code: int, part: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)

    done = workyard(*arguments)

    assert (done.exit_code, done.stdout) == (code, "")
    assert part in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_json_of_what_cannot_be_undone_is_an_object_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)

    done = workyard("undo", "--json")

    assert done.exit_code == 3
    assert json.loads(done.stdout)["error"]["code"] == "change_not_found"


def test_root_without_changes_is_said_to_have_none(project: Path) -> None:
    done = workyard("changes", "--root", str(project))

    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No such change is on record for this root.\n"


@pytest.mark.parametrize("command", ["changes", "diff", "undo"])
def test_directory_above_the_journal_is_refused_with_what_to_do(
    command: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_STATE_DIR", str(project / "state"))

    done = workyard(command, "--root", str(project))

    assert done.exit_code == 2
    assert "WORKYARD_STATE_DIR" in done.stderr


def test_agent_that_may_write_above_the_journal_is_refused_with_what_to_do(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_STATE_DIR", str(project / "state"))

    done = workyard("run", "doc_writer", "x", "--root", str(project), "--model", "offline")

    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("workyard: The journal would lie below the root")
    assert workyard("agents", "validate").exit_code == 0


def test_long_list_of_paths_is_cut(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)

    async def work() -> None:
        async with Orchestrator.open(connect=InProcessConnection) as yard:
            calls = [[write(f"docs/{name}.md", "x")] for name in "abcde"]
            run = await yard.run("doc_writer", "go", model=playing(*calls, "Done."))
            await yard.undo(run=run.run_id)

    anyio.run(work)

    line = workyard("changes", "--limit", "1").stdout
    assert "docs/a.md deleted, docs/b.md deleted, docs/c.md deleted, +2 more" in line


def test_nothing_in_a_name_or_a_file_steers_the_terminal(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    hostile = "\x1b]0;owned\x07\u009b1m\u202eevil"

    async def work() -> None:
        async with Orchestrator.open(connect=InProcessConnection) as yard:
            call = write(f"docs/{hostile}.md", hostile)
            await yard.run("doc_writer", "go", model=playing([call], "Done."))

    anyio.run(work)

    commands = [("changes",), ("diff",), ("undo", "--dry-run"), ("undo",)]
    shown = "".join(workyard(*command).stdout for command in commands)
    assert shown.count("owned") == 5
    assert not set(shown) & {"\x1b", "\x07", "\u009b", "\u202e"}
