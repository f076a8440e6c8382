"""Asking another model at the points where a recorded run's model was asked."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from pydantic import JsonValue
from pydantic_ai import UsageLimits
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart

from orchestrator.agents import WorkyardAgent
from orchestrator.errors import RunCrashedError
from orchestrator.events import Usage
from orchestrator.failures import explain
from orchestrator.replay.witness import Unsummarized
from orchestrator.store.messages import as_json
from orchestrator.store.usage import together, used_by

_log = logging.getLogger(__name__)

MAX_AT_ONCE = 4
"""Requests under way at a time: providers count them, and machines with a local model more so."""


@dataclass(frozen=True, kw_only=True)
class AskedCall:
    """A call that a model asks for."""

    tool: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model answers at one point."""

    text: str
    calls: tuple[AskedCall, ...]
    usage: Usage


@dataclass(frozen=True, kw_only=True)
class Point:
    """Two answers to the same history."""

    step: int
    """Which answer of the recorded run it is, from 1."""
    recorded: Answer
    other: Answer | None
    """None if the other model could not be asked."""
    error: str | None = None
    """Why not."""

    @property
    def same_tools(self) -> bool:
        """Whether both ask for the same tools, as often, in whatever order."""
        return self.other is not None and _tools(self.recorded) == _tools(self.other)

    @property
    def same_calls(self) -> bool:
        """Whether the arguments are the same, too."""
        return self.other is not None and _calls(self.recorded) == _calls(self.other)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A recorded run's model beside another one."""

    run_id: str
    agent: str
    recorded_model: str
    other_model: str
    spec_changed: bool
    """Whether the agent's spec is another than it was: the other model got today's."""
    points: tuple[Point, ...]

    def verdict(self) -> dict[str, JsonValue]:
        """Return what follows from the rest, for JSON."""
        return {
            "same_calls": [point.step for point in self.points if point.same_calls],
            "recorded_usage": self.recorded_usage.model_dump(mode="json", exclude={"version"}),
            "other_usage": self.other_usage.model_dump(mode="json", exclude={"version"}),
        }

    @property
    def recorded_usage(self) -> Usage:
        """What the recorded answers have used."""
        return _sum([point.recorded.usage for point in self.points])

    @property
    def other_usage(self) -> Usage:
        """What the other model's answers have used; the comparison is what it was paid for."""
        return _sum([point.other.usage for point in self.points if point.other is not None])


@dataclass(frozen=True, kw_only=True)
class Question:
    """A point of a recorded run: what its model was given, and what it answered."""

    step: int
    history: Sequence[ModelMessage]
    answer: ModelResponse


@dataclass(frozen=True, kw_only=True)
class Asking:
    """An agent with another model, to be asked."""

    agent: WorkyardAgent
    model: str
    inputs: dict[str, JsonValue]

    async def ask(self, questions: Sequence[Question]) -> tuple[Point, ...]:
        """Ask the model at each point, some at a time; none of its calls is made.

        What goes wrong at one point does not end the others.

        Raises:
            OrchestratorError: If the agent's tools cannot be listed.
        """
        points: dict[int, Point] = {}
        places = anyio.CapacityLimiter(MAX_AT_ONCE)

        async def ask_one(question: Question) -> None:
            async with places:
                points[question.step] = await self._point(question)

        async with self.agent, anyio.create_task_group() as tasks:
            for question in questions:
                tasks.start_soon(ask_one, question)
        return tuple(points[question.step] for question in questions)

    async def _point(self, question: Question) -> Point:
        recorded = _answer(question.answer)
        try:
            response = await self._first_answer(question.history)
        except Exception as error:  # told of at its point; the others are asked all the same
            known = explain(error, self.model)
            if known is None:
                _log.error("A comparison met a fault of Workyard's own.", exc_info=error)
                known = RunCrashedError("This is a fault of Workyard's own; the log says more.")
            return Point(step=question.step, recorded=recorded, other=None, error=str(known))
        return Point(step=question.step, recorded=recorded, other=_answer(response))

    async def _first_answer(self, history: Sequence[ModelMessage]) -> ModelResponse:
        running = self.agent.iter(
            message_history=history,
            conversation_id="new",
            deps=self.inputs or None,
            capabilities=[Unsummarized()],
            usage_limits=UsageLimits(request_limit=None),
        )
        async with running as run:
            node = run.next_node
            while not self.agent.is_call_tools_node(node):
                assert not self.agent.is_end_node(node), "an answer comes first"
                node = await run.next(node)
            return node.model_response


def _answer(response: ModelResponse) -> Answer:
    calls = [part for part in response.parts if isinstance(part, ToolCallPart)]
    return Answer(
        text="\n".join(p.content for p in response.parts if isinstance(p, TextPart) and p.content),
        calls=tuple(AskedCall(tool=c.tool_name, arguments=c.args_as_dict()) for c in calls),
        usage=used_by([response], tool_calls=0),
    )


def _tools(answer: Answer) -> Counter[str]:
    return Counter(call.tool for call in answer.calls)


def _calls(answer: Answer) -> Counter[tuple[str, str]]:
    return Counter(
        (call.tool, as_json(dict(sorted(call.arguments.items())))) for call in answer.calls
    )


def _sum(usages: Sequence[Usage]) -> Usage:
    total = Usage()
    for usage in usages:
        total = together(total, usage)
    return total
