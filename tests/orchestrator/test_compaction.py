"""A session of any length fits a model of any window, and its record keeps every message."""

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any  # deps of any type

import anyio
import pytest
from pydantic_ai import Agent, RunContext, RunUsage, Tool
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.exceptions import ModelContextWindowExceededError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
    repair_messages,
)
from pydantic_ai.models import ModelRequestContext
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile
from sqlalchemy import Connection

from orchestrator.bootstrap import Orchestrator
from orchestrator.budget.budget import Budget
from orchestrator.budget.errors import BudgetExceededError
from orchestrator.cli.progress import describe
from orchestrator.compaction.capability import Compaction
from orchestrator.errors import (
    HistoryUnreadableError,
    LimitError,
    ModelUnavailableError,
    RunCancelledError,
    SpecError,
)
from orchestrator.events import AgentMessage, HistoryCompacted, RunEnded, TextDelta, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.record_url import sqlite_file
from orchestrator.recorder import Recorder
from orchestrator.settings import load_settings
from orchestrator.store.claimed import Additions, Compacted, RunDraft
from orchestrator.store.compaction import load_window, window_at
from orchestrator.store.store import open_store
from orchestrator.store.tables import SessionRow
from orchestrator.teams.shares import Share
from tests.orchestrator.played import record_of
from tests.orchestrator.small import (
    PRICE,
    Chunks,
    Small,
    assert_valid,
    fail,
    is_for_summary,
    prompts_in,
    summaries_in,
    tokens,
)

WINDOW = 4000
DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")
SPEC = """\
name: reader
description: Reads.
instructions: Read what you are asked about.
capabilities:
  - WorkspaceTools: {tools: [read_file], read: ["**"]}
"""


@pytest.fixture(autouse=True)
def big_file(project: Path) -> None:
    """Put something to read into the project: about 600 tokens."""
    lines = (f"line {number} of the big file" for number in range(80))
    (project / "big.txt").write_text("\n".join(lines))


@pytest.fixture(params=["sqlite", "postgresql"])
def record_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return where a record of the test's own is."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"
    url: str = request.getfixturevalue("postgres_record_url")
    return url


@pytest.fixture
def reader(own_surroundings: Path) -> Path:
    """Return the file of an agent of the user's own."""
    file = own_surroundings / "config" / "agents" / "reader.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(SPEC)
    return file


async def compactions(yard: Orchestrator, session_id: str) -> list[HistoryCompacted]:
    events = [recorded.event for recorded in await record_of(yard, session_id)]
    return [event for event in events if isinstance(event, HistoryCompacted)]


async def turns(yard: Orchestrator, small: Small, number: int, agent: str = "repo_guide") -> str:
    """Have a conversation of so many runs, and return its session."""
    session_id = None
    for index in range(number):
        prompt = f"question {index}"
        result = await yard.run(agent, prompt, model=small.model(), session_id=session_id)
        assert result.output == f"Answer to {prompt}"
        session_id = result.session_id
    assert session_id is not None
    return session_id


@pytest.mark.parametrize("says", [True, False], ids=["window known", "window unknown"])
async def test_long_session_goes_on_in_a_small_window(yard: Orchestrator, *, says: bool) -> None:
    """The model itself holds that it never gets an invalid history, nor answers one too long."""
    small = Small(WINDOW, says=says)

    session_id = await turns(yard, small, 8)

    told = await compactions(yard, session_id)
    assert {event.reason for event in told} == {"near_limit" if says else "over_limit"}
    assert len(told) >= 2
    assert summaries_in(small.given[-1]) == [f"Summary {len(told)}."]
    assert max(map(tokens, small.given)) <= WINDOW


async def test_who_follows_is_told_of_a_compaction_and_not_shown_its_summary(
    yard: Orchestrator,
) -> None:
    """It is for the model; the agent has not said it."""
    session_id = await turns(yard, Small(WINDOW), 3)

    events = [recorded.event for recorded in await record_of(yard, session_id)]
    (told,) = (event for event in events if isinstance(event, HistoryCompacted))
    line = describe(told)
    assert line is not None
    assert line.plain == f"✂ messages 1-{told.upto} are a summary from here on"
    assert "Summary 1." not in str(events)
    texts = [event for event in events if isinstance(event, AgentMessage | TextDelta)]
    assert len(texts) == 3


async def test_record_keeps_every_message_word_for_word(yard: Orchestrator) -> None:
    small = Small(WINDOW)

    session_id = await turns(yard, small, 6)

    messages = await yard.sessions.messages(session_id)
    results = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    assert prompts_in(messages) == [f"question {index}" for index in range(6)]
    assert len(results) == 12
    assert all("line 79 of the big file" in result.model_response_str() for result in results)
    assert len(messages) == 6 * 6
    assert not summaries_in(messages)


