"""A team is interrupted at every stage: the record stays whole, and nothing is done twice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from orchestrator.budget import budget as budget_module
from orchestrator.errors import (
    ApprovalNeededError,
    LimitError,
    NotResumableError,
    RunCancelledError,
)
from orchestrator.store.approvals import Answer
from tests.orchestrator.doomed import fork, work_until_killed
from tests.orchestrator.interrupted import (
    NO,
    YES,
    Interrupted,
    Stop,
    cancelled,
    last_begun,
    left,
)
from tests.orchestrator.moments import Moments, MomentsOfAll, passing
from tests.orchestrator.team_at_work import LINES, PRICE, REQUESTS, TOKENS, TOOL_CALLS, Home
from tests.orchestrator.whole import runs_in

long = pytest.mark.long

ALL = sum(REQUESTS.values())
MOMENTS = 150
"""About how many there are; an interruption adds some."""

JUST_ENOUGH = {
    "chief": [
        f"Budget: {{requests: {ALL}, total_tokens: {ALL * TOKENS}, cost_usd: {ALL * PRICE},"
        f" tool_calls: {sum(TOOL_CALLS.values()) + 1}}}"
    ]
}
"""What is counted twice, after whatever interruption, is too much for it."""
LIMITS = {"budget_session_tokens": ALL * TOKENS, "budget_day_tokens": ALL * TOKENS}


@dataclass(frozen=True)
class Case:
    """At which moments, how, and what is said to what is asked."""

    every: int
    first: int
    stop: Stop = cancelled
    said: Answer = YES

    @property
    def moments(self) -> Moments:
        return Moments(self.every, self.first)

    def __str__(self) -> str:
        said = "yes" if self.said.is_approved else "no"
        return f"{self.first} of {self.every}, {self.stop.__name__}, {said}"


async def goes_on_to_the_end(base: Path, url: str, case: Case) -> None:
    moments = case.moments
    home = Home(base, url, moments, JUST_ENOUGH, LIMITS)
    home.furnish()
    with passing(moments):
        async with home.yard() as yard:
            await Interrupted(home, moments, case.stop, case.said).to_the_end(yard)


@pytest.mark.parametrize(
    "case",
    [
        Case(25, 8),
        Case(45, 11, left, NO),
        *(
            pytest.param(Case(1, 0, stop, said), marks=long)
            for stop, said in [(cancelled, NO), (left, YES)]
        ),
        *(pytest.param(Case(5, first), marks=long) for first in range(5)),
    ],
    ids=str,
)
async def test_team_stopped_at_any_moment_goes_on_and_does_everything_once(
    tmp_path: Path, sqlite_url: str, case: Case
) -> None:
    await goes_on_to_the_end(tmp_path / "home", sqlite_url, case)


@pytest.mark.parametrize(
    "case", [Case(90, 73), pytest.param(Case(3, 1, said=NO), marks=long)], ids=str
)
async def test_team_on_postgres_is_stopped_and_goes_on_alike(
    tmp_path: Path, postgres_record_url: str, case: Case
) -> None:
    await goes_on_to_the_end(tmp_path / "home", postgres_record_url, case)


@long
@pytest.mark.parametrize("first", range(0, MOMENTS, 10))
async def test_team_stopped_once_goes_on_and_does_everything_once(
    tmp_path: Path, first: int
) -> None:
    for number in range(first, first + 10):
        base = tmp_path / str(number)
        case = Case(MOMENTS * 2, number, left if number % 3 else cancelled)
        await goes_on_to_the_end(base, f"sqlite+aiosqlite:///{base / 'record.db'}", case)


async def one_life(home: Home, moments: MomentsOfAll) -> str:
    """Let a process work until it is killed or has come to an end; return which."""
    process, line = await run_sync(fork, work_until_killed, home, moments)
    try:
        word: str = await run_sync(line.recv)
    except EOFError:
        word = "killed"
    finally:
        await run_sync(process.join)
        line.close()
    return word


@pytest.mark.parametrize(
    "case",
    [Case(40, 30), *(pytest.param(Case(3, first), marks=long) for first in range(3))],
    ids=str,
)
async def test_team_killed_at_any_moment_goes_on_and_does_everything_once(
    tmp_path: Path, sqlite_url: str, case: Case
) -> None:
    home = Home(tmp_path / "home", sqlite_url, more=JUST_ENOUGH, limits=LIMITS)
    home.furnish()
    team = Interrupted(home, Moments())
    passed: list[str] = []
    word = "begins"
    while word != "done":
        moments = MomentsOfAll(case.every, case.first, file=tmp_path / "moments")
        word = await one_life(home, moments)
        moments = MomentsOfAll(file=tmp_path / "moments")
        assert word != "killed" or len(moments.passed) > len(passed), "it fails to begin"
        async with home.yard() as yard:
            await team.look(yard, moments.passed[len(passed) :])
            if word == "done":
                await team.check_done(yard)
        if word == "approval_needed":
            await team.answer()
        else:
            assert word in ("killed", "done")
        passed = moments.passed


Limits = tuple[Mapping[str, Sequence[str]], Mapping[str, object]]


def spec(budget: str) -> Limits:
    return {"chief": [f"Budget: {{{budget}}}"]}, {}


PORTIONS: Mapping[str, Callable[[int], Limits]] = {
    "requests": lambda n: spec(f"requests: {n}"),
    "tokens": lambda n: spec(f"total_tokens: {n * TOKENS}"),
    "cost": lambda n: spec(f"cost_usd: {n * PRICE}"),
    "session_tokens": lambda n: ({}, {"budget_session_tokens": n * TOKENS}),
    "session_cost": lambda n: ({}, {"budget_session_usd": n * PRICE}),
    "day_tokens": lambda n: ({}, {"budget_day_tokens": n * TOKENS}),
    "day_cost": lambda n: ({}, {"budget_day_usd": n * PRICE}),
}


@pytest.mark.parametrize(
    ("of", "step"),
    [
        ("requests", 4),
        ("day_cost", 8),
        *(pytest.param(of, 1, marks=long) for of in PORTIONS),
    ],
)
async def test_team_whose_budget_is_used_up_goes_on_with_more_where_it_was(
    tmp_path: Path, sqlite_url: str, of: str, step: int
) -> None:
    moments = untouched()
    home = Home(tmp_path / "home", sqlite_url, moments)
    home.furnish()
    team = Interrupted(home, moments)
    portion, error = step, None
    with passing(moments):
        while portion == step or error is not None:
            more, limits = PORTIONS[of](portion)
            team.home = replace(home, more=more, limits=limits)
            team.home.specify()
            async with team.home.yard() as yard:
                error = await team.attempt(yard)
                if error is None:
                    await team.check_done(yard)
            if isinstance(error, ApprovalNeededError):
                await team.answer()
                continue
            # Two may be asked at the same moment.
            assert requests(moments) in ((portion, portion + 1) if error else (ALL,))
            assert isinstance(error, LimitError | None)
            portion += step


@long
async def test_team_whose_time_is_used_up_goes_on_with_more_where_it_was(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request takes a thousand seconds, and there is time for five in each attempt."""
    moments = untouched()
    home = Home(tmp_path / "home", sqlite_url, moments, {"chief": ["Budget: {seconds: 5000}"]})
    home.furnish()
    team, asked_before = Interrupted(home, moments), 0
    monkeypatch.setattr(budget_module, "monotonic", lambda: 1000.0 * requests(moments))
    with passing(moments):
        async with home.yard() as yard:
            while (error := await team.attempt(yard)) is not None:
                if isinstance(error, ApprovalNeededError):
                    await team.answer()
                else:
                    assert isinstance(error, LimitError)
                    assert requests(moments) - asked_before in (5, 6)
                asked_before = requests(moments)
            await team.check_done(yard)


