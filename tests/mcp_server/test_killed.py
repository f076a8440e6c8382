"""Killed at any step, a call is done or not done, the journal knows which, and undo restores all.

The steps are the calls of the system and the database that the code makes: each is a place where
SIGKILL leaves something else behind. Steps inside a commit are hit by the kills at random.
"""

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.fence.changes.change import Caller
from mcp_server.fence.changes.changer import Changer, ChangeRequest
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.changes.moving import DeletePath, MovePath
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.ledger import Selection
from mcp_server.fence.texts.edits import Edit
from tests.mcp_server.conftest import Yard
from tests.mcp_server.doomed import (
    CALL_S,
    Entry,
    change,
    fork,
    is_whole,
    look_only,
    make_one,
    opened,
    replayed,
    tree,
    undo_all,
    work_on,
)

MAX_STEPS = 2000  # far more than a call takes
MAX_CALLS = 500  # far more than are made between two kills

REQUESTS: dict[str, ChangeRequest] = {
    "create": WriteFile(path="new/deep/file.txt", text="new"),
    "replace": WriteFile(path="src/app.py", text="new"),
    "edit": EditFiles(
        edits=[
            Edit(path=path, old_string="old", new_string="new")
            for path in ("one.txt", "src/two.txt", "three.txt")
        ]
    ),
    "move": MovePath(source="src", destination="far/away"),
    "delete": DeletePath(path="src", recursive=True),
}

long = pytest.mark.long


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def furnished(yard: Yard) -> None:
    for path in ("one.txt", "src/two.txt", "three.txt"):
        yard.write(path, "old")
    (yard.root / "one.txt").chmod(0o640)
    (yard.root / "src/two.txt").chmod(0o755)
    yard.link("src/link", "../docs")
    yard.write("src/private/key.txt", "1")
    (yard.root / "src/private").chmod(0o2710)


def rebuild(root: Path, entries: dict[str, Entry]) -> None:
    """Bring the tree back to `entries` without the code under test."""
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, (kind, content, mode) in entries.items():
        path = root / name
        if kind == "link":
            path.symlink_to(os.fsdecode(content))
            continue
        path.mkdir() if kind == "directory" else path.write_bytes(content)
        path.chmod(mode)


def killed_steps(work: Callable[[int], int | None], first: int, stride: int) -> int:
    """Let `work` die at every `stride`th step from `first` on, until it does not; return how often.

    Args:
        work: does it, dies at the given step, and returns the exit code.
        first: the first step.
        stride: 1 for each.
    """
    for kills, step in enumerate(range(first, MAX_STEPS, stride)):
        code = work(step)
        if code == 0:
            return kills
        assert code == -signal.SIGKILL, code
    raise AssertionError("the call never came to its end")


def finished(yard: Yard, state: Path, request: ChangeRequest) -> dict[str, Entry]:
    """Return what `request` leads to, with the tree as it was again."""
    before = tree(yard.root)
    with opened(yard.root, state.with_name("other")) as changer:
        change(changer, request)
    after = tree(yard.root)
    rebuild(yard.root, before)
    assert tree(yard.root) == before != after
    return after


def undo(changer: Changer, selection: Selection) -> None:
    changer.undo(selection, Caller(), Deadline(CALL_S))


def newest(changer: Changer) -> int:
    """Return the number of the last call on record, 0 if there is none."""
    calls = changer.calls(Selection(), 1, Deadline(CALL_S))
    return calls[0].number if calls else 0


def temporaries(root: Path) -> list[Path]:
    return [*root.rglob(".workyard-*")]


@pytest.mark.parametrize("stride", [pytest.param(1, marks=long), 23])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_a_call_killed_at_any_step_is_done_whole_or_not_at_all_and_on_record_if_done(
    yard: Yard, state: Path, request_name: str, stride: int
) -> None:
    request = REQUESTS[request_name]
    before = tree(yard.root)
    after = finished(yard, state, request)
    possible = {content for entries in (before, after) for _, content, _ in entries.values()}
    known, outcomes = 0, set()

    def work(step: int) -> int | None:
        nonlocal known
        code = killed(make_one, yard.root, state, request, step)
        left = tree(yard.root)
        torn = {path for path, entry in left.items() if entry[1] not in possible}
        assert all(".workyard-" in path for path in torn), torn
        with opened(yard.root, state) as changer:
            is_done = newest(changer) > known
            assert tree(yard.root) == (after if is_done else before)
            change(changer, request, key=str(step))  # done once, whether the killed one did it
            assert tree(yard.root) == after
            undo(changer, Selection(key=str(step)))
            assert tree(yard.root) == before
            known = newest(changer)
        outcomes.add((is_done, left == before, left == after))
        return code

    assert killed_steps(work, 1, stride) >= 40 // stride
    assert {is_done for is_done, *_ in outcomes} == {True, False}


