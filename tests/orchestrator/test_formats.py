"""Agents of other programs come in and go out; what is lost on the way is said, line by line."""

import json
from pathlib import Path
from typing import Any  # what JSON holds

import pytest
import yaml
from pydantic import JsonValue

from orchestrator.agents import check_spec
from orchestrator.catalogue import Catalogue
from orchestrator.errors import SpecError
from orchestrator.formats.claude import write_claude
from orchestrator.formats.converted import Conversion
from orchestrator.formats.reading import read_agent
from orchestrator.formats.vscode import write_vscode
from orchestrator.formats.writing import as_yaml
from orchestrator.spec_source import FROM_A_FILE
from orchestrator.specs import Spec, load_spec, read_spec

CLAUDE = """---
name: code-improver
description: "Improves code: small steps."
tools: Read, Grep, Glob, Edit, Bash, Agent(test-writer, doc-writer)
disallowedTools: Write
model: sonnet
maxTurns: 12
effort: high
color: blue
permissionMode: acceptEdits
---

Improve {{what}} you find.

Stop early.
"""
VSCODE = """---
description: Plans work.
tools: ['search', 'read/readFile', 'edit/createFile', 'web', 'agent']
agents: ['Code Reviewer']
model: ['GPT-6', 'Claude Sonnet 5.5']
handoffs:
  - {label: Go, agent: coder, prompt: Do it., send: false}
---
Plan it.
"""
OLDER: dict[str, Any] = {
    "name": "Code Helper 2",
    "display_name": "Code Helper",
    "description": "Helps with code.",
    "model": {
        "provider": "google",
        "model": "gemini-3.8-flash",
        "temperature": 0.2,
        "max_tokens": 4000,
        "top_q": 1,
    },
    "system_prompt": "You help. {{name}}",
    "tools": [
        {"name": "file_read", "enabled": True},
        {"name": "file_write", "enabled": False},
        {"name": "grep", "enabled": True, "config": {"x": 1}},
        {"name": "shell", "enabled": True},
    ],
    "metadata": {"team": "core"},
    "version": 3,
}


def read(tmp_path: Path, name: str, text: str) -> Conversion:
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return read_agent(file)


def sound(read: Conversion) -> Spec:
    spec = read_spec(read.values, read.file, FROM_A_FILE)
    check_spec(spec)
    return spec


def test_older_shape_becomes_a_spec_and_what_is_lost_is_said(tmp_path: Path) -> None:
    read_in = read(tmp_path, "helper.json", json.dumps(OLDER, indent=1))

    assert read_in.values == {
        "name": "code_helper_2",
        "description": "Helps with code.",
        "instructions": "You help. \\{{name}}",
        "model": "google:gemini-3.8-flash",
        "model_settings": {"temperature": 0.2, "max_tokens": 4000},
        "metadata": {"display_name": "Code Helper", "team": "core"},
        "capabilities": [{"WorkspaceTools": {"tools": ["read_file", "grep"], "read": ["**"]}}],
    }
    sound(read_in)
    assert read_in.notes == [
        "line 2: name: 'Code Helper 2' is called 'code_helper_2' here.",
        "line 12: system_prompt: '{{' is text here and is written '\\{{'; see deps_schema for "
        "inputs.",
        "line 10: model.top_q: it is left out; see model_settings for what there is.",
        "line 18: tools[1]: 'file_write' is not enabled; it is left out.",
        "line 25: tools[2].config: a spec has nothing for this; it is left out.",
        "line 29: tools[3]: there is no 'shell' here (file_read, file_write, grep); it is left "
        "out.",
        "line 37: version: a spec has nothing for this; it is left out.",
    ]


def test_every_key_of_the_older_shape_is_taken_along_or_said(tmp_path: Path) -> None:
    """Each is changed alone, and either the spec or what is said is another."""
    before = read(tmp_path, "a.json", json.dumps(OLDER))
    changed = [
        {**OLDER, "name": "other"},
        {**OLDER, "display_name": "Other"},
        {**OLDER, "description": "Other."},
        {**OLDER, "system_prompt": "Other."},
        {**OLDER, "metadata": {}},
        {**OLDER, "tools": OLDER["tools"][1:]},
        {**OLDER, "more": 1},
        *({**OLDER, "model": {**OLDER["model"], key: "x"}} for key in OLDER["model"]),
        {**OLDER, "model": {**OLDER["model"], "more": 1}},
    ]

    for each in changed:
        after = read(tmp_path, "a.json", json.dumps(each))
        if each["model"].get("top_q") != "x":
            assert (after.values, after.notes) != (before.values, before.notes)


