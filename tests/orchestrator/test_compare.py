"""Another model asked wherever a recorded run's model was asked, its answers laid beside."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any  # deps of any type

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.usage import RequestUsage

from orchestrator.bootstrap import Orchestrator
from orchestrator.errors import ModelNotConfiguredError
from orchestrator.replay import asking
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import READ, playing
from tests.orchestrator.small import Small

NOTE = ("write_file", '{"path": "docs/new.md", "content": "one\\n"}')

Answers = Callable[[int, list[ModelMessage], AgentInfo], ModelResponse]


def answering(
    answers: Answers, waits: Callable[[], Any] | None = None, window: int = 100_000
) -> Model:
    """Return a model that answers by how many answers are in the history already."""

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if waits is not None:
            await waits()
        step = sum(isinstance(message, ModelResponse) for message in messages)
        return answers(step, messages, info)

    profile = ModelProfile(context_window=window)
    return FunctionModel(answer, model_name="other", profile=profile)


def call(tool: str, **arguments: object) -> ToolCallPart:
    return ToolCallPart(tool, arguments)


def same_as_recorded(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    parts = [call("read_file", path="README.md")] if step == 0 else [TextPart("Done. ")]
    return ModelResponse(parts=parts)


async def test_other_model_is_asked_at_each_point_with_the_recorded_history(
    yard: Orchestrator,
) -> None:
    asked: dict[int, list[ModelMessage]] = {}

    def answers(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        asked[step] = messages
        assert {"read_file", "grep"} <= {tool.name for tool in info.function_tools}
        assert info.instructions
        return ModelResponse(parts=[call("grep", pattern="till"), TextPart("I look.")])

    run = await yard.run("repo_guide", "go", model=playing([READ], [READ], "Done."))
    recorded = await yard.sessions.messages(run.session_id)

    found = await yard.compare(run.run_id, answering(answers))

    assert [point.step for point in found.points] == [1, 2, 3]
    assert sorted(asked) == [0, 1, 2]
    for step, messages in asked.items():
        assert messages[:-1] == recorded[: 2 * step]
        assert messages[-1].parts == recorded[2 * step].parts
    other = found.points[0].other
    assert other is not None
    assert (other.text, other.calls[0].tool) == ("I look.", "grep")
    assert [point.recorded.text for point in found.points] == ["", "", "Done. "]


async def test_calls_are_compared_and_none_is_made(yard: Orchestrator, project: Path) -> None:
    def answers(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        other = [
            [call("write_file", content="one\n", path="docs/new.md")],
            [call("write_file", path="docs/other.md", content="one\n")],
            [call("delete_path", path="README.md")],
        ]
        return ModelResponse(parts=other[step])

    run = await yard.run("doc_writer", "go", model=playing([NOTE], [NOTE], "Done."))
    (project / "docs" / "new.md").unlink()

    points = (await yard.compare(run.run_id, answering(answers))).points

    assert [(p.same_tools, p.same_calls) for p in points] == [
        (True, True),
        (True, False),
        (False, False),
    ]
    assert not (project / "docs" / "new.md").exists()
    assert (project / "README.md").exists()


async def test_model_that_answers_alike_is_found_alike(yard: Orchestrator) -> None:
    run = await yard.run("repo_guide", "go", model=playing([READ], "Done."))

    found = await yard.compare(run.run_id, answering(same_as_recorded))

    assert [point.same_calls for point in found.points] == [True, True]
    assert found.points[1].other is not None
    assert found.points[1].other.text == found.points[1].recorded.text
    assert (found.recorded_model, found.other_model) == ("function:played", "function:other")


async def test_tokens_and_cost_are_those_of_each_and_an_unknown_price_is_unknown(
    yard: Orchestrator,
) -> None:
    def priced(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        usage = RequestUsage(input_tokens=100, output_tokens=5, cost=Decimal("0.25"))
        return ModelResponse(parts=[TextPart("x")], usage=usage)

    def half_priced(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        response = priced(step, messages, info)
        if step:
            response.usage.cost = None
        return response

    run = await yard.run("repo_guide", "go", model=playing([READ], "Done."))

    known = await yard.compare(run.run_id, answering(priced))
    unknown = await yard.compare(run.run_id, answering(half_priced))

    assert known.recorded_usage.cost is None
    assert known.recorded_usage.requests == 2
    assert (known.other_usage.input_tokens, known.other_usage.cost) == (200, Decimal("0.5"))
    assert unknown.other_usage.cost is None


async def test_error_at_one_point_does_not_end_the_others(yard: Orchestrator) -> None:
    def failing(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if step == 1:
            raise ModelHTTPError(500, "other", body={"message": "down"})
        if step == 2:
            raise ZeroDivisionError("a fault of ours")
        return ModelResponse(parts=[TextPart("x")])

    run = await yard.run("repo_guide", "go", model=playing([READ], [READ], [READ], "Done."))

    points = (await yard.compare(run.run_id, answering(failing))).points

    assert [point.other is None for point in points] == [False, True, True, False]
    assert "down" in (points[1].error or "")
    assert points[2].error == "This is a fault of Workyard's own; the log says more."
    assert not points[1].same_tools


async def test_only_some_requests_are_under_way_at_a_time(yard: Orchestrator) -> None:
    waiting: list[int] = []
    may_answer = anyio.Event()

    async def wait() -> None:
        waiting.append(1)
        await may_answer.wait()

    run = await yard.run("repo_guide", "go", model=playing(*[[READ] for _ in range(9)], "Done."))
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(yard.compare, run.run_id, answering(same_as_recorded, wait))
            while len(waiting) < asking.MAX_AT_ONCE:
                await checkpoint()
            await anyio.wait_all_tasks_blocked()
            under_way = len(waiting)
            may_answer.set()

    assert (under_way, len(waiting)) == (asking.MAX_AT_ONCE, 10)


async def test_comparison_is_on_no_record(yard: Orchestrator) -> None:
    run = await yard.run("repo_guide", "go", model=playing([READ], "Done."))
    tables = ("session", "run", "message", "event", "tool_call")
    before = [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]

    await yard.compare(run.run_id, answering(same_as_recorded))

    assert [rows(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables] == before


async def test_other_model_is_given_the_summary_that_the_recorded_one_was_given(
    yard: Orchestrator, project: Path
) -> None:
    given: list[list[ModelMessage]] = []

    def answers(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        given.append(messages)
        return ModelResponse(parts=[TextPart("x")])

    (project / "big.txt").write_text("line of the big file\n" * 120)
    small = Small(4000)
    run = await yard.run("repo_guide", "first", model=small.model())
    for index in range(4):
        small.given.clear()
        prompt = f"{index}"
        run = await yard.run("repo_guide", prompt, model=small.model(), session_id=run.session_id)

    await yard.compare(run.run_id, answering(answers, window=1000))

    assert small.transcripts
    shapes = sorted([[p.part_kind for p in m.parts] for m in messages] for messages in given)
    assert shapes == sorted([[p.part_kind for p in m.parts] for m in one] for one in small.given)


async def test_answer_to_calls_of_a_broken_run_is_compared_where_there_is_one(
    yard: Orchestrator,
) -> None:
    """A history that ends in open calls has no point after them."""
    given: list[list[ModelMessage]] = []

    def answers(step: int, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        given.append(messages)
        return ModelResponse(parts=[TextPart("x")])

    first = await yard.run("repo_guide", "one", model=playing([READ], "x"))
    rows("DELETE FROM message WHERE seq > 2")
    rows("UPDATE session SET last_message_seq = 2")
    second = await yard.run(
        "repo_guide", "two", model=playing("Second."), session_id=first.session_id
    )

    assert len((await yard.compare(first.run_id, answering(answers))).points) == 1
    assert len((await yard.compare(second.run_id, answering(answers))).points) == 1
    (closed,) = [p for m in given[1] for p in m.parts if isinstance(p, ToolReturnPart)]
    assert closed.outcome == "interrupted"


async def test_model_that_cannot_be_used_is_refused_before_any_request(
    yard: Orchestrator,
) -> None:
    run = await yard.run("repo_guide", "go", model=playing("Done."))

    with pytest.raises(ModelNotConfiguredError, match="ANTHROPIC_API_KEY"):
        await yard.compare(run.run_id, "anthropic:claude-sonnet-5-5")
