"""The model of an MCP host, as a model of Pydantic AI: no key is needed, the host's user pays.

Pydantic AI's own `MCPSamplingModel` writes the messages as the protocol has them; it knows no
tools, without which no agent works here. So the request is completed on its way.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast  # what Pydantic AI's own signatures say

import anyio
import mcp_types
from pydantic_ai import RunContext, UnexpectedModelBehavior, UserError
from pydantic_ai.messages import (
    FinishReason,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
)
from pydantic_ai.models import (
    CompletedStreamedResponse,
    Model,
    ModelRequestParameters,
    StreamedResponse,
)
from pydantic_ai.models.mcp_sampling import MCPSamplingModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from mcp_server.errors import UnavailableError
from mcp_server.ports import HostModel
from orchestrator.errors import ModelUnavailableError

CLIENT = "client"
"""The name by which `serve --model` knows it."""

_REASONS: dict[str, FinishReason] = {
    "endTurn": "stop",
    "stopSequence": "stop",
    "maxTokens": "length",
    "toolUse": "tool_call",
}


class ClientModel(Model[None]):
    """Asks the host that an agent is run for, by MCP sampling."""

    def __init__(self, host: HostModel) -> None:
        super().__init__()
        self._host = host

    @property
    def model_name(self) -> str:
        """The name: which model it is, the host decides with each answer."""
        return CLIENT

    @property
    def system(self) -> str:
        """The provider."""
        return "mcp"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the host's answer.

        Raises:
            UserError: It cannot be asked for this.
            ModelUnavailableError: The host refuses, fails, is gone or takes too long.
        """
        settings, parameters = self.prepare_request(model_settings, model_request_parameters)
        asking = _Asking(self._host, tools=[*_tools(parameters)])
        if asking.tools and not self._host.has_tools:
            raise UserError(
                "this host's sampling has no tools, and the agent works by calling tools. Let the "
                "server use a model of its own: '--model NAME', with the provider's key in its env."
            )
        if asking.tools and not parameters.allow_text_output:
            asking.choice = mcp_types.ToolChoice(mode="required")
        timeout_s = cast(float | None, (settings or {}).get("timeout"))
        try:
            with anyio.fail_after(timeout_s):
                await MCPSamplingModel(cast(Any, asking)).request(
                    _with_instructions_once(messages), settings, parameters
                )
        except TimeoutError:
            raise ModelUnavailableError(
                f"The host's model has not answered within {timeout_s:g} s "
                "(WORKYARD_MODEL_TIMEOUT_S). Does the host wait for somebody to allow it?"
            ) from None
        except UnavailableError as error:
            raise ModelUnavailableError(f"The host's model did not answer. {error}") from error
        except NotImplementedError as error:
            raise UserError(f"{error}; a host's model is given text alone.") from error
        return _response(asking.answer)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Give the whole answer at once: sampling does not stream."""
        response = await self.request(messages, model_settings, model_request_parameters)
        yield CompletedStreamedResponse(model_request_parameters, response)


@dataclass
class _Asking:
    """What `MCPSamplingModel` takes for a session: it completes the request, keeps the answer."""

    host: HostModel
    tools: Sequence[mcp_types.Tool]
    choice: mcp_types.ToolChoice | None = None
    answer: mcp_types.CreateMessageResultWithTools = field(init=False)

    async def create_message(
        self, messages: list[mcp_types.SamplingMessage], **said: Any
    ) -> mcp_types.CreateMessageResult:
        params = mcp_types.CreateMessageRequestParams(
            messages=messages, tools=[*self.tools] or None, tool_choice=self.choice, **said
        )
        self.answer = await self.host.ask(params)
        # It reads no calls; the answer as it came is read by whoever asked.
        nothing = mcp_types.TextContent(type="text", text="")
        return mcp_types.CreateMessageResult(
            role="assistant", content=nothing, model=self.answer.model
        )


def _tools(parameters: ModelRequestParameters) -> list[mcp_types.Tool]:
    offered: list[ToolDefinition] = [*parameters.function_tools, *parameters.output_tools]
    return [
        mcp_types.Tool(
            name=tool.name,
            description=tool.description,
            input_schema=tool.parameters_json_schema,
        )
        for tool in offered
    ]


def _with_instructions_once(messages: list[ModelMessage]) -> list[ModelMessage]:
    """Return the messages with the instructions of the last request alone.

    Each request keeps those that it was made with, and `MCPSamplingModel` would send them all.
    """
    *earlier, last = messages
    return [
        *(replace(m, instructions=None) if isinstance(m, ModelRequest) else m for m in earlier),
        last,
    ]


def _response(answer: mcp_types.CreateMessageResultWithTools) -> ModelResponse:
    blocks = answer.content if isinstance(answer.content, list) else [answer.content]
    parts: list[TextPart | ToolCallPart] = []
    for block in blocks:
        match block:
            case mcp_types.TextContent():
                parts.append(TextPart(block.text))
            case mcp_types.ToolUseContent():
                parts.append(ToolCallPart(block.name, block.input, tool_call_id=block.id))
            case _:
                raise UnexpectedModelBehavior(f"the host answered with {block.type}, not text")
    return ModelResponse(
        parts=parts,
        model_name=answer.model,
        provider_name="mcp",
        finish_reason=_REASONS.get(answer.stop_reason or ""),
    )
