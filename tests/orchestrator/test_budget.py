"""A run ends when it has used up what it may use, and is told before that."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from pathlib import Path
from typing import Any  # values that a spec can hold

import pytest
from pydantic_ai import Agent, Conversation, RunContext, capture_run_messages
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.usage import RequestUsage

from orchestrator.bootstrap import Orchestrator
from orchestrator.budget import budget as module
from orchestrator.budget.budget import Budget
from orchestrator.budget.errors import BudgetExceededError, PriceUnknownError
from orchestrator.budget.prices import is_priced
from orchestrator.connections import InProcessConnection
from orchestrator.errors import InvalidInputError, LimitError, ModelUnavailableError
from orchestrator.models.providers import PROVIDERS
from orchestrator.offline import OfflineModel
from orchestrator.teams.shares import Share
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import MISSING, READ, playing
from tests.orchestrator.test_teams import READS, delegate, spec, team_of
from tests.wire.models import anthropic, ollama, openai_chat

USED = RequestUsage(input_tokens=60, output_tokens=40, cost=Decimal("0.1"))


def spending(usage: RequestUsage = USED) -> FunctionModel:
    """Return a model that never comes to an end, each response with this usage."""

    return FunctionModel(stepping(usage))


def stepping(usage: RequestUsage) -> Callable[[list[ModelMessage], AgentInfo], ModelResponse]:
    return lambda messages, info: ModelResponse(parts=[ToolCallPart("step", {})], usage=usage)


def step() -> str:
    return "ok"


async def fails() -> None:
    raise ModelHTTPError(503, "m")


class Clock:
    """Goes on by ten seconds whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 10.0
        return self.now


@pytest.mark.parametrize(
    ("budget", "unit", "actual"),
    [
        (Budget(requests=3), "requests", 3),
        (Budget(total_tokens=250), "tokens", 300),
        (Budget(cost_usd="0.25"), "US dollars", Decimal("0.3")),
        (Budget(tool_calls=2), "tool calls", 2),
    ],
    ids=["requests", "tokens", "cost", "calls"],
)
async def test_run_ends_when_its_budget_is_used_up(
    budget: Budget, unit: str, actual: Decimal
) -> None:
    agent = Agent(spending(), tools=[step], capabilities=[budget])

    with pytest.raises(BudgetExceededError) as caught:
        await agent.run("go")

    assert (caught.value.unit, caught.value.actual) == (unit, actual)


async def test_run_ends_when_its_time_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "monotonic", Clock())
    agent = Agent(spending(), tools=[step], capabilities=[Budget(seconds=45)])

    with pytest.raises(BudgetExceededError, match="The budget of 45 seconds is used up") as caught:
        await agent.run("go")

    assert caught.value.actual >= 45


async def test_calls_that_fit_are_made_and_those_beyond_are_not() -> None:
    """Those of one answer are made at once: none that has begun is broken off."""
    made: list[str] = []
    conversation: list[ModelMessage] = []

    def step() -> str:
        made.append("ok")
        return "ok"

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        conversation[:] = messages
        return ModelResponse(parts=[ToolCallPart("step", {}, f"c{i}") for i in range(5)])

    agent = Agent(FunctionModel(answer), tools=[step], capabilities=[Budget(tool_calls=3)])
    with pytest.raises(BudgetExceededError, match="3 tool calls is used up"):
        await agent.run("go")

    assert made == ["ok"] * 3


async def test_who_has_made_all_its_calls_may_still_answer() -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[ToolCallPart("step", {})])
        return ModelResponse(parts=[TextPart("Done.")])

    agent = Agent(FunctionModel(answer), tools=[step], capabilities=[Budget(tool_calls=1)])

    assert (await agent.run("go")).output == "Done."


async def test_budget_counts_the_run_and_not_the_session() -> None:
    agent = Agent(TestModel(), capabilities=[Budget(requests=1)])
    conversation = Conversation()

    for _ in range(3):
        conversation = (await agent.run("go", conversation=conversation)).conversation

    assert conversation.usage.requests == 3


@pytest.mark.parametrize("amount", [0, -1, "lots", True, float("nan")])
@pytest.mark.parametrize("name", ["cost_usd", "tool_calls", "seconds", "total_tokens"])
def test_budget_that_is_none_is_refused(name: str, amount: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be a number above 0"):
        Budget(**{name: amount})


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [({"unpriced": "yes", "cost_usd": 1}, "true or false"), ({"unpriced": True}, "cost_usd")],
)
def test_unpriced_that_says_nothing_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Budget(**arguments)


