"""`workyard agents`: what is kept on record is made, edited, compared and moved by commands."""

import json
import sys
from pathlib import Path

import pytest
import yaml

from orchestrator.settings import load_settings
from tests.orchestrator.by_hand import rows, workyard
from tests.orchestrator.test_cli import loaded_by

NOTES = "name: notes\ndescription: Writes notes.\ninstructions: Write.\n"
SHARED = NOTES + ("capabilities:\n  - Budget: {requests: 5, total_tokens: 1000, cost_usd: 0.5}\n")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "notes.yaml"
    found.write_text(NOTES)
    return found


def agents(*arguments: object) -> tuple[int, str, str]:
    done = workyard("agents", *map(str, arguments))
    return done.exit_code, done.stdout, done.stderr


def test_definition_goes_through_its_life(file: Path, project: Path) -> None:
    code, made, _ = agents("create", file, "--note", "first")
    assert (code, made.split()[0]) == (0, "local/notes@1")
    assert agents("create", file)[0] == 4

    file.write_text(NOTES.replace("Writes", "Makes"))
    assert agents("edit", "notes", "--file", file)[1].startswith("local/notes@2 ")
    assert "-description: Writes notes.\n+description: Makes notes." in agents("diff", "notes")[1]
    assert agents("diff", "notes", 2, 1)[1].startswith("--- notes@2\n+++ notes@1\n")
    assert agents("rollback", "notes", 1)[1].startswith("local/notes@3 ")
    listed = agents("versions", "notes")[1].splitlines()[1:]
    assert [line.split()[0] for line in listed] == ["3", "2", "1"]
    assert "As version 1." in listed[0]

    ran = workyard("run", "notes", "go", "--root", str(project), "--model", "offline", "--json")
    assert ran.exit_code == 0
    ((sha256,),) = rows("SELECT spec_sha256 FROM run")
    assert made.split()[1] == sha256

    assert agents("delete", "notes")[0] == 0
    assert agents("show", "notes")[0] == 3


def test_who_reads_definitions_does_not_load_what_runs_agents(file: Path) -> None:
    assert agents("create", file)[0] == 0

    loaded = loaded_by("agents", "list")

    assert "orchestrator.definitions.definitions" in loaded
    assert not {"fastmcp", "mcp", "orchestrator.capabilities"} & loaded


def test_owner_steers_no_terminal(file: Path) -> None:
    code, told, _ = agents("create", file, "--owner", "x\x1b[31m\ny")

    assert (code, told.startswith("x\\x1b[31m\\ny/notes@1 ")) == (0, True)


