"""A model that plays a script, and the record of what it was run for."""

from collections.abc import AsyncIterator, Awaitable, Callable

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.events import (
    RecordedEvent,
)

Call = tuple[str, str]
"""A tool's name and its arguments as JSON."""
Step = list[Call] | str | Callable[[], Awaitable[None]]


def playing(*steps: Step) -> Model:
    """Return a streaming model that takes a step a request: calls, text, or something to await."""

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        kinds = [{part.part_kind for part in message.parts} for message in messages]
        prompts = [index for index, found in enumerate(kinds) if "user-prompt" in found]
        present = messages[prompts[-1] :]
        step = steps[sum(isinstance(m, ModelResponse) for m in present)]
        if isinstance(step, str):
            for word in step.split(" "):
                yield word + " "
        elif isinstance(step, list):
            for index, (tool, arguments) in enumerate(step):
                call_id = f"{len(messages)}.{index}"
                yield {index: DeltaToolCall(tool, arguments, tool_call_id=call_id)}
        else:
            yield "So "
            await step()

    return FunctionModel(stream_function=stream, model_name="played")


async def record_of(yard: Orchestrator, session_id: str) -> list[RecordedEvent]:
    return [event async for event in yard.sessions.all_events(session_id)]


READ = ("read_file", '{"path": "README.md"}')
MISSING = ("read_file", '{"path": "nope.md"}')
