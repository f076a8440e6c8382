"""A model with a small window: it refuses what is too much, and demands a valid history."""

from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic_ai.exceptions import ModelContextWindowExceededError, ModelHTTPError
from pydantic_ai.messages import (
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.usage import RequestUsage

from tests.orchestrator.counting import Counting

Chunks = AsyncIterator[str | dict[int, DeltaToolCall]]
PRICE = Decimal("0.01")
"""What each of its answers costs."""

Calls = list[tuple[str, str]]
"""Tools and their arguments as JSON."""


@dataclass
class Small:
    """What the model does, and what it was given."""

    window: int
    says: bool = True
    """Whether it tells how small its window is."""
    rounds: int = 2
    """How often it calls tools before it answers."""
    calls: Calls = field(default_factory=lambda: [("read_file", '{"path": "big.txt"}')])
    summarize: Callable[[int], str] = "Summary {}.".format
    """Writes the summary of this number, from 1 on, or raises."""
    given: list[list[ModelMessage]] = field(default_factory=list)
    transcripts: list[str] = field(default_factory=list)
    """What it was asked to summarize."""
    asked: Counter[str] = field(default_factory=Counter)
    """How often it was asked to answer a prompt."""

    def model(self) -> Model:
        profile = ModelProfile(context_window=self.window) if self.says else None
        return Counting(used, self.answer, name="small", profile=profile)

    async def answer(self, messages: list[ModelMessage], info: AgentInfo) -> Chunks:
        if is_for_summary(info):
            self.transcripts.append(prompt_of(messages))
            yield self.summarize(len(self.transcripts))
            return
        if tokens(messages) > self.window:
            raise ModelContextWindowExceededError("small", "prompt is too long")
        assert_valid(messages)
        self.given.append(messages)
        prompt = prompt_of(messages)
        self.asked[prompt] += 1
        if self.asked[prompt] > self.rounds:
            yield f"Answer to {prompt}"
            return
        for index, (tool, arguments) in enumerate(self.calls):
            call_id = f"{len(self.given)}.{index}"
            yield {index: DeltaToolCall(tool, arguments, tool_call_id=call_id)}


def used(messages: list[ModelMessage]) -> RequestUsage:
    """Count what it is given."""
    return RequestUsage(input_tokens=tokens(messages), cost=PRICE)


def fail(_number: int) -> str:
    """Fail like a provider that is down."""
    raise ModelHTTPError(503, "small", body={"message": "no summaries today"})


def is_for_summary(info: AgentInfo) -> bool:
    return (info.instructions or "").startswith("You write the notes")


def tokens(messages: list[ModelMessage]) -> int:
    """Count as a provider would: four characters of whatever is sent are a token."""
    texts = [str(getattr(p, "content", "")) for message in messages for p in message.parts]
    return sum(map(len, texts)) // 4


def prompts_in(messages: list[ModelMessage]) -> list[str]:
    parts = (part for message in messages for part in message.parts)
    return [str(part.content) for part in parts if isinstance(part, UserPromptPart)]


def prompt_of(messages: list[ModelMessage]) -> str:
    return prompts_in(messages)[-1]


def summaries_in(messages: list[ModelMessage]) -> list[str]:
    return [
        part.content or ""
        for message in messages
        for part in message.parts
        if isinstance(part, CompactionPart)
    ]


def assert_valid(messages: list[ModelMessage]) -> None:
    """Hold what every provider demands: turns alternate, and each call is answered at once."""
    kinds = [message.kind for message in messages]
    assert kinds == ["request", "response"] * (len(kinds) // 2) + ["request"]
    for message, after in zip(messages, [*messages[1:], ModelRequest(parts=[])], strict=True):
        called = [p.tool_call_id for p in message.parts if isinstance(p, ToolCallPart)]
        answered = [p.tool_call_id for p in after.parts if isinstance(p, ToolReturnPart)]
        assert called == answered, "a call without its result, or a result without its call"
