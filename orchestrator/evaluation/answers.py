"""Answers of a model that are in a file, so that a case costs nothing and is the same each time.

The file is what `workyard sessions export ID --form messages` prints: the messages of a session
with one run.
"""

from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelRequest,
    ModelResponse,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from orchestrator.errors import InvalidInputError, ModelUnavailableError
from orchestrator.lifecycle import RunStatus
from orchestrator.replay.played import PlayedModel, RecordEndsError
from orchestrator.store.recorded_run import RecordedRun, RecordedStep

MAX_ANSWERS_BYTES = 10_000_000


class RecordedAnswers(PlayedModel):
    """Gives the answers of a file, as long as it is asked what they are answers to."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the next answer, as one of the run that is under way.

        Raises:
            ModelUnavailableError: If there is none, or it is asked something else than then.
        """
        try:
            answer = await super().request(messages, model_settings, model_request_parameters)
        except RecordEndsError:
            text = f"The recorded answers do not fit: {self.problem} Record them anew."
            raise ModelUnavailableError(text) from None
        # Nothing is used by it; then it was.
        return replace(answer, usage=RequestUsage(cost=Decimal(0)), run_id=None)


def answers_in(directory: Path, case: str, root: Path) -> RecordedAnswers:
    """Return the model of a case.

    Raises:
        InvalidInputError: If its file is not there, or holds no answers.
    """
    file = directory / f"{case}.json"
    if file.parent != directory or "\0" in case:
        raise InvalidInputError(f"The case {case!r} cannot have a file: its name is none.")
    try:
        with file.open("rb") as stream:
            messages = ModelMessagesTypeAdapter.validate_json(stream.read(MAX_ANSWERS_BYTES))
    except OSError as error:
        raise InvalidInputError(
            f"The recorded answers of case {case!r}, {str(file)!r}, cannot be read: "
            f"{error.strerror}. 'workyard sessions export ID --form messages' writes them."
        ) from None
    except ValidationError:
        raise InvalidInputError(f"{str(file)!r} holds no messages of Pydantic AI.") from None
    return RecordedAnswers(_as_run(messages, root), root)


def _as_run(messages: list[ModelMessage], root: Path) -> RecordedRun:
    steps = [
        RecordedStep(seq=at + 1, asked=asked, answer=answer)
        for at, (asked, answer) in enumerate(pairwise(messages), 1)
        if isinstance(asked, ModelRequest) and isinstance(answer, ModelResponse)
    ]
    return RecordedRun(
        id="",
        session_id="",
        root=str(root),
        agent="",
        model="recorded",
        spec_sha256="",
        prompt="",
        inputs={},
        status=RunStatus.SUCCEEDED,
        first_message_seq=1,
        steps=steps,
    )