async def test_team_makes_no_more_calls_than_it_may_over_all_attempts(
    tmp_path: Path, sqlite_url: str
) -> None:
    moments = untouched()
    home = Home(tmp_path / "home", sqlite_url, moments)
    home.furnish()
    team = Interrupted(home, moments)
    with passing(moments):
        for most in range(2, ALL, 5):
            team.home = replace(home, more={"chief": [f"Budget: {{tool_calls: {most}}}"]})
            team.home.specify()
            async with team.home.yard() as yard:
                error = await team.attempt(yard)
                if isinstance(error, ApprovalNeededError):
                    await team.answer()
                    error = await team.attempt(yard)
                calls = [run.tool_calls for run in team.record.runs]
            assert sum(calls) <= most
            if error is None:
                return
            assert isinstance(error, LimitError)
    raise AssertionError("it never comes to its end")


@pytest.mark.parametrize("first", [100, pytest.param(None, marks=long)])
async def test_delegate_that_is_stopped_alone_is_told_to_who_has_asked(
    tmp_path: Path, first: int | None
) -> None:
    for home, moments in stopped_once(tmp_path, first):
        team = Interrupted(home, moments, last_begun)
        with passing(moments):
            async with home.yard() as yard:
                while (error := await team.attempt(yard)) is not None:
                    if isinstance(error, ApprovalNeededError):
                        await team.answer()
                    else:
                        assert isinstance(error, RunCancelledError)
        assert len(set(home.lines())) == len(home.lines())
        assert {*home.lines()} <= {*LINES}


