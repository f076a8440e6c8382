"""A model that gives the answers of a recorded run, in their order."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any  # as in the base class, and what JSON holds

from pydantic_ai import RunContext
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponsePart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import (
    CompletedStreamedResponse,
    Model,
    ModelRequestParameters,
    StreamedResponse,
)
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings

from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus
from orchestrator.store.recorded_run import RecordedRun

_NAMES_OF_PATHS = {"source", "destination", "from", "to", "src", "dst", "directory"}
"""Arguments of tools that hold paths, beside those that say so in their name. In a glob no absolute
path is taken for one below the root."""


class RecordEndsError(Exception):
    """The model has no further answer: the recorded run ended here, or went another way."""


class PlayedModel(Model[None]):
    """Gives the answers of a recorded run as long as it is asked as that run's model was.

    An answer is a new one to Pydantic AI and to the journal of the workspace: it belongs to the run
    that is under way, so none of its calls is taken for the recorded one and answered from there.
    """

    def __init__(self, recorded: RecordedRun, root: Path) -> None:
        """Prepare to play a run.

        Args:
            recorded: The run.
            root: Where its tools work now: absolute paths in arguments are moved there.
        """
        super().__init__(profile=ModelProfile(supports_inline_system_prompts=True))
        self._recorded = recorded
        self._roots = recorded.root, str(root)
        self.run_id = new_id()
        """The run that its answers belong to now."""
        self.asked = 0
        """How many answers it has given."""
        self.problem: str | None = None
        """How the run went another way than the recorded one, if it did."""

    @property
    def model_name(self) -> str:
        """The name that the record has."""
        return self._recorded.model

    @property
    def system(self) -> str:
        """The provider: this project itself."""
        return "workyard"

    @property
    def has_ended_as_then(self) -> bool:
        """Whether all answers are given, and the recorded run came to no good end after them."""
        recorded = self._recorded
        return self.asked == len(recorded.steps) and recorded.status is not RunStatus.SUCCEEDED

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the next answer on record.

        Raises:
            RecordEndsError: If there is none, or the model is asked something else than then.
        """
        steps = self._recorded.steps
        if self.asked == len(steps):
            if not self.has_ended_as_then:
                self.problem = "The agent asks its model once more than the recorded run did."
            raise RecordEndsError
        step = steps[self.asked]
        now, then = _shape(messages[-1]), _shape(step.asked)
        if self.asked and now != then:
            self.problem = (
                f"Before answer {self.asked + 1} the model is given {_words(now)}; "
                f"in the recorded run it was given {_words(then)}."
            )
            raise RecordEndsError
        self.asked += 1
        parts = [_moved_part(part, *self._roots) for part in step.answer.parts]
        return replace(step.answer, parts=parts, run_id=self.run_id, conversation_id=None)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Give the same as `request`, as a stream."""
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        response = await self.request(messages, model_settings, parameters)
        yield CompletedStreamedResponse(
            response, model_request_parameters=parameters, replay_events=True
        )


def _shape(message: ModelMessage) -> list[tuple[str, str]]:
    """Return what kinds of things a request holds, and which calls it answers."""
    return sorted(
        (part.part_kind, part.tool_call_id if isinstance(part, ToolReturnPart) else "")
        for part in message.parts
    )


def _words(shape: Sequence[tuple[str, str]]) -> str:
    return ", ".join(f"{kind} {call_id}".rstrip() for kind, call_id in shape) or "nothing"


def _moved_part(part: ModelResponsePart, old: str, new: str) -> ModelResponsePart:
    """Return a part with the paths in a call's arguments that lie under one root under another."""
    if not isinstance(part, ToolCallPart) or old == new:
        return part
    arguments = part.args_as_dict()
    there = _moved(arguments, "", old, new)
    return part if there == arguments else replace(part, args=there)


def _moved(value: Any, name: str, old: str, new: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _moved(each, str(key), old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, name, old, new) for each in value]
    is_path = "path" in name.lower() or name.lower() in _NAMES_OF_PATHS
    if is_path and isinstance(value, str) and (value == old or value.startswith(f"{old}/")):
        return new + value.removeprefix(old)
    return value
