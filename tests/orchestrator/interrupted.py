"""A team that is interrupted and goes on, again and again, until it is done."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain

import anyio

from orchestrator.bootstrap import Orchestrator
from orchestrator.errors import ApprovalNeededError, OrchestratorError, RunCancelledError
from orchestrator.runner import RunHandle
from orchestrator.store.approvals import Answer
from tests.orchestrator.moments import Moments, called
from tests.orchestrator.team_at_work import (
    DONE,
    LINES,
    REQUESTS,
    SCRIPT,
    TOOL_CALLS,
    Home,
    asked,
    begin,
)
from tests.orchestrator.whole import Whole, check_whole

YES = Answer(is_approved=True, by="sam")
NO = Answer(is_approved=False, by="sam", reason="not there")

MOST_ATTEMPTS = 1000

Stop = Callable[[Orchestrator, RunHandle], None]


def cancelled(yard: Orchestrator, top: RunHandle) -> None:
    """Stop the run that nobody has asked, as who cancels it does."""
    top.stop()


def left(yard: Orchestrator, top: RunHandle) -> None:
    """Stop all that runs, as who leaves the yard does."""
    for handle in [*yard._runner._running.values()]:
        handle.stop()


def last_begun(yard: Orchestrator, top: RunHandle) -> None:
    """Stop the run that has begun last, as who cancels a delegate alone does."""
    [*yard._runner._running.values()][-1].stop()


@dataclass
class Interrupted:
    """The team, and what has become of it so far."""

    home: Home
    moments: Moments
    stop: Stop = cancelled
    said: Answer = YES
    """What is answered whenever it asks."""
    record: Whole = field(default_factory=Whole)

    async def to_the_end(self, yard: Orchestrator) -> None:
        """Let it go on however often it is stopped, and hold that it has done all, and once."""
        for _ in range(MOST_ATTEMPTS):
            error = await self.attempt(yard)
            if error is None:
                await self.check_done(yard)
                return
            if isinstance(error, ApprovalNeededError):
                await self.answer()
            elif not isinstance(error, RunCancelledError):
                raise error
        raise AssertionError("it never comes to its end")

    async def attempt(self, yard: Orchestrator) -> OrchestratorError | None:
        """Let it go on once; return why it has ended, if not with its answer.

        The record is whole after that, and nothing that was settled before is done again.
        """
        passed = len(self.moments.passed)
        error = await self._go_on(yard)
        await self.look(yard, self.moments.passed[passed:])
        return error

    async def look(self, yard: Orchestrator, passed: list[str]) -> None:
        """Hold that the record is whole, and what these moments tell was not settled before."""
        try:
            self._check_nothing_again(passed)
            self.record = await check_whole(yard, self.record)
        except BaseException as fault:
            fault.add_note(f"The last of its moments: {passed[-1:]}")
            raise

    async def _go_on(self, yard: Orchestrator) -> OrchestratorError | None:
        handle: RunHandle | None = None
        beginning = anyio.CancelScope()

        def stop() -> None:
            if handle is None:
                beginning.cancel()
            else:
                self.stop(yard, handle)

        self.moments.act = stop
        with beginning:
            handle = await begin(yard, self.home)
        if handle is None:
            return RunCancelledError("It was stopped while it began.")
        with anyio.fail_after(60):
            try:
                assert (await handle.result()).output == DONE
            except OrchestratorError as error:
                return error
        return None

    def _check_nothing_again(self, passed: list[str]) -> None:
        for agent in SCRIPT:
            before = self.record.of(agent)
            answered = before.requests if before else 0
            for step in range(answered):
                assert asked(agent, step) not in passed, f"{agent} has answered {step} before"
        for tool, arguments in chain.from_iterable(self.record.returned.values()):
            assert called(tool, arguments) not in passed, f"{tool} {arguments} has returned before"

    async def answer(self) -> None:
        """Answer what is asked, as another process: that one which has asked may be gone."""
        async with self.home.yard() as yard:
            (question,) = await yard.sessions.questions()
            await yard.sessions.answer(question.top_run_id, self.said)

    async def check_done(self, yard: Orchestrator) -> None:
        """Hold that all is done that the script says, each thing once, and counted once."""
        assert self.home.lines() == LINES
        assert self.home.guarded() == ("x\n" if self.said.is_approved else None)
        changes = await yard.changes(limit=99)
        assert len(changes) == len(LINES) + self.said.is_approved
        runs = self.record.runs
        assert {run.status for run in runs} == {"succeeded"}
        assert {run.agent: run.requests for run in runs} == REQUESTS
        made = TOOL_CALLS | {"last": TOOL_CALLS["last"] - (not self.said.is_approved)}
        counted = {run.agent: run.tool_calls for run in runs}
        assert counted == made, f"{counted} calls are counted, and not {made}"
        (total,) = await yard.usage(by="owner")
        assert (total.requests, total.tool_calls) == (sum(REQUESTS.values()), sum(made.values()))