async def test_agent_is_told_once_little_is_left_and_always_in_the_same_words() -> None:
    told: list[str | None] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        told.append(info.instructions)
        return ModelResponse(parts=[ToolCallPart("step", {})])

    budget = Budget(requests=10)
    agent = Agent(FunctionModel(answer), instructions="x", tools=[step], capabilities=[budget])
    with pytest.raises(BudgetExceededError):
        await agent.run("go")

    assert told[:8] == ["x"] * 8
    assert told[8] == told[9]
    assert "Your budget for this task is nearly used up: 8 of 10 requests." in str(told[8])


def opened(
    project: Path, tmp_path: Path, *capabilities: str
) -> AbstractAsyncContextManager[Orchestrator]:
    """Return a yard with an agent `sample` that reads, and has these capabilities."""
    specs = tmp_path / "specs"
    specs.mkdir(exist_ok=True)
    (specs / "sample.yaml").write_text(spec("sample", READS, *capabilities))
    return Orchestrator.open(project, specs=specs, connect=InProcessConnection)


async def test_record_shows_that_the_agent_was_told(project: Path, tmp_path: Path) -> None:
    async with opened(project, tmp_path, "Budget: {requests: 5}") as yard:
        handle = await yard.start(
            "sample", "go", model=playing([READ], [READ], [READ], [READ], ".")
        )
        session_id = (await handle.result()).session_id
        messages = await yard.sessions.messages(session_id)

    told = [m.instructions for m in messages if isinstance(m, ModelRequest)]
    assert [("4 of 5 requests" in str(text)) for text in told] == [False] * 4 + [True]


class Unpriced(FunctionModel):
    """A model of a provider that nobody knows the prices of."""

    @property
    def system(self) -> str:
        return "acme"

    @property
    def base_url(self) -> str:
        return "https://models.example"


def unpriced(usage: RequestUsage | None = None) -> Unpriced:
    used = usage or RequestUsage(input_tokens=60, output_tokens=40)
    return Unpriced(stepping(used), model_name="acme-1")


@pytest.mark.parametrize(
    ("model", "priced"),
    [
        (anthropic("https://api.anthropic.com"), True),
        (openai_chat("https://proxy.example"), True),
        (ollama("http://127.0.0.1:11434"), True),
        (ollama("http://localhost:11434"), True),
        (ollama("http://gpu.example:11434"), False),
        (ollama("http://localhost.example:11434"), False),
        (TestModel(), True),
        (OfflineModel(), True),
        (unpriced(), False),
        (FallbackModel(TestModel(), unpriced()), False),
        (WrapperModel(unpriced()), False),
        (WrapperModel(TestModel()), True),
    ],
    ids=lambda value: getattr(value, "model_id", value),
)
def test_price_is_known_of_models_with_one_and_of_those_that_nobody_bills(
    model: Model, priced: bool
) -> None:
    assert is_priced(model) is priced


@pytest.mark.parametrize("example", [p.example for p in PROVIDERS if p.is_default])
def test_what_a_run_uses_by_default_has_a_price(example: str) -> None:
    """Every agent that comes with Workyard limits its cost."""
    provider, _, name = example.partition(":")
    answer = ModelResponse(parts=[], usage=USED, model_name=name, provider_name=provider)

    assert answer.cost().total_price > 0


async def test_unknown_price_counts_as_not_allowed_before_anything_is_asked() -> None:
    agent = Agent(unpriced(), tools=[step], capabilities=[Budget(cost_usd=1)])

    with (
        capture_run_messages() as messages,
        pytest.raises(PriceUnknownError, match="unpriced: true"),
    ):
        await agent.run("go")

    assert [message.kind for message in messages] == ["request"]


async def test_spec_can_allow_what_has_no_price_and_the_other_limits_hold() -> None:
    budget = Budget(cost_usd=1, requests=2, unpriced=True)
    agent = Agent(unpriced(), tools=[step], capabilities=[budget])

    with pytest.raises(BudgetExceededError, match="2 requests"):
        await agent.run("go")


async def test_unpriced_does_not_lift_the_limit_of_what_has_a_price() -> None:
    budget = Budget(cost_usd="0.25", unpriced=True)
    agent = Agent(unpriced(USED), tools=[step], capabilities=[budget])

    with pytest.raises(BudgetExceededError, match=r"0.25 US dollars is used up: 0.3 so far"):
        await agent.run("go")


async def test_answer_without_a_price_ends_the_run_before_the_next_request() -> None:
    """A model can be known and its answer still say nothing of what it has used."""
    answers: list[int] = []

    class Known(Unpriced):
        @property
        def system(self) -> str:
            return "openai"

        async def request(self, *arguments: Any) -> ModelResponse:
            answers.append(1)
            return await super().request(*arguments)

    known = Known(stepping(RequestUsage(unmeasured_requests=1)), model_name="gpt-4o")
    agent = Agent(known, tools=[step], capabilities=[Budget(cost_usd=1)])
    with pytest.raises(PriceUnknownError):
        await agent.run("go")

    assert answers == [1]