async def test_next_run_is_given_what_the_last_one_had(yard: Orchestrator) -> None:
    """From the record, to the letter: neither more nor less, also after several compactions."""
    small = Small(WINDOW)
    session_id = await turns(yard, small, 1)
    compared = set()
    for index in range(1, 7):
        before = small.given[-1]
        prompt = f"question {index}"
        await yard.run("repo_guide", prompt, model=small.model(), session_id=session_id)
        first = small.given[-3]
        if summaries_in(first) == summaries_in(before):  # or it was compacted before it began
            assert first[: len(before)] == before
            compared |= {*summaries_in(first)}

    assert len(compared) >= 2


async def test_compaction_in_the_middle_of_a_run_keeps_its_prompt_and_pairs_its_calls(
    yard: Orchestrator,
) -> None:
    read = ("read_file", '{"path": "big.txt"}')
    small = Small(WINDOW, rounds=12, calls=[read, ("read_file", '{"path": "README.md"}')])

    result = await yard.run("repo_guide", "Read it, and read it again.", model=small.model())

    told = await compactions(yard, result.session_id)
    assert [event.reason for event in told] == ["near_limit"] * 2
    assert result.output == "Answer to Read it, and read it again."
    assert all(prompts_in(given) == ["Read it, and read it again."] for given in small.given)
    assert result.usage.tool_calls == 24
    messages = await yard.sessions.messages(result.session_id)
    assert sum(isinstance(p, ToolReturnPart) for m in messages for p in m.parts) == 24


async def test_summary_is_made_from_the_one_before(yard: Orchestrator) -> None:
    small = Small(WINDOW)

    session_id = await turns(yard, small, 6)

    first, second, *_ = small.transcripts
    assert "question 0" in first
    assert '"earlier summary": "Summary 1."' in second
    assert "question 0" not in second
    told = await compactions(yard, session_id)
    assert [event.upto for event in told] == sorted({event.upto for event in told})
    assert all(event.tokens_after < event.tokens_before for event in told)  # type: ignore[operator]


async def test_compaction_is_on_record_before_the_model_is_given_it(yard: Orchestrator) -> None:
    """A crash right after it must find in the record what the model was asked with."""
    small = Small(WINDOW, says=False)
    seen: list[list[int]] = []
    session_id = await turns(yard, small, 3)

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> Chunks:
        if summaries_in(messages):
            seen.append([event.message for event in await compactions(yard, session_id)])
        async for chunk in small.answer(messages, info):
            yield chunk

    model = FunctionModel(stream_function=answer)
    await yard.run("repo_guide", "question 3", model=model, session_id=session_id)

    assert seen
    assert all(len(numbers) == 1 for numbers in seen)


async def test_failing_summary_leaves_the_run_as_it_is(yard: Orchestrator) -> None:
    """There is room above the mark at which a summary is tried; the next request tries again."""
    small = Small(WINDOW, summarize=fail)

    session_id = await turns(yard, small, 3)

    assert small.transcripts
    assert not await compactions(yard, session_id)
    assert len(small.given[-1]) == 3 * 6 - 1


async def test_summary_that_would_gain_nothing_is_not_made(
    yard: Orchestrator, project: Path
) -> None:
    """What fills the window is the last result, which the model is to read."""
    (project / "huge.txt").write_text("All of it in one line.\n" * 400)
    small = Small(WINDOW, rounds=1, calls=[("read_file", '{"path": "huge.txt"}')])

    await yard.run("repo_guide", "What is in it?", model=small.model())

    assert tokens(small.given[-1]) > WINDOW * 0.75
    assert not small.transcripts


async def test_model_that_cannot_take_the_transcript_gets_a_shorter_one(
    yard: Orchestrator,
) -> None:
    def refuse_once(number: int) -> str:
        if number == 1:
            raise ModelContextWindowExceededError("small", "prompt is too long")
        return "Summary."

    small = Small(WINDOW, summarize=refuse_once)

    session_id = await turns(yard, small, 3)

    assert len(await compactions(yard, session_id)) == 1
    refused, taken = small.transcripts
    assert len(taken) < len(refused)
    assert "question 0" in taken


