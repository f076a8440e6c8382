"""Puts right what servers leave out of an answer or give twice, as a capability of every run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import RequestUsage, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse, ModelResponsePart, ToolCallPart
from pydantic_ai.models import ModelRequestContext

from orchestrator.compaction.window import context_tokens, tokens_of

GUESSED = "guessed"
"""In the details of a usage: 1 where its tokens are about right, and nobody has counted them."""


@dataclass
class Amends(AbstractCapability[Any]):
    """Counts what nobody has counted, and tells calls apart that have one id.

    Some servers say nothing of tokens where they stream an answer, llama-cpp-python's among them.
    What limits tokens would hold nobody there, and the record would say that nothing was used.
    Others give several calls of one answer the same id, which ends a run in Pydantic AI.
    Source: https://github.com/HKUDS/nanobot/pull/3943 (GLM, DeepSeek), issue 4473 there (Kimi).
    """

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: every run has it."""
        return None

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Return an answer that says what it has used, each of its calls by an id of its own."""
        if response.usage.unmeasured_requests:
            guess = RequestUsage(
                input_tokens=context_tokens(request_context.messages),
                output_tokens=tokens_of(response),
                details={GUESSED: 1},
            )
            ctx.usage.incr(guess)  # Pydantic AI has added it up as nothing
            response = replace(response, usage=guess)
        ids = [call.tool_call_id for call in response.tool_calls]
        if len({*ids}) == len(ids):
            return response
        return replace(response, parts=_told_apart(response.parts))


def _told_apart(parts: Sequence[ModelResponsePart]) -> list[ModelResponsePart]:
    """Return the parts of an answer; of calls with one id, the first keeps it."""
    taken = {part.tool_call_id for part in parts if isinstance(part, ToolCallPart)}
    seen: set[str] = set()
    told: list[ModelResponsePart] = []
    for part in parts:
        if isinstance(part, ToolCallPart) and part.tool_call_id in seen:
            numbered = (f"{part.tool_call_id}_{number}" for number in range(2, len(parts) + 2))
            part = replace(part, tool_call_id=next(new for new in numbered if new not in taken))
            taken.add(part.tool_call_id)
        elif isinstance(part, ToolCallPart):
            seen.add(part.tool_call_id)
        told.append(part)
    return told
