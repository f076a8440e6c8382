"""A scripted model that says what it has used, as providers do, instead of guessing."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any  # deps of any type

from pydantic_ai import RunContext
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import ModelRequestParameters, StreamedResponse
from pydantic_ai.models.function import FunctionModel, StreamFunctionDef
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage


class Counting(FunctionModel):
    """Its parent says 50 tokens, whatever it is given."""

    def __init__(
        self,
        used: Callable[[list[ModelMessage]], RequestUsage],
        answer: StreamFunctionDef,
        *,
        name: str,
        profile: ModelProfile | None = None,
    ) -> None:
        super().__init__(stream_function=answer, model_name=name, profile=profile)
        self._used = used

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        asked = super().request_stream(
            messages, model_settings, model_request_parameters, run_context
        )
        async with asked as response:
            response._usage = self._used(messages)
            yield response
