"""`workyard replay` on the command line."""

import json
from pathlib import Path

import pytest

from tests.orchestrator.by_hand import held_by_another, rows, workyard


@pytest.fixture
def run_id(project: Path) -> str:
    """Return a run on record that has looked for something and found it."""
    done = workyard("run", "repo_guide", "Where is add_prices?", "--model", "offline",
                    "--root", str(project), "--json")  # fmt: skip
    found: str = json.loads(done.stdout)["run_id"]
    return found


def test_replay_says_of_each_call_whether_it_is_as_it_was(run_id: str, project: Path) -> None:
    same = workyard("replay", run_id)
    (project / "src" / "till.py").write_text("def add_prizes(prizes):\n    return sum(prizes)\n")
    differs = workyard("replay", run_id)

    calls = len(rows("SELECT 1 FROM tool_call"))
    assert (same.exit_code, differs.exit_code) == (0, 7)
    assert [line[:4] for line in same.stdout.splitlines()] == ["= 1 "] * (calls - 1) + ["= 2 "]
    assert same.stderr == f"{calls} same\n"
    assert "≠ 2 read_file" in differs.stdout
    assert "    -     1\tdef add_prices(prices):" in differs.stdout
    assert "differs" in differs.stderr


def test_json_of_a_replay_has_both_results_of_each_call(run_id: str, project: Path) -> None:
    (project / "src" / "till.py").unlink()

    done = workyard("replay", run_id, "--json")

    found = json.loads(done.stdout)
    call = found["calls"][-1]
    assert done.exit_code == 7
    assert (found["run_id"], found["agent"], found["problem"]) == (run_id, "repo_guide", None)
    assert (found["root"], found["differs"], found["spec_changed"]) == (str(project), True, False)
    assert (call["tool"], call["verdict"]) == ("read_file", "differs")
    assert (call["recorded"]["outcome"], call["now"]["outcome"]) == ("success", "failed")
    assert "-     1\tdef add_prices(prices):" in call["difference"]


def test_replay_takes_another_directory_and_works_in_it_only_when_told(
    run_id: str, project: Path, tmp_path: Path
) -> None:
    there = ("--root", str(tmp_path / "project2"))
    project.rename(tmp_path / "project2")

    lost = workyard("replay", run_id)
    same = workyard("replay", run_id, *there)
    in_place = workyard("replay", run_id, *there, "--in-place")

    assert (lost.exit_code, same.exit_code, in_place.exit_code) == (2, 0, 0)
    assert "does not exist; name a directory with --root" in lost.stderr
    assert "workyard undo --run" in in_place.stderr


def test_replay_tells_of_a_changed_spec(run_id: str, project: Path, tmp_path: Path) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    shown = workyard("agents", "show", "repo_guide").stdout
    spec = shown.replace("description: ", "description: Now ", 1)
    (specs / "repo_guide.yaml").write_text(spec)

    done = workyard("replay", run_id, "--specs", str(specs))

    assert done.exit_code == 0
    assert "The spec of repo_guide has changed since." in done.stderr


def test_other_model_stands_beside_the_recorded_one(run_id: str) -> None:
    done = workyard("replay", run_id, "--model", "offline")
    plain = json.loads(workyard("replay", run_id, "--model", "offline", "--json").stdout)

    points = len(plain["points"])
    assert done.exit_code == 0
    assert done.stderr.startswith(f"This asks offline {points} times.\n")
    assert done.stdout.count("the same") == points - 1
    assert "read_file path=" in done.stdout
    assert plain["same_calls"] == [*range(1, points + 1)]
    assert plain["other_usage"]["requests"] == points
    assert plain["other_usage"]["cost"] == "0"
    assert plain["points"][0]["recorded"] == plain["points"][0]["other"]


def test_comparison_in_which_no_point_could_be_asked_is_a_failure(
    run_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tests let no model of a provider be asked at all."""
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    done = workyard("replay", run_id, "--model", "openai:gpt-6-luna")

    assert done.exit_code == 6
    assert "could not be asked" in done.stdout


def test_replay_that_cannot_be_says_why_in_a_line(run_id: str) -> None:
    missing = workyard("replay", "nope")
    both = workyard("replay", run_id, "--model", "offline", "--in-place")
    keyless = workyard("replay", run_id, "--model", "anthropic:x", "--json")
    with held_by_another():
        busy = workyard("replay", run_id)

    assert [d.exit_code for d in (missing, both, keyless, busy)] == [3, 2, 2, 4]
    assert missing.stderr == "workyard: There is no run 'nope'.\n"
    assert json.loads(keyless.stdout)["error"]["code"] == "model_not_configured"
    assert "is under way" in busy.stderr
    assert missing.stdout + busy.stdout == ""