async def test_run_that_fits_no_more_and_cannot_be_summarized_fails_and_loses_nothing(
    yard: Orchestrator,
) -> None:
    small = Small(WINDOW, summarize=fail)
    session_id = await turns(yard, small, 3)

    with pytest.raises(ModelUnavailableError, match="more than it can take"):
        await yard.run("repo_guide", "question 3", model=small.model(), session_id=session_id)

    messages = await yard.sessions.messages(session_id)
    assert len(messages) >= 3 * 6 + 1
    assert "question 3" in str(messages)
    healed = Small(WINDOW)
    await yard.run("repo_guide", "question 4", model=healed.model(), session_id=session_id)
    assert "question 3" in healed.transcripts[0]


async def test_model_that_refuses_whatever_it_gets_is_asked_twice(yard: Orchestrator) -> None:
    small = Small(WINDOW, says=False)
    session_id = await turns(yard, small, 2)
    small.window = 1

    with pytest.raises(ModelUnavailableError, match="more than it can take"):
        await yard.run("repo_guide", "question 2", model=small.model(), session_id=session_id)

    assert len(small.transcripts) == 1
    small.window = WINDOW
    await yard.run("repo_guide", "question 3", model=small.model(), session_id=session_id)


@pytest.mark.parametrize("summary", ["", "  \n"])
async def test_empty_summary_is_none(yard: Orchestrator, summary: str) -> None:
    small = Small(WINDOW, summarize=lambda _: summary)

    session_id = await turns(yard, small, 3)

    assert small.transcripts
    assert not await compactions(yard, session_id)


async def test_summaries_count_in_the_usage_of_run_and_session(yard: Orchestrator) -> None:
    small = Small(WINDOW)

    session_id = await turns(yard, small, 6)

    runs = await yard.sessions.runs(session_id)
    assert sum(run.requests for run in runs) == len(small.given) + len(small.transcripts)
    session = await yard.sessions.get(session_id)
    assert session.usage["requests"] == len(small.given) + len(small.transcripts)
    assert sum(run.output_tokens for run in runs) == session.usage["output_tokens"]
    assert sum(run.cost or 0 for run in runs) == PRICE * session.usage["requests"]


async def test_budget_counts_summaries_and_none_is_written_that_it_has_no_room_for(
    yard: Orchestrator, reader: Path
) -> None:
    """With one request left the agent gets it, not the summary; it may yet fit."""
    reader.write_text(SPEC + "  - Budget: {requests: 6}\n")
    small = Small(WINDOW, rounds=8)

    with pytest.raises(LimitError, match="6 requests"):
        await yard.run("reader", "go", model=small.model())

    (session,) = await yard.sessions.latest()
    (run,) = await yard.sessions.runs(session.id)
    assert (len(small.given), len(small.transcripts)) == (6, 0)
    assert run.requests == 6

    small = Small(WINDOW, rounds=8)
    reader.write_text(SPEC + "  - Budget: {requests: 8}\n")
    with pytest.raises(LimitError, match="8 requests"):
        await yard.run("reader", "go", model=small.model())
    assert (len(small.given), len(small.transcripts)) == (7, 1)


@dataclass
class Delegates(AbstractCapability[Any]):
    """Says that others have used something."""

    shares: list[Share] = field(default_factory=list)

    def spent_by_delegates(self) -> RunUsage:
        return sum((share.spent for share in self.shares), RunUsage(requests=2))


@pytest.mark.parametrize("is_delegate", [False, True])
async def test_no_summary_is_written_for_which_others_have_left_no_room(
    project: Path, is_delegate: bool
) -> None:
    """Neither of the run that has asked delegates, nor of a delegate."""
    small = Small(WINDOW, rounds=8)
    limits = [Budget(requests=9 + is_delegate), delegates := Delegates()]
    reader = Agent(small.model(), tools=[read_file(project)], capabilities=[Compaction()])
    boss = Agent(FunctionModel(ask), capabilities=limits)

    @boss.tool
    async def delegate(ctx: RunContext[None]) -> str:
        delegates.shares.append(Share(ctx))
        await streamed(reader, *delegates.shares)
        return "no"

    with pytest.raises(BudgetExceededError):
        await (boss.run("go") if is_delegate else streamed(reader, *limits))

    assert (len(small.given), len(small.transcripts)) == (7, 0)


async def streamed(agent: Agent[None, str], *capabilities: AbstractCapability[Any]) -> None:
    async with agent.run_stream_events("go", capabilities=capabilities) as events:
        async for _ in events:
            pass


