"""The documents say what is so."""

import ast
import doctest
import importlib
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from mcp_server.command import main as serve
from mcp_server.fence.grant import Grant
from orchestrator.agents import check_spec
from orchestrator.catalogue import Catalogue
from orchestrator.cli.app import app
from orchestrator.lifecycle import TRANSITIONS
from orchestrator.models.user_settings import FILE, load_model_settings
from orchestrator.servers.checking import check_servers
from orchestrator.servers.registry import FILE as SERVERS
from orchestrator.servers.registry import load_servers
from orchestrator.specs import load_spec

REPOSITORY = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted(
    file
    for pattern in ("*.md", "docs/**/*.md", "benchmarks/*.md")
    for file in REPOSITORY.glob(pattern)
)


MODULES_WITH_EXAMPLES = sorted(
    ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
    for package in ("mcp_server", "orchestrator")
    for file in (REPOSITORY / package).rglob("*.py")
    if ">>> " in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("module", MODULES_WITH_EXAMPLES)
def test_the_examples_in_docstrings_are_true(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(module))
    assert tried > 0
    assert failed == 0


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda f: f.relative_to(REPOSITORY).as_posix())
def test_links_lead_somewhere(file: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", file.read_text(encoding="utf-8"))
    inside = [target for target in targets if "://" not in target]

    assert [target for target in inside if not (file.parent / target).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "docs/howto-servers.md"])
def test_spec_in_the_documents_is_sound(name: str, tmp_path: Path) -> None:
    (spec,) = blocks(text_of(name), "yaml")
    file = tmp_path / "sample.yaml"
    file.write_text(spec)

    check_spec(load_spec(file))


@pytest.mark.parametrize("name", ["README.md", "docs/howto-local-models.md"])
def test_model_settings_in_the_documents_are_sound(name: str, tmp_path: Path) -> None:
    (settings,) = blocks(text_of(name), "toml")
    (tmp_path / FILE).write_text(settings)

    assert load_model_settings(tmp_path).aliases


def test_servers_in_the_documents_fit_the_spec_beside_them(tmp_path: Path) -> None:
    text = text_of("docs/howto-servers.md")
    (servers,), (spec,) = blocks(text, "toml"), blocks(text, "yaml")
    (tmp_path / SERVERS).write_text(servers)
    (tmp_path / "triage.yaml").write_text(spec)

    check_servers(load_spec(tmp_path / "triage.yaml"), load_servers(tmp_path))


def test_readme_names_every_field_of_a_grant_and_flags_that_exist(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = r"^\| (?:`(--[a-z-]+)[^|]*)? ?\| (?:`(\w+)`)? ?\|"
    rows = re.findall(table, text_of("README.md"), re.MULTILINE)
    serve(["--help"])
    flags = capsys.readouterr().out

    assert {field for _, field in rows if field} == set(Grant.model_fields)
    assert {flag for flag, _ in rows if flag} <= set(re.findall(r"--[a-z-]+", flags))
    assert {"--read-only", "--allow"} <= {flag for flag, _ in rows}


@pytest.mark.parametrize("name", ["README.md", "docs/howto-replay.md"])
def test_python_in_the_documents_is_python(name: str) -> None:
    for block in blocks(text_of(name), "python"):
        ast.parse(block)


@pytest.mark.parametrize(
    "name",
    ["README.md", "docs/howto-local-models.md", "docs/howto-replay.md", "docs/howto-servers.md"],
)
def test_commands_in_the_documents_exist(name: str) -> None:
    lines = "\n".join(blocks(text_of(name), "console")).splitlines()
    commands = [
        shlex.split(line[2:], comments=True) for line in lines if re.match(r"\$ .*workyard ", line)
    ]
    root = get_command(app)

    assert commands
    for words in commands:
        context = root.make_context("workyard", [], resilient_parsing=True)
        assert root.get_command(context, words[1]) is not None, words  # type: ignore[attr-defined]  # a group


def test_targets_in_the_readme_exist() -> None:
    named = re.findall(r"^\$ make (\S+)", text_of("README.md"), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):.*##", text_of("Makefile"), re.MULTILINE)

    assert named
    assert set(named) <= set(targets)


def test_agents_in_the_readme_are_those_that_are_shipped() -> None:
    named = re.findall(r"^\| `([a-z_]+)` \|", text_of("README.md"), re.MULTILINE)

    assert sorted(named) == Catalogue().names()


def test_life_of_a_run_in_the_architecture_is_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|$", text_of("docs/architecture.md"), re.MULTILINE)

    assert dict(rows) == {t: s for ways in TRANSITIONS.values() for t, s in ways.items()}