def test_older_tools_that_write_say_how_far_they_reach(tmp_path: Path) -> None:
    older = {**OLDER, "tools": [{"name": "file_write", "enabled": True}]}

    read_in = read(tmp_path, "a.json", json.dumps(older))

    grant = {"tools": ["write_file"], "read": ["**"], "write": ["**"]}
    assert read_in.values["capabilities"] == [{"WorkspaceTools": grant}]
    assert any("narrow WorkspaceTools.write" in note for note in read_in.notes)


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"system_prompt": None}, "system_prompt"),
        ({"system_prompt": 1}, "system_prompt"),
        ({"model": "x"}, "model"),
        ({"tools": "grep"}, "tools"),
        ({"tools": ["grep"]}, "tools[0]"),
        ({"tools": [{"name": "grep", "enabled": "no"}]}, "tools[0].enabled"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_older_shape_that_is_broken_is_refused_at_its_place(
    tmp_path: Path, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError) as caught:
        read(tmp_path, "a.json", json.dumps({**OLDER, **more}))

    assert caught.value.field == field


def test_agent_of_claude_code_becomes_a_spec(tmp_path: Path) -> None:
    read_in = read(tmp_path, "code-improver.md", CLAUDE)

    tools = ["read_file", "grep", "find_files", "edit_file"]
    assert read_in.values == {
        "name": "code_improver",
        "description": "Improves code: small steps.",
        "instructions": "Improve \\{{what}} you find.\n\nStop early.\n",
        "metadata": {"color": "blue"},
        "capabilities": [
            {"SubAgents": {"agents": ["test_writer", "doc_writer"]}},
            {"WorkspaceTools": {"tools": tools, "read": ["**"], "write": ["**"]}},
            {"Budget": {"requests": 12}},
            {"Thinking": {"effort": "high"}},
        ],
    }
    sound(read_in)
    said = "\n".join(read_in.notes)
    assert "line 6: model: 'sonnet' is a name of Claude Code alone" in said
    assert "line 4: tools: there is no 'Bash' here; it is left out." in said
    assert "line 10: permissionMode: it is left out: Approvals" in said


def test_agent_of_vs_code_becomes_a_spec(tmp_path: Path) -> None:
    read_in = read(tmp_path, "work-planner.agent.md", VSCODE)

    tools = ["grep", "find_files", "list_directory", "read_file", "write_file"]
    assert read_in.values == {
        "name": "work_planner",
        "description": "Plans work.",
        "instructions": "Plan it.\n",
        "capabilities": [
            {"WorkspaceTools": {"tools": tools, "read": ["**"], "write": ["**"]}},
            {"SubAgents": {"agents": ["code_reviewer"]}},
        ],
    }
    sound(read_in)
    said = "\n".join(read_in.notes)
    for part in ("'web'", "handoffs: it is left out", "model: ['GPT-6', 'Claude Sonnet 5.5'] is"):
        assert part in said
    assert read(tmp_path, ".github/agents/work-planner.md", VSCODE).values == read_in.values


@pytest.mark.parametrize("name", ["a.md", "a.agent.md"])
def test_omitted_tools_mean_none(tmp_path: Path, name: str) -> None:
    """There they mean all: an agent must not get hands because a line is missing."""
    read_in = read(tmp_path, name, "---\nname: a\ndescription: d\n---\nRest.\n")

    assert "capabilities" not in read_in.values
    assert any("none are named, so it has none" in note for note in read_in.notes)


@pytest.mark.parametrize("name", ["a.md", "a.agent.md"])
@pytest.mark.parametrize(("key", "near"), [("tool", "tools"), ("disalowedTools", "")])
def test_misspelt_key_of_front_matter_is_an_error(
    tmp_path: Path, name: str, key: str, near: str
) -> None:
    with pytest.raises(SpecError, match=f"there is no such key.*{near}") as caught:
        read(tmp_path, name, f"---\nname: a\ndescription: d\n{key}: Read\n---\nRest.\n")

    assert (caught.value.line, caught.value.field) == (4, key)


def test_tools_that_are_denied_or_only_planned_with_are_not_given(tmp_path: Path) -> None:
    head = "---\nname: a\ndescription: d\ntools: [Read, Write, Edit]\n"
    denied = read(tmp_path, "a.md", f"{head}disallowedTools: Write, Edit\n---\nx\n")
    plans = read(tmp_path, "a.md", f"{head}permissionMode: plan\n---\nx\n")

    for read_in in (denied, plans):
        grant = {"tools": ["read_file"], "read": ["**"]}
        assert read_in.values["capabilities"] == [{"WorkspaceTools": grant}]
        assert sum("'Write'" in note for note in read_in.notes) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: a\n", "does not begin with a line '---'"),
        ("---\nname: a\n", "has no end"),
        ("---\nname: [a\n---\nx\n", "not YAML"),
        ("---\nname: a\nname: b\n---\nx\n", "twice"),
        ("---\na: &a [x]\nb: [*a, *a]\n---\nx\n", "aliases"),
        ("---\nname: a\n---\nx\n", "description: the key is missing"),
        ("---\nname: a\ndescription: d\ntools: {Read: true}\n---\nx\n", "list of names"),
        ("", "does not begin"),
    ],
)
def test_markdown_that_is_no_agent_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read(tmp_path, "a.md", text)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{" * 100_000, "not JSON|nested too deeply"),
        ('{"a":' * 40_000 + "1" + "}" * 40_000, "nested too deeply"),
        ('{"name": "a", "name": "b"}', "twice"),
        ('{"name": NaN}', "NaN is no number"),
        ('{"name": ' + "9" * 5000 + "}", "not JSON"),
        ("[]", "mapping"),
        ("{'a': 1}", "not JSON"),
        ('{"x": "' + "y" * 300_000 + '"}', "larger than"),
    ],
)
def test_hostile_json_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read(tmp_path, "a.json", text)


