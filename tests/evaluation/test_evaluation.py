"""The agents that come with Workyard, on a small project and with recorded answers."""

import json
import shutil
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic_ai.models.test import TestModel
from pydantic_evals.evaluators import Contains
from typer.testing import Result

from orchestrator.catalogue import SHIPPED_SPECS, Catalogue
from orchestrator.cli import evaluation
from orchestrator.errors import InvalidInputError
from orchestrator.evaluation.datasets import load_dataset
from orchestrator.evaluation.evaluating import Trial, evaluate
from tests.orchestrator.by_hand import rows, workyard

HERE = Path(__file__).parent
TILL = HERE / "till"
ANSWERS = HERE / "answers"
AGENT = "name: guide\ndescription: d\ninstructions: x\n"
READS = (
    "capabilities:\n  - WorkspaceTools: {tools: [read_file, grep, list_directory], read: ['**']}\n"
)
CASE = 'cases:\n  - {name: where, inputs: {prompt: "Where is a discount taken off a total?"}'
WHERE = "where_a_discount_is_taken_off.json"


def evaluated(*words: str) -> Result:
    return workyard("eval", *words, "--root", str(TILL))


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    """Return a directory with an agent `guide`, a dataset beside it, and recorded answers."""
    found = tmp_path / "specs"
    (found / "answers").mkdir(parents=True)
    (found / "guide.yaml").write_text(AGENT + READS)
    (found / "guide.eval.yaml").write_text(CASE + ", evaluators: [States: [withDiscount]]}\n")
    shutil.copy(ANSWERS / "repo_guide" / WHERE, found / "answers" / "where.json")
    return found


@pytest.mark.parametrize("name", Catalogue().names())
async def test_every_shipped_agent_does_what_its_dataset_expects(name: str) -> None:
    results = await evaluate(Trial(agent=name, root=TILL, answers=ANSWERS / name, at_once=2))

    assert {result.name: result.problems for result in results} == dict.fromkeys(
        (file.stem for file in (ANSWERS / name).glob("*.json")), ()
    )
    assert {(r.usage.input_tokens, r.usage.cost) for r in results} == {(0, Decimal(0))}
    # The answers are those of these runs: only what is another run's is named on record.
    assert rows("SELECT count(*) FROM message WHERE body LIKE '%run_id%'") == [(0,)]
    kept = rows("SELECT id FROM session")
    assert {result.session_id for result in results} == {session for (session,) in kept}


@pytest.mark.parametrize("name", Catalogue().names())
def test_every_shipped_agent_has_a_dataset_beside_its_spec(name: str) -> None:
    dataset = load_dataset(SHIPPED_SPECS / f"{name}.eval.yaml", judge=TestModel())

    assert all(case.evaluators for case in dataset.cases)


def test_dataset_is_no_agent(specs: Path) -> None:
    assert Catalogue((specs,)).names() == ["guide"]


def test_table_tells_of_each_case_and_the_runs_are_ordinary_sessions(specs: Path) -> None:
    result = evaluated(str(specs / "guide.yaml"), "--answers", str(specs / "answers"))

    assert result.exit_code == 0, result.output
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("where"))
    assert line.split()[1] == "passed"
    shown = workyard("sessions", "show", line.split()[-1])
    assert "withDiscount" in shown.output
    assert "1 of 1 cases have passed." in result.stderr


@pytest.mark.parametrize(
    ("evaluator", "told"),
    [
        ("States: [euro, withDiscount]", "States: missing: 'euro'"),
        ("Changes: [docs/till.md]", "Changes: changed: []"),
        ("Equals: x", "Equals: is not so"),
        ("HasMatchingSpan: {query: {name_contains: x}}", "HasMatchingSpan"),
    ],
)
def test_case_that_fails_is_told_with_the_reason_and_is_the_exit_code(
    specs: Path, evaluator: str, told: str
) -> None:
    """An evaluator that cannot do its work, as one without telemetry, has not found all well."""
    (specs / "guide.eval.yaml").write_text(CASE + f", evaluators: [{evaluator}]}}\n")

    result = evaluated("guide", "--specs", str(specs), "--answers", str(specs / "answers"))

    assert result.exit_code == 1
    assert f"FAILED: {told}" in result.stdout
    assert "0 of 1 cases have passed." in result.stderr