def test_edit_of_what_another_shares_is_refused_before_the_editor_is_opened(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    capped = "capabilities: [{Budget: {requests: 5, total_tokens: 1000, cost_usd: 1}}]"
    file.write_text(f"{file.read_text()}\n{capped}\n")
    assert agents("create", file, "--owner", "ada", "--shared")[0] == 0
    monkeypatch.setenv("EDITOR", f"touch {file.parent / 'opened'}")

    code, _, said = agents("edit", "ada/notes")

    assert (code, "no definition of 'local' called 'ada/notes'" in said) == (3, True)
    assert not (file.parent / "opened").exists()


def test_version_is_run_by_its_number_and_its_sessions_go_on(file: Path, project: Path) -> None:
    made = agents("create", file)[1]
    file.write_text(NOTES.replace("Writes", "Makes"))
    agents("edit", "notes", "--file", file)
    words = ("go", "--root", str(project), "--model", "offline", "--json")

    first = workyard("run", "notes@1", *words)
    second = workyard("run", "local/notes@1", *words, "--continue")

    assert (first.exit_code, second.exit_code) == (0, 0)
    assert json.loads(first.stdout)["session_id"] == json.loads(second.stdout)["session_id"]
    assert rows("SELECT spec_sha256 FROM run") == [(made.split()[1],)] * 2


def test_list_and_show_say_where_an_agent_comes_from(tmp_path: Path, file: Path) -> None:
    shared = tmp_path / "shared.yaml"
    shared.write_text(SHARED)
    agents("create", file)
    agents("create", shared, "--owner", "ada", "--shared")
    hidden = tmp_path / "hidden.yaml"
    hidden.write_text(NOTES.replace("name: notes", "name: repo_guide"))
    warned = agents("create", hidden)[2]

    listed = {line.split()[0]: line for line in agents("list")[1].splitlines()}

    assert "agent_specs/repo_guide.yaml" in listed["repo_guide"].replace("\\", "/")
    for name, where, trust in (
        ("notes", "local, version 1", "stored"),
        ("ada/notes", "ada, version 1", "shared"),
        ("local/repo_guide", "local, version 1", "stored"),
    ):
        assert where in listed[name]
        assert listed[name].rstrip().endswith(trust)
    assert "this one is run as 'local/repo_guide'" in warned
    assert agents("show", "notes")[1].startswith("# notes@1 of local, stored\n# sha256 ")
    assert agents("show", "ada/notes")[1].startswith("# notes@1 of ada, shared\n")
    assert yaml.safe_load(agents("show", "notes")[1]) == yaml.safe_load(NOTES)
    assert agents("show", "repo_guide")[1].startswith(f"# {Path(__file__).parents[2]}")
    assert agents("show", "notes", "--owner", "zoe")[0] == 3


def test_looking_at_agents_makes_no_record() -> None:
    for command in (["list"], ["show", "repo_guide"], ["validate"], ["show", "nobody"]):
        agents(*command)

    assert not load_settings().may_have_record


def test_record_that_cannot_be_read_hides_no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKYARD_DATABASE_URL", "mysql://x/y")

    code, listed, said = agents("list")

    assert code == 2
    assert "repo_guide" in listed
    assert "The database URL cannot be used" in said
    assert agents("show", "repo_guide")[0] == 0


def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    script = tmp_path / "editor.py"
    script.write_text(f"import pathlib, sys\nfile = pathlib.Path(sys.argv[-1])\n{code}\n")
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


def test_edit_opens_the_editor_and_leaves_nothing_behind(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents("create", file)
    editor(tmp_path, monkeypatch, "file.write_text(file.read_text().replace('Writes', 'Edits'))")

    assert agents("edit", "notes")[1].startswith("local/notes@2 ")
    assert "Edits notes." in agents("show", "notes")[1]
    assert not list(tmp_path.glob("workyard-*"))


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("file.write_text(file.read_text() + 'modle: x\\n')", "notes.yaml:4: modle: there is no"),
        ("file.write_text('name: [')", "not YAML"),
        ("file.write_text(file.read_text() + 'capabilities: [LocalWorkspace]\\n')", "refused"),
        ("sys.exit(1)", "The editor"),
    ],
)
def test_edit_that_is_refused_keeps_what_was_written(
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
    problem: str,
) -> None:
    agents("create", file)
    editor(tmp_path, monkeypatch, code)

    done = agents("edit", "notes")

    (kept,) = tmp_path.glob("workyard-*/notes.yaml")
    assert done[0] == 2
    assert problem in done[2]
    assert str(kept) in done[2]
    assert "local, version 1" in agents("list")[1]