@pytest.mark.parametrize("name", Catalogue().names())
def test_shipped_spec_survives_the_way_through_yaml(name: str, tmp_path: Path) -> None:
    spec = Catalogue().get(name)
    file = tmp_path / f"{name}.yaml"
    file.write_text(as_yaml(spec.values))

    assert load_spec(file).sha256 == spec.sha256
    assert read_agent(file).values == dict(spec.values)


HOSTILE = ["yes", "1", "null", "a: b", "- x", "#x", "'", '"', " x ", "a\n\n b \n", "\t", ""]
HOSTILE += [
    "a\r\nb",
    "\ufeffx",
    "a\n\u2029",
    "é",
    "\x85",
    "\u2028\n",
    "\ud800",
    "\x00",
    "*a",
    "&a",
    "!x y",
    "---\n",
    "{{x}}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_any_kind_survives_the_way_through_yaml(text: str) -> None:
    within: dict[str, JsonValue] = {"name": "a", "metadata": {"t": text, text: 1}}

    assert yaml.safe_load(as_yaml(within)) == within


def test_value_that_is_there_twice_becomes_no_alias() -> None:
    shared: JsonValue = {"x": [1]}

    assert "&" not in as_yaml({"name": "a", "metadata": {"a": shared, "b": shared}})


@pytest.mark.parametrize("write", [write_claude, write_vscode])
def test_exported_agent_comes_back_with_its_tools_and_delegates(write: Any, tmp_path: Path) -> None:
    tools: list[JsonValue] = ["read_file", "grep", "write_file"]
    grant: JsonValue = {"WorkspaceTools": {"tools": tools, "read": ["**"], "write": ["**"]}}
    asks: JsonValue = {"SubAgents": {"agents": ["test_writer"]}}
    values: dict[str, JsonValue] = {
        "name": "a_b",
        "description": "Does: all.",
        "instructions": "Write \\{{x}}.",
        "capabilities": [grant, asks],
    }
    spec = read_spec(values, Path("a_b"), FROM_A_FILE)

    text, notes = write(spec)

    suffix = ".md" if write is write_claude else ".agent.md"
    back = sound(read(tmp_path, f"a_b{suffix}", text))
    entries = sorted(back.document.capabilities, key=str)
    assert entries == sorted([grant, asks], key=str)
    assert (back.name, back.document.description) == ("a_b", "Does: all.")
    assert str(back.document.instructions).strip() == "Write \\{{x}}."
    assert notes == []


@pytest.mark.parametrize("write", [write_claude, write_vscode])
def test_agent_without_tools_is_exported_as_one_that_has_none(write: Any) -> None:
    """Where `tools` is left out, an agent there has all."""
    values: dict[str, JsonValue] = {"name": "a", "description": "d", "instructions": "x"}
    text, _ = write(read_spec(values, Path("a"), FROM_A_FILE))

    assert yaml.safe_load(text.split("---")[1])["tools"] == []


@pytest.mark.parametrize("write", [write_claude, write_vscode])
def test_what_an_export_cannot_say_is_said(write: Any) -> None:
    text, notes = write(Catalogue().get("doc_writer"))

    said = "\n".join(notes)
    assert "WorkspaceTools.write: ['*.md', 'docs/**/*.md'] cannot be said there" in said
    assert "Budget.cost_usd: cannot be said there" in said
    assert "model_settings: cannot be said there" in said
    assert "deps_schema: inputs cannot be said there; they are {'audience'" in said
    assert "documentation for people who use this project" in text
