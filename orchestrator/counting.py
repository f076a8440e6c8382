"""Counts what a server leaves uncounted, as a capability of the agent that runs.

Some servers say nothing of tokens where they stream an answer, llama-cpp-python's among them. What
limits tokens would hold nobody there, and the record would say that nothing was used.
"""

from dataclasses import dataclass, replace
from typing import Any  # a capability serves agents with deps of any type

from pydantic_ai import RequestUsage, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import ModelRequestContext

from orchestrator.compaction.window import context_tokens, tokens_of

GUESSED = "guessed"
"""In the details of a usage: 1 where its tokens are about right, and nobody has counted them."""


@dataclass
class Counting(AbstractCapability[Any]):
    """Takes a guess for what an answer has used whose server does not say it."""

    @classmethod
    def get_serialization_name(cls) -> str | None:
        """Keep it out of specs: every run has it."""
        return None

    async def after_model_request(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, response: ModelResponse
    ) -> ModelResponse:
        """Count an answer that nobody has counted; Pydantic AI has added it up as nothing."""
        if not response.usage.unmeasured_requests:
            return response
        guess = RequestUsage(
            input_tokens=context_tokens(request_context.messages),
            output_tokens=tokens_of(response),
            details={GUESSED: 1},
        )
        ctx.usage.incr(guess)
        return replace(response, usage=guess)
