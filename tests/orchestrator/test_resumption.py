"""A run that broke off goes on from its last settled step, and does nothing twice."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # agents with outputs of any type

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, Tool
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolReturnPart,
)
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.approvals.capability import Approvals
from orchestrator.approvals.questions import Questions, WaitsError
from orchestrator.budget.budget import Budget
from orchestrator.budget.errors import BudgetExceededError
from orchestrator.errors import LeaseLostError, NotResumableError
from orchestrator.events import RunEnded, RunResumed, TextDelta, ToolCalled, ToolReturned
from orchestrator.ids import attempt_id
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import Recorder
from orchestrator.resumption import UNKNOWN, Resumption
from orchestrator.store import resuming
from orchestrator.store.approvals import Answer
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.store import Store, open_store
from orchestrator.store.writer import Transaction
from tests.orchestrator.scripted import check_valid

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")

Step = Sequence[tuple[str, dict[str, Any], str]] | str
"""Calls by tool, arguments and id; or text."""


class Killed(BaseException):
    """What nobody handles, as if the process were gone."""


@dataclass
class Played:
    """A model that gives answers in their order, and keeps what it was given."""

    answers: Sequence[Step]
    given: list[list[ModelMessage]] = field(default_factory=list)

    def model(self) -> FunctionModel:
        async def stream(
            messages: list[ModelMessage], info: AgentInfo
        ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
            check_valid(messages)
            self.given.append(messages)
            step = sum(isinstance(message, ModelResponse) for message in messages)
            said = self.answers[step]
            if isinstance(said, str):
                yield said
            for index, (name, arguments, call_id) in enumerate(
                () if isinstance(said, str) else said
            ):
                yield {index: DeltaToolCall(name, json.dumps(arguments), tool_call_id=call_id)}

        return FunctionModel(stream_function=stream)


@dataclass
class Record:
    """A record in which one run is begun and goes on, in processes that die."""

    url: str
    file: Path
    session_id: str = ""
    run_id: str = ""

    async def begin(self, agent: Agent[Any, Any]) -> None:
        """Begin the run, which its process does not survive."""
        async with open_store(self.url) as store:
            run = await store.claim(DRAFT)
            self.session_id, self.run_id = run.session_id, run.id
            with pytest.raises(Killed):
                await attempt(store, run, agent)

    async def go_on(self, agent: Agent[Any, Any]) -> Any:
        """Let the run go on to its end, and return its answer."""
        async with open_store(self.url) as store:
            run = await store.resume(self.draft, self.run_id)
            return await attempt(store, run, agent)

    @property
    def draft(self) -> RunDraft:
        return RunDraft(**{**vars(DRAFT), "session_id": self.session_id})

    async def messages(self) -> list[ModelMessage]:
        async with open_store(self.url) as store:
            return await store.sessions.messages(self.session_id)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        database = sqlite3.connect(self.file)
        found = database.execute(query).fetchall()
        database.close()
        return found


async def attempt(store: Store, run: ClaimedRun, agent: Agent[Any, Any]) -> Any:
    """Do what a runner does with a run."""
    recorder = Recorder(store, run)
    result = await agent.run(
        DRAFT.prompt if run.needs_prompt else None,
        conversation=run.conversation,
        run_id=attempt_id(run.id, run.attempt),
        capabilities=[recorder, Questions(run.decisions, recorder.put), Resumption(run)],
    )
    output = result.output if isinstance(result.output, str) else result.output.model_dump()
    done = RunEnded(status=RunStatus.SUCCEEDED, output=output)
    await recorder.end(done)
    return result.output


@pytest.fixture
def record(tmp_path: Path) -> Record:
    file = tmp_path / "record.db"
    return Record(f"sqlite+aiosqlite:///{file}", file)


@dataclass
class Hands:
    """Tools that count, and in which the process may die."""

    dies_in: str = ""
    calls: list[str] = field(default_factory=list)

    def _do(self, name: str) -> None:
        self.calls.append(name)
        if name == self.dies_in:
            self.dies_in = ""
            raise Killed

    def tools(self) -> list[Tool[Any]]:
        def look() -> dict[str, Any]:
            self._do("look")
            return {"seen": len(self.calls)}

        def pay() -> str:
            self._do("pay")
            return "paid"

        def peek() -> str:
            self._do("peek")
            return "peeked"

        def fail() -> str:
            self._do("fail")
            raise ToolFailed("It is broken.")

        def slip() -> str:
            self._do("slip")
            raise ModelRetry("Say it in another way.")

        told = {"annotations": {"readOnlyHint": True, "idempotentHint": None}}
        return [
            Tool(look, sequential=True),
            Tool(pay, sequential=True),
            Tool(peek, sequential=True, metadata=told),
            Tool(fail, sequential=True),
            Tool(slip, sequential=True),
        ]


def calls(*names: str, step: int = 0) -> Step:
    return [(name, {}, f"{step}.{index}") for index, name in enumerate(names)]


def results(messages: Sequence[ModelMessage]) -> dict[str, ToolReturnPart]:
    parts = (part for message in messages for part in message.parts)
    return {part.tool_call_id: part for part in parts if isinstance(part, ToolReturnPart)}


async def test_call_whose_result_is_known_is_not_made_again(record: Record) -> None:
    played = Played([calls("look", "pay"), "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)

    assert await record.go_on(agent) == "done"

    assert hands.calls == ["look", "pay"]
    assert results(played.given[-1])["0.0"].content == {"seen": 1}


async def test_call_of_which_nobody_knows_whether_it_was_made_is_not_made_again(
    record: Record,
) -> None:
    """Unless its tool says that it does no harm: the model reads what is true, and decides."""
    played = Played([calls("pay"), calls("peek", step=1), "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)
    hands.dies_in = "peek"
    async with open_store(record.url) as store:
        run = await store.resume(record.draft, record.run_id)
        with pytest.raises(Killed):
            await attempt(store, run, agent)

    assert await record.go_on(agent) == "done"

    assert hands.calls == ["pay", "peek", "peek"]
    found = results(played.given[-1])
    assert (found["0.0"].outcome, found["0.0"].content) == ("failed", UNKNOWN.format(tool="pay"))
    assert (found["1.0"].outcome, found["1.0"].content) == ("success", "peeked")


async def test_call_that_a_person_has_allowed_is_not_made_again_either(record: Record) -> None:
    """The yes is for one call: it may have been made by the attempt that died."""
    played = Played([calls("pay"), "I look first."])
    hands = Hands()
    guarded = Approvals(tools=["pay"])
    agent = Agent(played.model(), tools=hands.tools(), capabilities=[guarded])
    async with open_store(record.url) as store:
        run = await store.claim(DRAFT)
        record.session_id, record.run_id = run.session_id, run.id
        with pytest.raises(WaitsError):
            await attempt(store, run, agent)
        await store.end(run, RunEnded(status=RunStatus.WAITING), session_usage=None)
        await store.sessions.answer(run.id, Answer(is_approved=True, by="sam"))
        hands.dies_in = "pay"
        run = await store.resume(record.draft, record.run_id)
        with pytest.raises(Killed):
            await attempt(store, run, agent)

    assert await record.go_on(agent) == "I look first."

    assert hands.calls == ["pay"]
    assert results(played.given[-1])["0.0"].content == UNKNOWN.format(tool="pay")


@pytest.mark.parametrize("name", ["look", "fail", "slip"])
async def test_result_that_is_given_again_is_the_one_on_record(record: Record, name: str) -> None:
    played = Played([calls(name, "pay"), "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools(), retries=3)
    await record.begin(agent)
    before = results(await record.messages())["0.0"]

    assert await record.go_on(agent) == "done"

    given = results(played.given[-1])["0.0"]
    assert hands.calls == [name, "pay"]
    assert (given.outcome, given.content) == (before.outcome, before.content)
    kept = [part for m in await record.messages() for part in m.parts if part == before]
    assert kept == [before]


async def test_everything_is_told_once(record: Record) -> None:
    played = Played([calls("look", "peek"), calls("look", step=1), "done"])
    hands = Hands(dies_in="peek")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)
    await record.go_on(agent)

    async with open_store(record.url) as store:
        events = [e async for e in store.sessions.all_events(record.session_id)]
    told = [recorded.event for recorded in events]
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    assert {e.run_id for e in events} == {record.run_id}
    assert [e.call_id for e in told if isinstance(e, ToolCalled)] == ["0.0", "0.1", "1.0"]
    assert [e.call_id for e in told if isinstance(e, ToolReturned)] == ["0.0", "0.1", "1.0"]
    assert [e for e in told if isinstance(e, RunResumed)] == [
        RunResumed(attempt=2, model="m", spec_sha256="0" * 64)
    ]
    assert [e.status for e in told if isinstance(e, RunEnded)] == ["interrupted", "succeeded"]


async def test_result_is_stored_once_whichever_attempt_sends_it(record: Record) -> None:
    played = Played([calls("look", "peek"), "done"])
    hands = Hands(dies_in="peek")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)
    await record.go_on(agent)

    bodies = [body for (body,) in record.rows("SELECT body FROM message WHERE kind = 'request'")]
    assert not any("seen" in body for body in bodies)
    assert sum(body.count("in_ledger") for body in bodies) == 2
    assert record.rows("SELECT count(*) FROM tool_call WHERE outcome = 'success'") == [(2,)]


async def test_attempts_together_are_counted_once(record: Record) -> None:
    played = Played([calls("look"), calls("look", "peek", step=1), calls("look", step=2), "done"])
    hands = Hands(dies_in="peek")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)
    async with open_store(record.url) as store:
        (run,) = await store.sessions.runs(record.session_id)
        session = await store.sessions.get(record.session_id)
    assert (run.requests, run.tool_calls) == (2, 2)
    assert (session.usage["requests"], session.usage["tool_calls"]) == (2, 2)

    await record.go_on(agent)

    async with open_store(record.url) as store:
        (run,) = await store.sessions.runs(record.session_id)
        session = await store.sessions.get(record.session_id)
    answers = [m for m in await record.messages() if isinstance(m, ModelResponse)]
    tokens = sum(answer.usage.output_tokens for answer in answers)
    assert (run.requests, run.tool_calls, run.output_tokens) == (4, 4, tokens)
    assert session.usage["requests"] == 4
    assert session.usage["tool_calls"] == 4
    assert session.usage["output_tokens"] == tokens


async def test_run_that_dies_again_and_again_is_counted_once(record: Record) -> None:
    played = Played([calls("peek"), calls("peek", step=1), "done"])
    hands = Hands(dies_in="peek")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)
    for _ in range(3):
        hands.dies_in = "peek"
        async with open_store(record.url) as store:
            run = await store.resume(record.draft, record.run_id)
            with pytest.raises(Killed):
                await attempt(store, run, agent)
    await record.go_on(agent)

    async with open_store(record.url) as store:
        (row,) = await store.sessions.runs(record.session_id)
        session = await store.sessions.get(record.session_id)
    assert (row.attempt, row.status, row.requests, row.tool_calls) == (5, "succeeded", 3, 2)
    assert (session.usage["requests"], session.usage["tool_calls"]) == (3, 2)
    assert len(played.given) == 3


async def test_budget_is_one_for_all_attempts(record: Record) -> None:
    played = Played([calls("look"), calls("pay", step=1), calls("look", step=2), "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools(), capabilities=[Budget(requests=3)])
    await record.begin(agent)

    with pytest.raises(BudgetExceededError):
        await record.go_on(agent)
    with pytest.raises(BudgetExceededError):
        await record.go_on(agent)

    assert len(played.given) == 3


class Verdict(BaseModel):
    """A structured answer."""

    text: str


def judging(played: Played, *, judge: Callable[[], None]) -> Agent[Any, Verdict]:
    agent: Agent[Any, Verdict] = Agent(played.model(), output_type=Verdict)

    @agent.output_validator
    def judged(ctx: RunContext[Any], verdict: Verdict) -> Verdict:
        judge()
        return verdict

    return agent


async def test_answer_that_is_on_record_is_not_asked_for_again(record: Record) -> None:
    """It has been paid for."""
    dying = [True]

    def judge() -> None:
        if dying and dying.pop():
            raise Killed

    played = Played([[("final_result", {"text": "fine"}, "0.0")]])
    agent = judging(played, judge=judge)
    await record.begin(agent)
    assert len(await record.messages()) == 2

    assert await record.go_on(agent) == Verdict(text="fine")

    assert len(played.given) == 1
    async with open_store(record.url) as store:
        (run,) = await store.sessions.runs(record.session_id)
        session = await store.sessions.get(record.session_id)
    assert (run.status, run.output, run.requests) == ("succeeded", {"text": "fine"}, 1)
    assert session.usage["requests"] == 1


async def test_text_that_is_on_record_is_not_asked_for_again_and_told_once(
    record: Record,
) -> None:
    played = Played(["fine"])
    agent: Agent[Any, str] = Agent(played.model())
    async with open_store(record.url) as store:
        run = await store.claim(DRAFT)
        record.session_id, record.run_id = run.session_id, run.id
        recorder = Recorder(store, run)

        @agent.output_validator
        async def judged(ctx: RunContext[Any], text: str) -> str:
            if run.event_seq == 2:  # of the first attempt: the answer is on record, the end is not
                await recorder.flush()
                raise Killed
            return text

        with pytest.raises(Killed):
            await agent.run("go", run_id=run.id, capabilities=[recorder])

    assert await record.go_on(agent) == "fine"

    assert len(played.given) == 1
    async with open_store(record.url) as store:
        told = [e.event async for e in store.sessions.all_events(record.session_id)]
        (row,) = await store.sessions.runs(record.session_id)
    assert [event.type for event in told].count("agent_message") == 1
    assert (row.output, row.requests) == ("fine", 1)
    assert len(await record.messages()) == 2


async def test_run_that_died_before_its_first_request_begins_with_its_prompt(
    record: Record,
) -> None:
    async with open_store(record.url) as store:
        run = await store.claim(DRAFT)
        record.session_id, record.run_id = run.session_id, run.id
    played = Played(["done"])

    assert await record.go_on(Agent(played.model())) == "done"

    (request, _) = await record.messages()
    assert [part.part_kind for part in request.parts] == ["user-prompt"]
    assert request.parts[0].content == "go"  # type: ignore[union-attr]  # a prompt
    assert record.rows("SELECT body FROM message WHERE seq = 1")[0][0].count("go") == 0


async def test_results_are_not_lost_when_another_turn_comes_instead(record: Record) -> None:
    played = Played([calls("look", "pay"), "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)

    async with open_store(record.url) as store:
        turn = await store.claim(record.draft)
    past = turn.conversation.messages

    check_valid(past)
    found = results(past)
    assert found["0.0"].content == {"seen": 1}
    assert found["0.1"].outcome == "interrupted"


async def test_call_of_an_id_that_was_used_before_gets_nobody_elses_result(record: Record) -> None:
    """Some models number their calls anew in each answer."""
    played = Played([[("look", {}, "c")], [("pay", {}, "c")], "done"])
    hands = Hands(dies_in="pay")
    agent = Agent(played.model(), tools=hands.tools())
    await record.begin(agent)

    assert await record.go_on(agent) == "done"

    assert hands.calls == ["look", "pay"]
    last = played.given[-1][-1]
    assert isinstance(last, ModelRequest)
    (part,) = last.parts
    assert isinstance(part, ToolReturnPart)
    assert part.content == UNKNOWN.format(tool="pay")


async def test_process_that_was_taken_for_dead_writes_nothing_into_the_next_attempt(
    record: Record,
) -> None:
    """Not even if its numbers fit what it takes for an answer that was lost."""
    async with open_store(record.url) as store:
        old = await store.claim(DRAFT)
    record.session_id, record.run_id = old.session_id, old.id
    async with open_store(record.url) as store:
        run = await store.resume(record.draft, record.run_id)
        assert run.event_seq == old.event_seq + 2  # the end, and that it goes on

        two = [TextDelta(content="I"), TextDelta(content="am")]
        with pytest.raises(LeaseLostError):
            await store.record(old, Additions(events=two))
        with pytest.raises(LeaseLostError):
            await store.end(old, RunEnded(status=RunStatus.FAILED), session_usage=None)
        await store.record(run, Additions(events=two))


async def test_resumption_whose_answer_was_lost_is_found_and_not_made_twice(
    record: Record,
) -> None:
    async with open_store(record.url) as store:
        old = await store.claim(DRAFT)
    record.session_id, record.run_id = old.session_id, old.id
    async with open_store(record.url) as store:
        first = await store.resume(record.draft, record.run_id)

        def again(tx: Transaction) -> ClaimedRun:
            tried = Transaction(tx.connection, again=True)
            return resuming.resume(record.draft, record.run_id, store._liveness, tried)

        second = await store._write(again)
    numbers = [(run.attempt, run.event_seq, run.message_seq) for run in (first, second)]
    assert numbers[0] == numbers[1]
    assert second.attempt == 2


async def test_only_the_last_run_can_be_resumed_and_not_once_it_has_succeeded(
    record: Record,
) -> None:
    agent = Agent(Played(["done"]).model())
    async with open_store(record.url) as store:
        old = await store.claim(DRAFT)
    record.session_id, record.run_id = old.session_id, old.id
    async with open_store(record.url) as store:
        later = await store.claim(record.draft)
        await store.end(later, RunEnded(status=RunStatus.CANCELLED), session_usage=None)
        with pytest.raises(NotResumableError):
            await store.resume(record.draft, old.id)
        record.run_id = later.id
    await record.go_on(agent)

    with pytest.raises(NotResumableError, match="succeeded: there is nothing to resume"):
        await record.go_on(agent)
