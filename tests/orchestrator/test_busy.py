"""A turn whose session is busy: refused, in line, or on a fork, as its caller wishes."""

import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.bootstrap import Orchestrator
from orchestrator.busy import Turns
from orchestrator.connections import InProcessConnection
from orchestrator.errors import InvalidInputError, NotFoundError, SessionBusyError, WrongRootError
from orchestrator.lifecycle import WhenBusy
from orchestrator.runner import RunResult
from tests.orchestrator.by_hand import held_by_another, held_by_the_dead, workyard
from tests.orchestrator.played import playing
from tests.orchestrator.small import prompts_in


class Busy:
    """A session with a turn behind it, which another holds until it is told to go on."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.holds = anyio.Event()
        self.may_end = anyio.Event()


@asynccontextmanager
async def busy_session(yard: Orchestrator) -> AsyncIterator[Busy]:
    first = await yard.run("repo_guide", "one", model=playing("First."))
    busy = Busy(first.session_id)

    async def hold() -> None:
        busy.holds.set()
        await busy.may_end.wait()

    handle = await yard.start("repo_guide", "two", model=playing(hold), session_id=first.session_id)
    with anyio.fail_after(10):
        await busy.holds.wait()
        yield busy
        busy.may_end.set()
        await handle.result()


async def standing_in_line(turns: Turns, session_id: str, length: int) -> None:
    while turns._lines.get(session_id) is None or turns._lines[session_id].length < length:
        await checkpoint()


async def test_turn_waits_in_line_until_the_session_is_free(yard: Orchestrator) -> None:
    results: list[RunResult] = []

    async def wait_in_line(session_id: str) -> None:
        results.append(
            await yard.run(
                "repo_guide",
                "three",
                model=playing("Third."),
                session_id=session_id,
                when_busy="queue",
            )
        )

    async with anyio.create_task_group() as tasks, busy_session(yard) as busy:
        tasks.start_soon(wait_in_line, busy.session_id)
        await standing_in_line(yard._turns, busy.session_id, 1)
        assert len(await yard.sessions.runs(busy.session_id)) == 2

    assert results[0].session_id == busy.session_id
    assert prompts_in(await yard.sessions.messages(busy.session_id)) == ["one", "two", "three"]
    assert yard._turns._lines == {}


async def test_turns_in_line_come_in_the_order_in_which_they_came(yard: Orchestrator) -> None:
    async def wait_in_line(number: int, session_id: str) -> None:
        await yard.run(
            "repo_guide", f"{number}", model=playing("x"), session_id=session_id, when_busy="queue"
        )

    async with anyio.create_task_group() as tasks, busy_session(yard) as busy:
        for number in range(5):
            tasks.start_soon(wait_in_line, number, busy.session_id)
            await standing_in_line(yard._turns, busy.session_id, number + 1)

    prompts = prompts_in(await yard.sessions.messages(busy.session_id))
    assert prompts == ["one", "two", "0", "1", "2", "3", "4"]


async def test_turn_of_another_process_gets_the_session_too(
    yard: Orchestrator, project: Path
) -> None:
    async def wait_in_line(other: Orchestrator, session_id: str) -> None:
        await other.run(
            "repo_guide", "three", model=playing("x"), session_id=session_id, when_busy="queue"
        )

    async with (
        Orchestrator.open(project, connect=InProcessConnection) as other,
        anyio.create_task_group() as tasks,
        busy_session(yard) as busy,
    ):
        tasks.start_soon(wait_in_line, other, busy.session_id)
        await standing_in_line(other._turns, busy.session_id, 1)

    assert prompts_in(await yard.sessions.messages(busy.session_id)) == ["one", "two", "three"]


@pytest.mark.parametrize("ahead", [0, 1])
async def test_wait_in_line_is_bounded_and_says_who_holds_the_session(
    yard: Orchestrator, ahead: int
) -> None:
    async def wait_in_line(session_id: str) -> None:
        await yard.run(
            "repo_guide", "ahead", model=playing("x"), session_id=session_id, when_busy="queue"
        )

    async with anyio.create_task_group() as tasks, busy_session(yard) as busy:
        if ahead:
            tasks.start_soon(wait_in_line, busy.session_id)
            await standing_in_line(yard._turns, busy.session_id, ahead)
        with pytest.raises(SessionBusyError, match=r"still, after 0\.05 s") as caught:
            await yard.run(
                "repo_guide",
                "three",
                model=playing("x"),
                session_id=busy.session_id,
                when_busy="queue",
                wait_s=0.05,
            )
        holder = (await yard.sessions.runs(busy.session_id))[1].id
        assert (caught.value.run_id, caught.value.waited_s) == (holder, 0.05)

    assert "three" not in prompts_in(await yard.sessions.messages(busy.session_id))


async def test_cancelled_wait_leaves_nothing_behind(yard: Orchestrator) -> None:
    async def wait_in_line(session_id: str) -> None:
        await yard.run(
            "repo_guide", "three", model=playing("x"), session_id=session_id, when_busy="queue"
        )

    async with busy_session(yard) as busy:
        async with anyio.create_task_group() as tasks:
            for number in (1, 2):
                tasks.start_soon(wait_in_line, busy.session_id)
                await standing_in_line(yard._turns, busy.session_id, number)
            tasks.cancel_scope.cancel()
        assert yard._turns._lines == {}

    assert len(await yard.sessions.runs(busy.session_id)) == 2
    await yard.run(
        "repo_guide", "on", model=playing("x"), session_id=busy.session_id, when_busy="queue"
    )


async def test_turn_on_a_fork_runs_at_once_on_what_was_there_before(yard: Orchestrator) -> None:
    async with busy_session(yard) as busy:
        run = await yard.run(
            "repo_guide",
            "three",
            model=playing("Third."),
            session_id=busy.session_id,
            when_busy="fork",
        )
        assert not busy.may_end.is_set()

    assert run.session_id != busy.session_id
    assert prompts_in(await yard.sessions.messages(run.session_id)) == ["one", "three"]
    assert prompts_in(await yard.sessions.messages(busy.session_id)) == ["one", "two"]


async def test_turn_on_a_fork_of_a_first_turn_begins_anew(yard: Orchestrator) -> None:
    holds, may_end = anyio.Event(), anyio.Event()

    async def hold() -> None:
        holds.set()
        await may_end.wait()

    handle = await yard.start("repo_guide", "one", model=playing(hold))
    with anyio.fail_after(10):
        await holds.wait()
    origin = handle.claimed.session_id
    run = await yard.run(
        "repo_guide", "two", model=playing("x"), session_id=origin, when_busy="fork"
    )
    may_end.set()
    await handle.result()

    assert prompts_in(await yard.sessions.messages(run.session_id)) == ["two"]
    assert (await yard.sessions.get(run.session_id)).origin_seq == 0


@pytest.mark.parametrize("when_busy", ["queue", "fork", "reject"])
async def test_free_session_is_taken_whatever_is_wished(
    yard: Orchestrator, when_busy: WhenBusy
) -> None:
    first = await yard.run("repo_guide", "one", model=playing("x"))

    run = await yard.run(
        "repo_guide", "two", model=playing("x"), session_id=first.session_id, when_busy=when_busy
    )

    assert run.session_id == first.session_id


async def test_session_of_a_dead_process_is_waited_for_by_nobody(yard: Orchestrator) -> None:
    first = await yard.run("repo_guide", "one", model=playing("x"))
    held_by_the_dead()

    run = await yard.run(
        "repo_guide",
        "two",
        model=playing("x"),
        session_id=first.session_id,
        when_busy="queue",
        wait_s=5,
    )

    assert run.session_id == first.session_id


async def test_turn_that_can_never_have_the_session_does_not_wait(
    yard: Orchestrator, tmp_path: Path
) -> None:
    async with (
        busy_session(yard) as busy,
        Orchestrator.open(tmp_path, connect=InProcessConnection) as elsewhere,
    ):
        with pytest.raises(WrongRootError):
            await elsewhere.run(
                "repo_guide", "x", model=playing("x"), session_id=busy.session_id, when_busy="queue"
            )
        with pytest.raises(NotFoundError):
            await yard.run(
                "repo_guide", "x", model=playing("x"), session_id="nope", when_busy="queue"
            )


async def test_way_that_is_not_there_is_refused_with_those_that_are(yard: Orchestrator) -> None:
    nonsense: WhenBusy = "steal"  # type: ignore[assignment]  # as a script without types
    with pytest.raises(InvalidInputError, match=r"'steal'.*'reject', 'queue', 'fork'"):
        await yard.run("repo_guide", "x", model=playing("x"), when_busy=nonsense)
    for wait_s in (-1, math.nan):
        with pytest.raises(InvalidInputError, match="0 or more"):
            await yard.run("repo_guide", "x", model=playing("x"), wait_s=wait_s)

    assert await yard.sessions.latest() == []


def test_command_line_says_what_to_do_when_a_session_is_busy(project: Path) -> None:
    run = ("run", "repo_guide", "till?", "--model", "offline", "--root", str(project), "--json")
    session_id = json.loads(workyard(*run).stdout)["session_id"]
    there = (*run, "--session", session_id)

    with held_by_another():
        refused = workyard(*there)
        waited = workyard(*there, "--when-busy", "queue", "--wait", "0.01")
        forked = workyard(*there, "--when-busy", "fork")

    assert (refused.exit_code, waited.exit_code, forked.exit_code) == (4, 4, 0)
    for done in (refused, waited):
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "session_busy"
        assert "--when-busy fork" in error["message"]
    assert "waiting" in waited.stderr
    assert "this is a fork of it" in forked.stderr
    assert json.loads(forked.stdout)["session_id"] != session_id
