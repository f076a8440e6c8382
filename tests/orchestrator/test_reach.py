"""What a spec grants beyond the operator's grant is told before it is missed."""

import json
from pathlib import Path
from typing import Any  # what JSON holds

import pytest

from mcp_server.fence.grant import Grant
from mcp_server.ports import Operator
from mcp_server.reports import tell_agents
from orchestrator.errors import InvalidInputError
from orchestrator.reach import excesses
from orchestrator.runnable import runnable_agents
from orchestrator.serving import granted_by
from orchestrator.spec_source import FROM_A_FILE, dotted
from orchestrator.specs import read_spec
from tests.orchestrator.by_hand import workyard


def beyond(flags: str, **grant: list[str]) -> dict[str, str]:
    """Return what a grant has beyond a server with these flags: examples by field."""
    values: dict[str, Any] = {"name": "a", "description": "d", "instructions": "x"}
    values["capabilities"] = ["Thinking", {"WorkspaceTools": grant}]
    spec = read_spec(values, Path("a.yaml"), FROM_A_FILE)
    return {dotted(e.place): e.example for e in excesses(spec, granted_by(flags))}


@pytest.mark.parametrize(
    ("flags", "grant"),
    [
        ("", {"tools": ["read_file", "write_file"], "read": ["**"], "write": ["**"]}),
        ("--read 'docs/**'", {"read": ["docs/*.md", "docs/**/x[0-9]?.txt", "docs/a"]}),
        ("--write '**/*.py'", {"write": ["src/*.py", "test_*.py"], "read": ["**/*.pem.txt"]}),
        ("--allow .env.example", {"read": [".env.example"], "allow": [".env.example"]}),
        ("--deny customers", {"read": ["**"]}),  # as .git is denied: what is left is meant
        ("--tools read_file,run_agent", {"tools": ["read_file"]}),
    ],
)
def test_grant_within_the_operators_is_passed(flags: str, grant: dict[str, list[str]]) -> None:
    assert beyond(flags, **grant) == {}


@pytest.mark.parametrize(
    ("flags", "grant", "found"),
    [
        ("--read-only", {"tools": ["grep", "edit_file"]}, {"tools[1]": ""}),
        ("--read-only", {"write": ["docs/**"]}, {"write[0]": "docs/x7q"}),
        ("--read 'docs/**'", {"read": ["docs/*", "**/*.md"]}, {"read[1]": "x7q.md"}),
        ("--read 'docs/*.md'", {"read": ["docs/**/*.md"]}, {"read[0]": "docs/x7q/x7q.md"}),
        ("--deny customers", {"read": ["customers/**"]}, {"read[0]": "customers/x7q"}),
        ("", {"write": [".github/*", ".vscode/[!a]?.json"]}, {"write[1]": ".vscode/xx.json"}),
        ("", {"allow": [".env.example"]}, {"allow[0]": ".env.example"}),
        ("--allow .git", {"allow": [".git", ".ssh"]}, {"allow[1]": ".ssh"}),
        ("--grant '{}'", {"tools": ["grep"], "read": ["a"]}, {"tools[0]": "", "read[0]": "a"}),
    ],
)
def test_grant_beyond_the_operators_is_found_with_its_field_and_an_example(
    flags: str, grant: dict[str, list[str]], found: dict[str, str]
) -> None:
    fields = {f"capabilities[1].WorkspaceTools.{field}": path for field, path in found.items()}

    assert beyond(flags, **grant) == fields


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ("--raed-only", "unrecognized arguments: --raed-only"),
        ("--help", "unrecognized arguments: --help"),
        ("--read", "expected one argument"),
        ("--read-only --write x", "not allowed with"),
        ("'", "No closing quotation"),
        ("--grant /nonexistent", "cannot be read"),
        ("--grant '{\"tool\": []}'", "there is no field 'tool'"),
        ("--tools gerp", "there is no tool 'gerp'"),
    ],
)
def test_flags_that_no_server_takes_are_refused(flags: str, problem: str) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        granted_by(flags)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "wide.yaml"
    found.write_text(
        "name: wide\ndescription: d\ninstructions: x\ncapabilities:\n"
        "  - WorkspaceTools:\n      tools: [read_file, write_file]\n      read: ['**']\n"
        "      write: ['docs/**']\n      allow: [.env.example]\n"
    )
    return found


def test_validate_reports_each_with_file_line_field_and_the_way_out(file: Path) -> None:
    done = workyard("agents", "validate", str(file), "--serve", "--read-only --read 'src/**'")
    as_json = workyard("agents", "validate", str(file), "--serve=--read-only", "--json")

    assert (done.exit_code, done.stdout) == (2, "")
    place = f"{file}:%s: capabilities[0].WorkspaceTools.%s: "
    for line, field, said in (
        (6, "tools[1]", "'write_file' is no tool of the operator's grant, which has 'read_file', "),
        (7, "read[0]", "'**' reaches beyond the operator's grant, which has 'src/**' there and "),
        (8, "write[0]", "'docs/**' reaches beyond the operator's grant, which has none and keeps "),
        (9, "allow[0]", "'.env.example' opens nothing: the operator does not allow "),
    ):
        assert place % (line, field) + said in done.stderr
    assert "Narrow it, or have it granted (--read, --allow)." in done.stderr
    findings = json.loads(as_json.stdout)[0]["findings"]
    assert [each["line"] for each in findings if each["is_fault"]] == [6, 8, 9]


def test_what_every_operator_denies_by_default_is_a_note_where_no_flags_are_named(
    file: Path,
) -> None:
    done = workyard("agents", "validate", str(file))

    assert done.exit_code == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{file}:9: capabilities[0].WorkspaceTools.allow[0]: note: ")


def test_flags_that_no_server_takes_get_one_line(file: Path) -> None:
    done = workyard("agents", "validate", str(file), "--serve", "--raed-only")

    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1


def test_host_is_told_what_an_agent_is_not_granted_there(file: Path) -> None:
    operator = Operator(root=".", grant=Grant.full(), model=None, specs=str(file.parent))

    narrow = tell_agents(runnable_agents(operator, granted_by("--read-only"))).text
    wide = tell_agents(runnable_agents(operator, granted_by("--allow .env.example"))).text

    assert "wide: d\n  not granted here: write_file, to write 'docs/**', to allow " in narrow
    assert "repo_guide: " in narrow
    assert narrow.count("not granted") == 3  # doc_writer and test_writer write too
    assert "not granted" not in wide