async def test_delegate_whose_own_budget_is_used_up_is_told_to_who_has_asked(
    tmp_path: Path, sqlite_url: str
) -> None:
    moments = untouched()
    home = Home(tmp_path / "home", sqlite_url, moments, {"middle": ["Budget: {requests: 3}"]})
    home.furnish()
    team = Interrupted(home, moments)
    with passing(moments):
        async with home.yard() as yard:
            assert await team.attempt(yard) is None

    statuses = {run.agent: run.status for run in team.record.runs}
    assert statuses == {
        "chief": "succeeded",
        "middle": "failed",
        "last": "failed",
        "other": "succeeded",
    }


@pytest.mark.parametrize("first", [64, pytest.param(None, marks=long)])
async def test_session_goes_on_with_another_turn_wherever_its_team_was_stopped(
    tmp_path: Path, first: int | None
) -> None:
    for home, moments in stopped_once(tmp_path, first):
        team = Interrupted(home, moments)
        with passing(moments):
            async with home.yard() as yard:
                error = await team.attempt(yard)
                assert isinstance(error, RunCancelledError | ApprovalNeededError)
                session = (await yard.sessions.latest())[0].id
                turn = await yard.run("other", "on", model=home.talker(), session_id=session)
                before = team.record.runs
                (*runs, last) = await runs_in(yard)
                assert (turn.output, last.status) == ("ok", "succeeded")
                assert [run.status for run in runs] == [run.status for run in before]
                assert await yard.sessions.questions() == []
                with pytest.raises(NotResumableError):
                    await yard.resume(session, model=home.model())


def stopped_once(tmp_path: Path, first: int | None) -> Iterator[tuple[Home, Moments]]:
    """Yield where a team is stopped at one moment: at this one, or in turn at each."""
    for number in range(MOMENTS) if first is None else [first]:
        base = tmp_path / str(number)
        moments = Moments(MOMENTS * 2, number)
        home = Home(base, f"sqlite+aiosqlite:///{base / 'record.db'}", moments)
        home.furnish()
        yield home, moments


def untouched() -> Moments:
    """Return moments at which nothing is done."""
    return Moments(every=1, first=1)


def requests(moments: Moments) -> int:
    """Return how often a model was asked."""
    return sum(" is asked for " in moment for moment in moments.passed)
