"""Replay: a recorded run once more, with the recorded answers, against what there is today."""

from pathlib import Path

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.replay.differences import Verdict
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import MISSING, READ, playing

NOTE = ("write_file", '{"path": "docs/new.md", "content": "one\\n"}')


def everything() -> list[object]:
    tables = ("session", "run", "message", "event", "tool_call")
    return [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


async def test_replay_of_a_run_whose_files_have_not_changed_finds_no_difference(
    yard: Orchestrator,
) -> None:
    grep = ("grep", '{"pattern": "price"}')
    run = await yard.run("repo_guide", "go", model=playing([READ, grep], [MISSING], "Done."))

    replay = await yard.replay(run.run_id)

    assert not replay.differs
    assert (replay.problem, replay.spec_changed) == (None, False)
    assert [(c.step, c.tool, c.verdict) for c in replay.calls] == [
        (1, "read_file", Verdict.SAME),
        (1, "grep", Verdict.SAME),
        (2, "read_file", Verdict.SAME),
    ]
    assert replay.calls[2].recorded == replay.calls[2].now
    assert replay.calls[2].now is not None
    assert replay.calls[2].now.outcome == "failed"


async def test_replay_shows_what_a_call_gives_now_as_a_diff(
    yard: Orchestrator, project: Path
) -> None:
    run = await yard.run("repo_guide", "go", model=playing([READ], [MISSING], "Done."))
    (project / "README.md").write_text("# Sample\n\nA till that subtracts prices.\n")
    (project / "nope.md").write_text("It is there.\n")

    first, second = (replay := await yard.replay(run.run_id)).calls

    assert replay.differs
    assert (first.verdict, second.verdict) == (Verdict.DIFFERS, Verdict.DIFFERS)
    changed = [line for line in first.difference.splitlines() if "\tA till" in line]
    assert changed == [
        "-     3\tA till that adds prices.",
        "+     3\tA till that subtracts prices.",
    ]
    assert second.recorded is not None
    assert second.now is not None
    assert (second.recorded.outcome, second.now.outcome) == ("failed", "success")


async def test_replay_leaves_nothing_on_record(yard: Orchestrator) -> None:
    run = await yard.run("doc_writer", "go", model=playing([READ, NOTE], "Done."))
    before = everything()
    changes = await yard.changes()

    await yard.replay(run.run_id)

    assert everything() == before
    assert await yard.changes() == changes


async def test_replay_writes_into_a_copy_and_the_copy_is_gone_after(
    yard: Orchestrator, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    run = await yard.run("doc_writer", "go", model=playing([NOTE], "Done."))
    (project / "docs" / "new.md").unlink()

    replay = await yard.replay(run.run_id)

    assert [c.verdict for c in replay.calls] == [Verdict.SAME]
    assert not (project / "docs" / "new.md").exists()
    assert list(temporary.iterdir()) == []


async def test_replay_in_place_writes_again_and_can_be_undone(
    yard: Orchestrator, project: Path
) -> None:
    """With the keys of the recorded calls the journal would answer, and do nothing."""
    run = await yard.run("doc_writer", "go", model=playing([NOTE], "Done."))
    (project / "docs" / "new.md").unlink()

    replay = await yard.replay_in_place(run.run_id)

    assert not replay.differs
    assert (project / "docs" / "new.md").read_text() == "one\n"
    await yard.undo(run=replay.replay_id)
    assert not (project / "docs" / "new.md").exists()


async def test_paths_under_the_recorded_root_are_meant_in_the_copy(
    yard: Orchestrator, project: Path
) -> None:
    paths = [f"{project}/{name}" for name in ("README.md", "nope.md", "../out.md")]
    calls = [("read_file", f'{{"file_path": "{path}"}}') for path in paths]
    calls += [("grep", f'{{"pattern": "[", "glob": "{project}/*.md"}}')]
    run = await yard.run("repo_guide", "go", model=playing(calls, "Done."))

    replay = await yard.replay(run.run_id)

    assert [c.verdict for c in replay.calls] == [Verdict.SAME] * 4
    outcomes = [c.now.outcome for c in replay.calls if c.now]
    assert outcomes == ["success", "failed", "failed", "failed"]