@pytest.mark.parametrize("stride", [pytest.param(1, marks=long), 61])
def test_an_undo_killed_at_any_step_has_undone_all_or_nothing(
    yard: Yard, state: Path, stride: int
) -> None:
    before = tree(yard.root)
    known, outcomes = 0, set()

    def work(step: int) -> int | None:
        nonlocal known
        with opened(yard.root, state) as changer:
            session = f"session {step}"
            for text in ("one", "two", "three"):  # a file that is changed more than once
                change(changer, WriteFile(path="new/a.txt", text=text), session=session)
            for request in (
                MovePath(source="new", destination="renamed"),
                DeletePath(path="renamed/a.txt"),
                WriteFile(path="renamed/a.txt/now/below", text="x"),  # a kind that turns
                REQUESTS["delete"],
            ):
                change(changer, request, session=session)
            after, known = tree(yard.root), newest(changer)
        code = killed(undo_all, yard.root, state, session, step)
        with opened(yard.root, state) as changer:
            is_undone = newest(changer) > known
            assert tree(yard.root) == (before if is_undone else after)
            marked = [
                call.undone_by
                for call in changer.calls(Selection(session=session), -1, Deadline(CALL_S))
            ]
            assert marked == [newest(changer) if is_undone else None] * 7
            if not is_undone:
                undo(changer, Selection(session=session))
        assert tree(yard.root) == before
        outcomes.add(is_undone)
        return code

    assert killed_steps(work, 1, stride) >= 60 // stride
    assert outcomes == {True, False}


@pytest.mark.parametrize("stride", [pytest.param(1, marks=long), 37])
def test_taking_back_that_is_killed_at_any_step_is_gone_on_with(
    yard: Yard, state: Path, stride: int
) -> None:
    request = REQUESTS["edit"]
    before = tree(yard.root)
    half_done = half_done_step(yard, state, request)

    def work(step: int) -> int | None:
        killed(make_one, yard.root, state, request, half_done)
        assert tree(yard.root) != before
        code = killed(look_only, yard.root, state, step)
        with opened(yard.root, state) as changer:
            assert newest(changer) == 0
        assert tree(yard.root) == before
        return code

    assert killed_steps(work, 1, stride) >= 40 // stride


def half_done_step(yard: Yard, state: Path, request: ChangeRequest) -> int:
    """Return a step at which the request, when killed there, has changed the first file only."""
    with opened(yard.root, state) as changer:
        newest(changer)
    for step in range(30, MAX_STEPS, 3):  # what it does with the first file takes more
        killed(make_one, yard.root, state, request, step)
        is_half_done = (yard.root / "one.txt").read_text() == "new"
        with opened(yard.root, state) as changer:
            newest(changer)
        if is_half_done:
            return step
    raise AssertionError("the first file was never changed")


def killed(work: Callable[..., None], *arguments: object) -> int | None:
    """Let a process do `work` and return its exit code."""
    process = fork(work, *arguments)
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kills", [pytest.param(500, marks=long), 15])
def test_killed_at_random_no_file_is_torn_no_entry_lost_and_undo_restores_every_byte(
    yard: Yard, state: Path, kills: int
) -> None:
    start, dice = tree(yard.root), random.Random(kills)
    changed, reached, known = 0, start, 0
    for seed in range(kills):
        workers = [fork(work_on, yard.root, state, 2 * seed + each) for each in range(1 + seed % 2)]
        workers[0].join(dice.uniform(0.1, 0.3))  # the other one goes on for a while
        for worker in workers:
            worker.kill()
            worker.join()
            assert worker.exitcode == -signal.SIGKILL
        originals = {content for _, content, _ in start.values()}
        for path, (kind, content, _) in tree(yard.root).items():
            if kind == "file" and ".workyard-" not in path:
                assert content in originals or is_whole(content), path
        with opened(yard.root, state) as changer:
            calls = changer.calls(Selection(), MAX_CALLS, Deadline(CALL_S))
        left = {name: entry for name, entry in tree(yard.root).items() if ".workyard-" not in name}
        new = [call for call in reversed(calls) if call.number > known]
        assert len(new) < MAX_CALLS
        changes = [each for call in new for each in call.changes]
        assert replayed(reached, changes) == {name: entry[:2] for name, entry in left.items()}
        changed, reached, known = changed + len(changes), left, calls[0].number if calls else 0
    assert changed > 2 * kills
    for stale in temporaries(yard.root):
        stale.rmdir() if stale.is_dir() else stale.unlink()
    with opened(yard.root, state) as changer:
        undo(changer, Selection(session="doomed"))
    assert tree(yard.root) == start