def test_key_that_a_judges_provider_repeats_is_not_shown(
    specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_API_KEY", "very-secret")

    async def refuse(self: Contains, ctx: object) -> bool:
        raise PermissionError("the key very-secret is refused")

    monkeypatch.setattr(Contains, "evaluate", refuse)
    (specs / "guide.eval.yaml").write_text(CASE + ", evaluators: [Contains: x]}\n")

    result = evaluated("guide", "--specs", str(specs), "--answers", str(specs / "answers"))

    assert result.exit_code == 1
    assert "is refused" in result.stdout
    assert "very-secret" not in result.output


def test_run_that_fails_is_a_case_that_fails(specs: Path) -> None:
    (specs / "guide.yaml").write_text(AGENT + READS + "  - Budget: {requests: 1}\n")

    result = evaluated("guide", "--specs", str(specs), "--answers", str(specs / "answers"))

    assert result.exit_code == 1
    assert "FAILED: The budget of 1 requests is used up" in result.stdout


def test_answers_that_do_not_fit_any_more_are_told_as_such(specs: Path) -> None:
    file = specs / "answers" / "where.json"
    file.write_text(json.dumps(json.loads(file.read_text())[:2]))

    result = evaluated("guide", "--specs", str(specs), "--answers", str(specs / "answers"))

    assert result.exit_code == 1
    assert "The recorded answers do not fit" in result.stdout
    assert "Record them anew" in result.stdout


def test_root_stays_as_it_is_and_files_of_a_case_are_there(specs: Path) -> None:
    before = {path: path.read_bytes() for path in TILL.rglob("*") if path.is_file()}

    result = evaluated("doc_writer", "--answers", str(ANSWERS / "doc_writer"))

    assert result.exit_code == 0, result.output
    assert {path: path.read_bytes() for path in TILL.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("path", ["../out.txt", "/tmp/out.txt", "link/out.txt", "link", "."])
def test_no_file_of_a_case_is_written_outside_the_copy(
    specs: Path, tmp_path: Path, path: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(outside)
    inputs = f"inputs: {{prompt: go, files: {{'{path}': x}}}}"
    (specs / "guide.eval.yaml").write_text(f"cases:\n  - {{name: where, {inputs}}}\n")

    words = ("guide", "--specs", str(specs), "--answers", str(specs / "answers"))
    result = workyard("eval", *words, "--root", str(root))

    assert result.exit_code == 1
    assert "FAILED" in result.stdout
    assert list(outside.iterdir()) == []


def lines_of(result: Result, case: str) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines() if line.startswith(case)]


def test_two_models_are_laid_beside_each_other(specs: Path) -> None:
    words = ("guide", "--specs", str(specs), "--model", "offline", "--compare", "offline")
    result = evaluated(*words)

    assert [line[:3] for line in lines_of(result, "where")] == [["where", "offline", "passed"]] * 2
    assert result.stderr.count("offline: 1 of 1 cases have passed.") == 2


def test_another_spec_is_put_to_the_same_cases(specs: Path, tmp_path: Path) -> None:
    """As one of an earlier revision is: a file of the same name, in another directory."""
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    other = earlier / "guide.yaml"
    other.write_text(AGENT + READS + "  - Budget: {requests: 1}\n", encoding="utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        words = ("guide", "--specs", str(specs), "--answers", str(specs / "answers"))
        result = evaluated(*words, "--compare-spec", "earlier/guide.yaml")

    assert [line[1:3] for line in lines_of(result, "where")] == [
        ["guide", "passed"],
        ["earlier/guide.yaml", "FAILED:"],
    ]
    assert result.exit_code == 1
    assert "guide: 1 of 1 cases have passed.\n" in result.stderr
    assert (
        "earlier/guide.yaml: 0 of 1 cases have passed; it fails, unlike the first: where."
        in result.stderr
    )


def test_two_versions_of_a_definition_are_put_to_the_cases_of_its_name(specs: Path) -> None:
    file = specs / "guide.yaml"
    file.write_text(AGENT + READS + "  - Budget: {requests: 1}\n")
    assert workyard("agents", "create", str(file)).exit_code == 0
    file.write_text(AGENT + READS)
    assert workyard("agents", "edit", "guide", "--file", str(file)).exit_code == 0
    file.unlink()

    words = ("--specs", str(specs), "--answers", str(specs / "answers"))
    result = evaluated("guide@1", *words, "--compare-spec", "guide")

    assert [line[1:3] for line in lines_of(result, "where")] == [
        ["local/guide@1", "FAILED:"],
        ["local/guide@2", "passed"],
    ]
    assert "it passes, unlike the first: where." in result.stderr
    (hashes,) = zip(*rows("SELECT spec_sha256 FROM run ORDER BY pk"), strict=True)
    assert len(set(hashes)) == 2
    elsewhere = evaluated("guide", "--answers", str(specs / "answers"))
    assert elsewhere.exit_code == 2
    assert "'guide.eval.yaml' is not in " in elsewhere.stderr
    assert "name a file with --dataset" in elsewhere.stderr
    named = evaluated("guide", *words[2:], "--dataset", str(specs / "guide.eval.yaml"))
    assert named.exit_code == 0, named.output


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--compare", "nobody:x"), "'nobody:x' cannot be used"),
        (("--compare-spec", "nobody"), "There is no agent 'nobody'"),
        (("--compare-spec", "guide@2"), "There is no agent 'guide@2'"),
        (("--compare-spec", "/nonexistent/guide.yaml"), "not a directory of specs"),
        (("--compare-spec", "asks"), "There is no agent 'nobody'"),
    ],
)
def test_nothing_is_run_if_what_is_laid_beside_cannot_be(
    specs: Path, words: tuple[str, ...], problem: str
) -> None:
    (specs / "asks.yaml").write_text(
        AGENT.replace("guide", "asks") + "capabilities: [{SubAgents: {agents: [nobody]}}]\n"
    )
    answers = ("--answers", str(specs / "answers"))

    result = evaluated("guide", "--specs", str(specs), *answers, *words)

    assert result.exit_code in (2, 3)
    assert problem in result.stderr
    assert result.stdout == ""
    assert rows("SELECT count(*) FROM run") == [(0,)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cases: []\n", "has no cases"),
        ("cases: [\n", "is not YAML"),
        ("cases:\n  - {inputs: {prompt: ''}}\n", "prompt"),
        ("cases:\n  - {inputs: {prompt: x, file: y}}\n", "file"),
        ("cases:\n  - {inputs: {prompt: x}, evaluators: [Stats: [x]]}\n", "Stats"),
        ("cases:\n  - {name: a, inputs: {prompt: x}}\n  - {name: a, inputs: {prompt: y}}\n", "'a'"),
    ],
)
def test_dataset_that_cannot_be_used_is_refused(specs: Path, text: str, problem: str) -> None:
    file = specs / "guide.eval.yaml"
    file.write_text(text)

    with pytest.raises(InvalidInputError, match=problem) as caught:
        load_dataset(file, judge=None)
    assert "guide.eval.yaml" in str(caught.value)


def test_nobody_judges_without_a_language_model_and_else_the_model_put_to_the_test(
    specs: Path,
) -> None:
    file = specs / "guide.eval.yaml"
    file.write_text(CASE + ", evaluators: [LLMJudge: Is kind., Contains: x]}\n")

    (offline,) = load_dataset(file, judge=None).cases
    judge = TestModel()
    (live,) = load_dataset(file, judge=judge).cases

    assert [type(one).__name__ for one in offline.evaluators] == ["Contains"]
    assert [type(one).__name__ for one in live.evaluators] == ["LLMJudge", "Contains"]
    assert vars(live.evaluators[0])["model"] is judge


def test_what_is_not_installed_is_named_with_the_version_that_fits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "find_spec", lambda name: None)
    result = evaluated("repo_guide")

    assert result.exit_code == 2
    assert "pip install 'pydantic-evals==" in result.stderr
    assert find_spec("pydantic_evals") is not None