def test_edit_that_somebody_has_overtaken_is_refused_and_kept(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents("create", file)
    other = tmp_path / "other.yaml"
    other.write_text(NOTES.replace("Writes", "Overtakes"))
    overtake = (
        "import subprocess\n"
        f"subprocess.run([sys.executable, '-c', 'from orchestrator.cli import main; main()', "
        f"'agents', 'edit', 'notes', '--file', {str(other)!r}], check=True, "
        f"stdout=subprocess.DEVNULL)\n"
        "file.write_text(file.read_text().replace('Writes', 'Loses'))"
    )
    editor(tmp_path, monkeypatch, overtake)

    code, _, said = agents("edit", "notes")

    assert code == 4
    assert "is at version 2, and the edit was made from 1" in said
    (kept,) = tmp_path.glob("workyard-*/notes.yaml")
    assert "Loses" in kept.read_text()
    assert agents("edit", "notes", "--file", file, "--made-from", 1)[0] == 4
    assert "Overtakes" in agents("show", "notes")[1]


def test_editor_that_is_not_there_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agents("create", file)
    monkeypatch.setenv("VISUAL", "/nonexistent/editor")

    code, _, said = agents("edit", "notes")

    assert code == 2
    assert "cannot be started" in said


def test_sharing_is_an_edit_of_who_may_run_it(file: Path) -> None:
    agents("create", file)
    code, _, said = agents("edit", "notes", "--shared")
    assert code == 2
    assert "has one Budget" in said

    file.write_text(SHARED)
    agents("edit", "notes", "--file", file)
    assert agents("edit", "notes", "--shared")[1].startswith("local/notes@2 ")
    assert "shared" in agents("show", "local/notes", "--owner", "zoe")[1]
    agents("edit", "notes", "--private")
    assert agents("show", "local/notes", "--owner", "zoe")[0] == 3


def test_import_says_what_is_lost_and_adds_a_version_to_what_is_there(
    tmp_path: Path, file: Path
) -> None:
    agents("create", file)
    claude = tmp_path / "notes.md"
    claude.write_text("---\nname: notes\ndescription: d\ntools: Read, Bash\n---\nWrite.\n")

    code, made, said = agents("import", claude)

    assert (code, made.split()[0]) == (0, "local/notes@2")
    assert f"{claude}: line 4: tools: there is no 'Bash' here; it is left out." in said
    claude.write_text("---\nname: others\ndescription: d\n---\nWrite.\n")
    assert agents("import", claude)[1].startswith("local/others@1 ")


def asking(directory: Path, name: str, *others: str) -> Path:
    """Return a file of an agent that asks others."""
    file = directory / f"{name}.yaml"
    entry = f"capabilities: [{{SubAgents: {{agents: [{', '.join(others)}]}}}}]\n"
    file.write_text(NOTES.replace("name: notes", f"name: {name}") + (entry if others else ""))
    return file


def test_several_files_are_imported_so_that_whom_others_ask_comes_first(tmp_path: Path) -> None:
    chief = asking(tmp_path, "chief", "lead", "notes")
    lead, notes = asking(tmp_path, "lead", "notes"), asking(tmp_path, "notes")

    alone = agents("create", chief)
    code, made, _ = agents("import", chief, lead, notes)

    assert alone[0] == 2
    assert "capabilities[0].SubAgents.agents[0]: There is no agent 'lead'" in alone[2]
    assert code == 0
    names = [line.split()[0] for line in made.splitlines()]
    assert names == ["local/notes@1", "local/lead@1", "local/chief@1"]
    assert agents("import", lead, chief, notes)[1].splitlines()[1].startswith("local/lead@1 ")


def test_files_that_cannot_be_imported_together_are_refused_before_any_is(tmp_path: Path) -> None:
    chief, lead = asking(tmp_path, "chief", "lead"), asking(tmp_path, "lead", "chief")
    other = tmp_path / "other"
    other.mkdir()

    circle = agents("import", lead, chief)
    twice = agents("import", asking(tmp_path, "notes"), asking(other, "notes"))

    assert circle[0] == twice[0] == 2
    assert "would ask each other in a circle: " in circle[2]
    assert f"{str(other / 'notes.yaml')!r} are both called 'notes'" in twice[2]
    assert "local" not in agents("list")[1]


def test_delegate_in_a_directory_of_specs_is_found_where_that_is_named(tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    asking(specs, "helper")
    chief = asking(tmp_path, "chief", "helper")

    assert agents("create", chief)[0] == 2
    assert agents("create", chief, "--specs", specs)[0] == 0
    assert agents("validate", "chief")[0] == 2
    assert agents("validate", "chief", "--specs", specs)[0] == 0


def test_team_that_has_lost_one_is_found_by_validate_also_where_nothing_is_named(
    tmp_path: Path,
) -> None:
    agents("import", asking(tmp_path, "chief", "lead"), asking(tmp_path, "lead"))
    assert "local/chief@1: ok" in agents("validate")[1]
    agents("delete", "lead")

    code, out, said = agents("validate")

    assert code == 2
    assert "chief@1: capabilities[0].SubAgents.agents[0]: There is no agent 'lead'" in said
    assert "repo_guide.yaml: ok" in out


def test_export_comes_back_as_it_was(tmp_path: Path, file: Path) -> None:
    made = agents("create", file)[1].split()[1]
    for form, name in (("yaml", "notes.yaml"), ("claude", "notes.md"), ("vscode", "n.agent.md")):
        out = tmp_path / form / name
        out.parent.mkdir()
        code, text, said = agents("export", "notes", "--format", form)
        assert (code, said) == (0, "")
        out.write_text(text)
        back = agents("import", out, "--owner", form)[1].split()
        assert back[0] == f"{form}/notes@1"
        assert form != "yaml" or back[1] == made


def test_schema_for_editors_is_dropped_with_a_word(file: Path) -> None:
    file.write_text("$schema: schema.json\n" + NOTES)

    code, _, said = agents("create", file)

    assert code == 0
    assert "line 1: $schema: it is for editors of the file" in said


def test_validate_reports_all_faults_at_once_with_line_and_field(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(
        "name: other\n"
        "description: d\n"
        "instructions: '{{x}} {{y}'\n"
        "model: antropic:x\n"
        "deps_schema: {type: string}\n"
        "output_schema: {type: nothing}\n"
        "capabilities:\n"
        "  - WorkspaceTools: {tools: [red_file], raed: ['**']}\n"
        "  - WorkspaceTools: {tools: [red_file]}\n"
        "  - Budgit: {}\n"
        "  - SubAgents: {agents: [nobody]}\n"
    )

    code, out, said = agents("validate", file)
    as_json = json.loads(agents("validate", file, "--json")[1])

    assert (code, out) == (2, "")
    places = [(f["line"], f["field"]) for f in as_json[0]["findings"] if f["is_fault"]]
    assert places == [
        (6, "output_schema.type"),
        (5, "deps_schema"),
        (3, "instructions"),
        (3, "instructions"),
        (1, "name"),
        (8, "capabilities[0].WorkspaceTools.raed"),
        (9, "capabilities[1]"),
        (10, "capabilities[2]"),
        (11, "capabilities[3].SubAgents.agents[0]"),
        (4, "model"),
    ]
    assert len(said.splitlines()) == len(places)
    for part in ("did you mean 'read'?", "read_file", "did you mean 'Budget'?", "no provider"):
        assert part in said


def test_validate_reports_every_wrong_key_at_once(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: Wrong\nmodle: x\ninstructions: 1\ntool_timeout: soon\n")

    _, _, said = agents("validate", file)

    fields = [line.split(": ")[1] for line in said.splitlines()]
    assert sorted(fields) == ["description", "instructions", "modle", "name", "tool_timeout"]


def test_validate_takes_definitions_and_files_of_other_programs(tmp_path: Path, file: Path) -> None:
    agents("create", file)
    claude = tmp_path / "x.md"
    claude.write_text("---\nname: x\ndescription: d\ntools: Bash\n---\nWrite.\n")

    code, out, said = agents("validate", "notes", claude)

    assert code == 0
    assert "local/notes@1: ok" in out
    assert f"{claude}: ok" in out
    assert "note: line 4: tools: there is no 'Bash' here" in said
    rows("UPDATE definition_version SET spec = ?", NOTES)
    assert agents("validate", "notes")[0] == 2


def test_key_that_is_missing_is_a_note_and_no_fault() -> None:
    code, _, said = agents("validate", "repo_guide")

    assert code == 0
    assert "repo_guide.yaml:4: model: note: " in said
    assert "ANTHROPIC_API_KEY" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["create", "/nonexistent.yaml"], 2),
        (["create", "/proc/self/mem"], 2),
        (["edit", "nobody"], 3),
        (["diff", "nobody"], 3),
        (["versions", "no\udcffbody"], 3),
        (["rollback", "nobody", "1"], 3),
        (["delete", "nobody"], 3),
        (["export", "nobody"], 3),
        (["show", "repo_guide", "--version", "1"], 3),
        (["show", "nobody", "--owner", " "], 2),
        (["show", "notes@2"], 3),
        (["show", "notes@1", "--version", "2"], 2),
        (["show", "notes", "--version", str(10**30)], 3),
        (["rollback", "notes", str(10**30)], 3),
        (["diff", "notes", "1", str(10**30)], 3),
    ],
)
def test_bad_input_gets_one_line_and_its_exit_code(
    file: Path, arguments: list[str], code: int
) -> None:
    agents("create", file)

    done = agents(*arguments)

    assert (done[0], done[1]) == (code, "")
    assert len(done[2].splitlines()) == 1


def test_what_a_definition_says_cannot_steer_a_terminal(file: Path) -> None:
    file.write_text(NOTES.replace("Writes", '"\\e]0;x\\aWrites').replace("notes.", 'notes."'))
    agents("create", file)

    for command in (["list"], ["show", "notes"], ["export", "notes"]):
        assert "\x1b" not in agents(*command)[1]
