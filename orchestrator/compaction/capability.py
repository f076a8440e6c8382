"""The capability that keeps a run's history within its model's window."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, Protocol, cast, runtime_checkable  # Any: deps of any type

from pydantic_ai import RunContext
from pydantic_ai.capabilities import AbstractCapability, CapabilityOrdering
from pydantic_ai.exceptions import ModelContextWindowExceededError, RetryModelRequest
from pydantic_ai.messages import (
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.settings import ModelSettings

from orchestrator.compaction.summary import SummaryError, summarize
from orchestrator.compaction.window import AT, context_tokens, cut, tokens_of
from orchestrator.models.too_long import window_told

_log = logging.getLogger(__name__)

UNKNOWN_WINDOW_TOKENS = 128_000
"""What a model is taken to have if nobody knows; one that has less says so when it is too much."""

MIN_WINDOW_TOKENS = 1000

MIN_GAIN = 0.25
"""How much of a history must go for a summary to be worth its request."""

REASON = "workyard.compaction.reason"
BEFORE = "workyard.compaction.tokens_before"
AFTER = "workyard.compaction.tokens_after"
"""In the metadata of a summary's part, for the record; a provider does not get it."""

Reason = Literal["near_limit", "over_limit"]


@runtime_checkable
class Limited(Protocol):
    """A capability that limits what a run may use."""

    def allows(self, ctx: RunContext[Any], model: Model, *, requests: int) -> bool:
        """Say whether so many more requests may be made."""
        ...


@dataclass
class Compaction(AbstractCapability[Any]):
    """Puts a summary in the place of a conversation's older part before it is too long for a model.

    That happens when a request would take `at` of the model's context window, or when a provider
    says that it got more than the model can take. What makes up `keep` of the window at the end
    stays word for word, calls always with their results, and so does the prompt of the run. The
    run's own model writes the summary. If it fails, the conversation stays as it is.
    """

    at: float = 0.75
    keep: float = 0.2
    context_window: int | None = None
    """In tokens, where a model's own is not known or is more than one may use."""

    def __post_init__(self) -> None:
        _check_fractions(self.at, self.keep)
        _check_window(self.context_window)

    def get_ordering(self) -> CapabilityOrdering:
        """Come before whatever else looks at a request: a budget must see the summary's cost."""
        return CapabilityOrdering(position="outermost")

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Shorten the history if it has come near to what the model can take."""
        window = self._window_of(request_context.model)
        if context_tokens(ctx.messages) < window * self.at:
            return request_context
        if not await self._shorten(ctx, request_context, window, "near_limit"):
            return request_context
        return replace(request_context, messages=list(ctx.messages))

    async def on_model_request_error(
        self, ctx: RunContext[Any], *, request_context: ModelRequestContext, error: Exception
    ) -> ModelResponse:
        """Shorten a history that was too long, and ask again, once.

        Raises:
            RetryModelRequest: To ask again.
            Exception: The error, if it is another one or nothing can be done about it.
        """
        if not isinstance(error, ModelContextWindowExceededError) or request_context.attempt > 1:
            raise error
        # What the model can take is less than what it got, whatever its makers say.
        size = window_told(error) or context_tokens(ctx.messages)
        window = min(self._window_of(request_context.model), max(size, MIN_WINDOW_TOKENS))
        if await self._shorten(ctx, request_context, window, "over_limit"):
            raise RetryModelRequest from error
        raise error

    async def prepare_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """Send the shortened history when a request is made again."""
        if request_context.attempt == 1:
            return request_context
        return replace(request_context, messages=list(ctx.messages))

    def _window_of(self, model: Model) -> int:
        return self.context_window or model.context_window or UNKNOWN_WINDOW_TOKENS

    async def _shorten(
        self,
        ctx: RunContext[Any],
        request_context: ModelRequestContext,
        window: int,
        reason: Reason,
    ) -> bool:
        """Replace the older part of the run's history by a summary, if that is possible."""
        messages = list(ctx.messages)
        index = cut(messages, int(window * self.keep))
        prompt = _prompt_to_keep(messages, index)
        if not _is_worth_it(messages, index, prompt) or not _is_allowed(ctx, request_context.model):
            return False
        try:
            summary = await summarize(
                messages[:index],
                ctx,
                request_context.model,
                max_tokens=window // 2,
                settings=_settings(request_context),
            )
        except SummaryError as error:
            _log.warning("A conversation could not be summarized: %s", error)
            return False
        head = _head(prompt, summary, reason, messages, messages[index:])
        ctx.messages[:] = [head, *messages[index:]]
        return True


def _prompt_to_keep(messages: Sequence[ModelMessage], index: int) -> Sequence[UserPromptPart]:
    """Return the prompt that is being answered, if it stands before `index`."""
    for at in range(len(messages) - 1, -1, -1):
        found = [part for part in messages[at].parts if isinstance(part, UserPromptPart)]
        if found:
            return found if at < index else ()
    return ()


def _is_worth_it(
    messages: Sequence[ModelMessage], index: int, prompt: Sequence[UserPromptPart]
) -> bool:
    stays = tokens_of(ModelRequest(parts=list(prompt)))
    gain = sum(map(tokens_of, messages[:index])) - stays
    return gain > 0 and gain >= MIN_GAIN * sum(map(tokens_of, messages))


def _is_allowed(ctx: RunContext[Any], model: Model) -> bool:
    """Say whether the budgets have room for the summary and for the request that it is for."""
    limits = [one for one in ctx.capabilities.values() if isinstance(one, Limited)]
    return all(one.allows(ctx, model, requests=2) for one in limits)


def _settings(request_context: ModelRequestContext) -> ModelSettings:
    """Return how long to wait for the model: an agent's other settings are not for summaries."""
    timeout = (request_context.model_settings or {}).get("timeout")
    return cast(ModelSettings, {} if timeout is None else {"timeout": timeout})


def _head(
    prompt: Sequence[UserPromptPart],
    summary: str,
    reason: Reason,
    before: Sequence[ModelMessage],
    kept: Sequence[ModelMessage],
) -> ModelRequest:
    now = datetime.now(UTC)
    facts: dict[str, Any] = {AT: now.isoformat(), REASON: reason, BEFORE: context_tokens(before)}
    notes = CompactionPart(content=summary, metadata=facts)
    head = ModelRequest(parts=[*prompt, notes], timestamp=now)
    facts[AFTER] = context_tokens([head, *kept])
    return head


def _check_window(window: object) -> None:
    if window is None:
        return
    if isinstance(window, bool) or not isinstance(window, int) or window < MIN_WINDOW_TOKENS:
        raise ValueError(
            f"context_window must be a number of tokens, at least {MIN_WINDOW_TOKENS}, "
            f"not {window!r}"
        )


def _check_fractions(at: float, keep: float) -> None:
    given: dict[str, object] = {"at": at, "keep": keep}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1:
            raise ValueError(f"{name} must be a number between 0 and 1, not {value!r}")
    if keep > at / 2:
        raise ValueError(f"keep must be at most half of at, not {keep!r} of {at!r}")