def ask(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse([ToolCallPart("delegate", {})])


def read_file(project: Path) -> Tool[None]:
    def read(path: str) -> str:
        return (project / path).read_text()

    return Tool(read, name="read_file")


async def test_budget_that_a_summary_uses_up_ends_the_run_before_another_request(
    yard: Orchestrator, reader: Path
) -> None:
    small = Small(WINDOW, rounds=8)
    result = await yard.run("reader", "go", model=small.model())
    (first, *_) = await compactions(yard, result.session_id)
    before = (await yard.sessions.messages(result.session_id))[: first.message - 1]
    answers = [message for message in before if isinstance(message, ModelResponse)]
    limit = sum(answer.usage.total_tokens for answer in answers) + 10

    reader.write_text(f"{SPEC}  - Budget: {{total_tokens: {limit}}}\n")
    small = Small(WINDOW, rounds=8)
    with pytest.raises(LimitError, match="tokens is used up"):
        await yard.run("reader", "go", model=small.model())

    assert (len(small.given), len(small.transcripts)) == (len(answers), 1)


async def test_run_can_be_cancelled_while_its_history_is_summarized(yard: Orchestrator) -> None:
    small = Small(WINDOW)
    session_id = await turns(yard, small, 2)
    asked, messages = anyio.Event(), await yard.sessions.messages(session_id)

    async def answer(given: list[ModelMessage], info: AgentInfo) -> Chunks:
        if is_for_summary(info):
            asked.set()
            await anyio.sleep_forever()
        async for chunk in small.answer(given, info):
            yield chunk

    model = FunctionModel(stream_function=answer, profile=ModelProfile(context_window=3000))
    handle = await yard.start("repo_guide", "question 2", model=model, session_id=session_id)
    with anyio.fail_after(10):
        await asked.wait()
        await yard.cancel(handle.claimed.id)
    with pytest.raises(RunCancelledError):
        await handle.result()

    after = await yard.sessions.messages(session_id)
    assert after[: len(messages)] == messages
    assert prompts_in(after[len(messages) :]) == ["question 2"]
    await yard.run("repo_guide", "question 3", model=small.model(), session_id=session_id)


class Killed(BaseException):
    """As good as a kill: nothing of ours handles it."""


async def test_usage_of_a_run_that_died_has_its_summaries(tmp_path: Path) -> None:
    small = Small(WINDOW, calls=[("read", "{}")], rounds=9)

    def read() -> str:
        if small.transcripts:
            raise Killed
        return "line\n" * 500

    agent = Agent(small.model(), tools=[read], capabilities=[Compaction()])
    url = f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"
    async with open_store(url) as store:
        run = await store.claim(DRAFT)
        with pytest.raises(Killed):
            await agent.run("go", capabilities=[Recorder(store, run)])
    async with open_store(url) as store:
        again = await store.claim(replace(DRAFT, session_id=run.session_id))

        (died, _) = await store.sessions.runs(run.session_id)
        assert died.status == "interrupted"
        assert died.requests == len(small.given) + 1
        assert died.cost == PRICE * died.requests
        assert summaries_in(again.conversation.messages) == ["Summary 1."]


async def test_history_that_another_capability_rewrites_is_recorded_as_it_was_given(
    record_url: str,
) -> None:
    """Whoever puts something else in its place: the record has both before the model is asked."""
    asked_with: list[int] = []

    class Forget(AbstractCapability[Any]):
        async def before_model_request(
            self, ctx: RunContext[Any], request_context: ModelRequestContext
        ) -> ModelRequestContext:
            if len(ctx.messages) > 3:
                ctx.messages[:] = ctx.messages[-3:]
            return replace(request_context, messages=list(ctx.messages))

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> Chunks:
        events = [recorded.event async for recorded in store.sessions.all_events(run.session_id)]
        asked_with.append(sum(isinstance(event, HistoryCompacted) for event in events))
        yield "ok"

    agent = Agent(FunctionModel(stream_function=answer))
    async with open_store(record_url) as store:
        draft = DRAFT
        for prompt in ("one", "two", "three", "four"):
            run = await store.claim(replace(draft, prompt=prompt))
            recorder = Recorder(store, run)
            options = {
                "conversation": run.conversation,
                "capabilities": [recorder, Forget()],  # the recorder comes last all the same
            }
            await agent.run(prompt, **options)  # type: ignore[call-overload] # a dict has no types
            await recorder.end(RunEnded(status=RunStatus.SUCCEEDED))
            draft = replace(DRAFT, session_id=run.session_id)
        session_id = draft.session_id or ""
        last = await store.claim(draft)
        messages = await store.sessions.messages(session_id)
        events = [recorded.event async for recorded in store.sessions.all_events(session_id)]

    assert prompts_in(messages) == ["one", "two", "three", "four"]
    assert prompts_in(last.conversation.messages) == ["three", "four"]
    told = [event for event in events if isinstance(event, HistoryCompacted)]
    assert [(event.reason, event.upto, event.kept) for event in told] == [
        ("rewritten", 2, 3),
        ("rewritten", 4, 3),
    ]
    assert asked_with == [0, 0, 1, 2]


async def test_compaction_and_messages_of_one_write_have_their_numbers(record_url: str) -> None:
    """What was not written in time is written with what comes next."""
    text = "Said once, and referred to by its event."
    async with open_store(record_url) as store:
        run = await store.claim(DRAFT)
        await store.record(run, Additions(messages=[ModelRequest(parts=[UserPromptPart("go")])]))
        added = Additions(
            compacted=Compacted(upto=1, given=[ModelRequest(parts=[])], usage=Usage()),
            messages=[ModelResponse(parts=[TextPart(text)])],
            events=[AgentMessage(content=text)],
        )
        await store.record(run, added)
        await store.end(run, RunEnded(status=RunStatus.SUCCEEDED, output=text), session_usage=None)
        events = [recorded.event async for recorded in store.sessions.all_events(run.session_id)]
        next_run = await store.claim(replace(DRAFT, session_id=run.session_id))

    assert AgentMessage(content=text) in events
    assert [number for number, _ in next_run.past] == [3]
    assert (run.message_seq, next_run.message_seq) == (3, 3)


async def test_what_was_given_at_any_point_of_the_past_can_be_found(yard: Orchestrator) -> None:
    """A fork begins in the past, before a compaction or after it."""
    session_id = await turns(yard, Small(WINDOW), 6)
    told = await compactions(yard, session_id)

    def look(db: Connection, session: SessionRow) -> None:
        for before, this in pairwise([0, *(event.message for event in told)]):
            assert window_at(db, session.pk or 0, this - 1) == before
            assert window_at(db, session.pk or 0, this) == this
        for upto in range(session.last_message_seq + 1):
            begin = window_at(db, session.pk or 0, upto)
            window = load_window(db, session.id, session.pk or 0, upto=upto, window_seq=begin)
            prompt = ModelRequest(parts=[UserPromptPart("on")])
            assert_valid(repair_messages([*window.messages, prompt]))

    await yard.sessions.look(session_id, look)
    assert len(told) == 2


async def test_damaged_compaction_is_named_and_the_originals_stay(yard: Orchestrator) -> None:
    session_id = await turns(yard, Small(WINDOW), 3)
    (told,) = await compactions(yard, session_id)
    before = await yard.sessions.messages(session_id)
    file = sqlite_file(load_settings().effective_database_url)
    damaged = ["", "{}", "[]", '{"given":[{}],"upto":1}', '{"given":[],"upto":"1"}', '{"given":[]}']
    for body in damaged:
        with closing(sqlite3.connect(str(file))) as db:
            db.execute("UPDATE message SET body = ? WHERE kind = 'compaction'", (body,))
            db.commit()

        with pytest.raises(HistoryUnreadableError, match=f"Compaction {told.message} of session"):
            await yard.start("repo_guide", "on", model=Small(WINDOW).model(), session_id=session_id)

    assert await yard.sessions.messages(session_id) == before


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("{context_window: 500}", "context_window"),
        ("{context_window: true}", "context_window"),
        ("{context_window: 8000.5}", "context_window"),
        ("{at: 0}", "at must be"),
        ("{at: 75}", "at must be"),
        ("{at: no}", "at must be"),
        ("{keep: 0.5}", "keep must be at most half"),
        ("{window: 9000}", "did you mean 'context_window'"),
    ],
)
async def test_spec_that_asks_for_what_cannot_be_is_refused(
    yard: Orchestrator, reader: Path, given: str, problem: str
) -> None:
    reader.write_text(f"{SPEC}  - Compaction: {given}\n")

    with pytest.raises(SpecError, match=problem) as refused:
        await yard.start("reader", "go", model=Small(WINDOW).model())

    assert refused.value.line == 6


async def test_spec_says_how_much_its_model_can_take(yard: Orchestrator, reader: Path) -> None:
    reader.write_text(f"{SPEC}  - Compaction: {{context_window: {WINDOW}, at: 0.9, keep: 0.1}}\n")
    small = Small(WINDOW, says=False)

    session_id = await turns(yard, small, 5, agent="reader")

    told = await compactions(yard, session_id)
    assert {event.reason for event in told} == {"near_limit"}
    assert all(event.tokens_before >= WINDOW * 0.9 for event in told if event.tokens_before)
