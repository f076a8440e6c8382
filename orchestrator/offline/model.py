"""The Pydantic AI side: from the messages of a turn to the next tool calls, or to the answer."""

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from anyio.lowlevel import checkpoint
from pydantic_ai import RunContext, UserError
from pydantic_ai.messages import (
    ModelMessage,
    ModelResponse,
    ModelResponseStreamEvent,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.profiles import ModelProfile
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from orchestrator.offline.turn import TOOLS, Turn, respond


class OfflineModel(Model[None]):
    """Answer from the workspace without a language model: search, read, quote.

    A response is a function of the messages and the offered tools alone; only its timestamp is the
    clock's. Tool call ids are `offline-<response>-<call>`, counted over the conversation. It costs
    nothing and counts no tokens, and says so in the usage, so that limits stay enforceable.
    """

    def __init__(self) -> None:
        # Otherwise a mid-conversation system prompt would arrive as if the user had typed it.
        super().__init__(profile=ModelProfile(supports_inline_system_prompts=True))

    @property
    def model_name(self) -> str:
        """The name that `--model` knows it by."""
        return "offline"

    @property
    def system(self) -> str:
        """The provider: this project itself."""
        return "workyard"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the next tool calls, or the answer.

        Raises:
            UserError: the agent wants its answer in a schema, which takes a language model to fill.
        """
        _, parameters = self.prepare_request(model_settings, model_request_parameters)
        if not parameters.allow_text_output or parameters.output_object is not None:
            raise UserError(
                "The offline model answers in text and cannot fill an output schema. "
                "Configure a language model for this agent, or take its output type away."
            )
        offered = {tool.name for tool in parameters.declared_function_tools} & {*TOOLS}
        calls, text = respond(Turn.of(messages), offered)
        number = sum(isinstance(message, ModelResponse) for message in messages) + 1
        return ModelResponse(
            parts=[
                ToolCallPart(tool, arguments, tool_call_id=f"offline-{number}-{index}")
                for index, (tool, arguments) in enumerate(calls, 1)
            ]
            or [TextPart(text)],
            model_name=self.model_name,
            provider_name=self.system,
            usage=_nothing_used(),
            finish_reason="tool_call" if calls else "stop",
        )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,  # Any: as in the base class
    ) -> AsyncGenerator[StreamedResponse]:
        """Give the same response as `request`, its text word by word."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield _StreamedAnswer(model_request_parameters=model_request_parameters, response=response)

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """Count none, so that `count_tokens_before_request` works here as anywhere."""
        return _nothing_used()


def _nothing_used() -> RequestUsage:
    """Return a usage with a known cost: without one, a cost limit warns that it is not kept."""
    return RequestUsage(cost=Decimal(0))


@dataclass
class _StreamedAnswer(StreamedResponse):
    """A response that was made at once, given out piece by piece."""

    response: ModelResponse
    is_closed: bool = False

    def __post_init__(self) -> None:
        self._usage = self.response.usage
        self.finish_reason = self.response.finish_reason

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        for index, part in enumerate(self.response.parts):
            if not isinstance(part, TextPart):
                yield self._parts_manager.handle_part(vendor_part_id=index, part=part)
                continue
            for word in re.findall(r"\s*\S+\s*", part.content):
                await checkpoint()
                if self.is_closed:
                    return
                for event in self._parts_manager.handle_text_delta(
                    vendor_part_id=index, content=word
                ):
                    yield event

    async def close_stream(self) -> None:
        """Say no more: whoever cancels a response asks for this, through wrappers too."""
        self.is_closed = True

    @property
    def model_name(self) -> str:
        return self.response.model_name or ""

    @property
    def provider_name(self) -> str | None:
        return self.response.provider_name

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.response.timestamp