async def test_run_with_an_unpriced_model_is_refused_and_leaves_nothing_on_record(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, "Budget: {cost_usd: 1}") as yard:
        with pytest.raises(InvalidInputError, match="Agent 'sample' cannot run: What model 'acme:"):
            await yard.run("sample", "go", model=unpriced())

        assert await yard.sessions.latest() == []


async def test_time_of_earlier_attempts_counts_and_the_time_between_them_does_not(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, "Budget: {seconds: 1000}") as yard:
        handle = await yard.start("sample", "go", model=playing([READ], fails))
        with pytest.raises(ModelUnavailableError):
            await handle.result()
        session_id = handle.claimed.session_id
        rows("UPDATE event SET at = at - 5000000000 WHERE type = 'run_started'")
        rows("UPDATE event SET at = at - 4500000000 WHERE type != 'run_started'")
        again = await yard.resume(session_id, model=playing([READ], fails))
        with pytest.raises(ModelUnavailableError):  # 500 seconds, 4500 seconds ago
            await again.result()
        rows("UPDATE event SET at = at + 600000000 WHERE seq = (SELECT max(seq) FROM event)")
        last = await yard.resume(session_id, model=playing([READ], "Done."))
        with pytest.raises(LimitError, match="1000 seconds is used up: 1100"):
            await last.result()


async def test_failed_calls_of_earlier_attempts_count_and_refused_ones_do_not(
    project: Path, tmp_path: Path
) -> None:
    steps = [MISSING], [MISSING, READ], [READ, READ], "Done."
    async with opened(project, tmp_path, "Budget: {tool_calls: 2}") as yard:
        handle = await yard.start("sample", "go", model=playing(*steps))
        with pytest.raises(LimitError, match="2 tool calls is used up: 2"):
            await handle.result()
    async with opened(project, tmp_path, "Budget: {tool_calls: 3}") as yard:
        again = await yard.resume(handle.claimed.session_id, model=playing(*steps))
        with pytest.raises(LimitError, match="3 tool calls is used up: 3"):
            await again.result()

        made = rows("SELECT outcome FROM tool_call WHERE outcome = 'success'")

    assert len(made) == 1


async def test_of_an_attempt_whose_process_died_counts_what_it_told(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, "Budget: {seconds: 1000}") as yard:
        handle = await yard.start("sample", "go", model=playing([READ], fails))
        with pytest.raises(ModelUnavailableError):
            await handle.result()
        rows("UPDATE event SET body = replace(body, 'failed', 'interrupted')")
        rows("UPDATE event SET at = at + 5000000000 WHERE seq = (SELECT max(seq) FROM event)")
        last = await yard.resume(handle.claimed.session_id, model=playing([READ], "Done."))

        assert (await last.result()).output == "Done. "


async def test_calls_of_delegates_count_to_the_budget_of_who_asks(
    project: Path, tmp_path: Path
) -> None:
    team = "SubAgents: {agents: [reader]}"
    async with opened(project, tmp_path, team, "Budget: {tool_calls: 2}") as yard:
        (tmp_path / "specs" / "reader.yaml").write_text(spec("reader", READS))
        read = [("read_file", {"path": "README.md"})]
        model = team_of(sample=[[delegate("reader")], "Done."], reader=[read, read, "Read."])
        handle = await yard.start("sample", "go", model=model)
        with pytest.raises(LimitError, match="2 tool calls is used up"):
            await handle.result()

        calls = rows("SELECT tool, outcome FROM tool_call ORDER BY called_at")

    # The delegate is left as it is: a run that is resumed with more goes on with it.
    assert calls == [("delegate", None), ("read_file", "success"), ("read_file", "failed")]


async def test_delegate_with_an_unpriced_model_is_refused_by_who_limits_its_cost(
    project: Path, tmp_path: Path
) -> None:
    boss = Agent(
        FunctionModel(lambda messages, info: ModelResponse([ToolCallPart("ask", {})])),
        capabilities=[Budget(cost_usd=1, requests=2)],
    )
    refused: list[str] = []

    @boss.tool
    async def ask(ctx: RunContext[None]) -> str:
        try:
            await Agent(unpriced(), tools=[step]).run("go", capabilities=[Share(ctx)])
        except PriceUnknownError as error:
            refused.append(str(error))
        return "no"

    with pytest.raises(BudgetExceededError, match="2 requests"):
        await boss.run("go")

    assert len(refused) == 2
