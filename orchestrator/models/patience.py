"""A model that tries again what may go well the next time, and waits as long as it is told to.

The clients of providers differ in that: Google's knows no `Retry-After` and by default tries once,
Anthropic's waits for hours if a server says so. Pydantic AI reads from each provider how long it
asks to wait (seconds, milliseconds, an HTTP date, Google's `RetryInfo`), so that is done here for
all alike, and their own retries are switched off.
"""

import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar  # `Any`: what Pydantic AI's own signatures say

import anyio
from pydantic_ai import RunContext
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelRateLimitError,
    ModelServerError,
    ModelUnavailableError,
)
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings

from orchestrator.models.too_long import too_long_named

MAX_WAIT_S = 120.0
"""Who asks for a longer wait is not waited for: that is for the caller to decide."""

FIRST_WAIT_S = 0.5
MAX_BACK_OFF_S = 8.0
"""Where a provider says nothing; OpenAI's and Anthropic's own clients have the same."""

_PASSING = (ModelRateLimitError, ModelServerError, ModelUnavailableError, ModelConnectionError)
_PASSING_STATUSES = (408, 409)

Sleep = Callable[[float], Awaitable[object]]
_Answer = TypeVar("_Answer")

_log = logging.getLogger(__name__)


class PatientModel(WrapperModel):
    """Asks another model, again if need be.

    A stream is opened again, but what has begun to answer is not asked a second time. The settings
    `timeout` and `max_retries` of an agent or a request count before those given here.
    """

    def __init__(
        self, wrapped: Model, *, timeout_s: float, retries: int, sleep: Sleep = anyio.sleep
    ) -> None:
        super().__init__(wrapped)
        self._timeout_s = timeout_s
        self._retries = retries
        self._sleep = sleep

    @property
    def settings(self) -> ModelSettings | None:
        """What counts where neither agent nor request say otherwise."""
        return merge_model_settings({"timeout": self._timeout_s}, self.wrapped.settings)

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Return the answer to the first attempt that gets one.

        Raises:
            ModelAPIError: That of the last attempt.
        """
        retries, settings = self._split(model_settings)
        with too_long_named():
            return await self._until_answered(
                retries, lambda: self.wrapped.request(messages, settings, model_request_parameters)
            )

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Open the stream of the first attempt that gets one; see `request`."""
        retries, settings = self._split(model_settings)
        async with AsyncExitStack() as stack:
            stack.enter_context(too_long_named())
            yield await self._until_answered(
                retries,
                lambda: stack.enter_async_context(
                    self.wrapped.request_stream(
                        messages, settings, model_request_parameters, run_context
                    )
                ),
            )

    def _split(self, given: ModelSettings | None) -> tuple[int, ModelSettings]:
        """Return how often to try again, and the settings for one attempt."""
        merged = merge_model_settings(self.settings, given) or {}
        retries = merged.get("max_retries", self._retries)
        # A class that knows no such setting has no retries to switch off, and would warn.
        if "max_retries" in self.wrapped.unsupported_settings:
            return retries, merged
        return retries, {**merged, "max_retries": 0}

    async def _until_answered(
        self, retries: int, attempt: Callable[[], Awaitable[_Answer]]
    ) -> _Answer:
        for done in range(retries):
            try:
                return await attempt()
            except ModelAPIError as error:
                wait_s = wait_before_retry(error, done)
                if wait_s is None:
                    raise
                _log.info("model %s: trying again in %.1f s", self.model_name, wait_s)
            await self._sleep(wait_s)
        return await attempt()


def wait_before_retry(error: ModelAPIError, done: int) -> float | None:
    """Return how long to wait until a request is tried again, in seconds; None if it is not.

    Args:
        error: What came instead of an answer.
        done: How many retries there were before.
    """
    status = error.status_code if isinstance(error, ModelHTTPError) else None
    headers = (error.headers or {}) if isinstance(error, ModelHTTPError) else {}
    told = headers.get("x-should-retry")  # OpenAI and Anthropic know better than the status says
    passing = isinstance(error, _PASSING) or status in _PASSING_STATUSES
    if told == "false" or not (passing or told == "true"):
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= MAX_WAIT_S else None
    back_off_s = min(FIRST_WAIT_S * 2.0 ** min(done, 10), MAX_BACK_OFF_S)
    return back_off_s * (1 - 0.25 * random.random())  # not all at the same moment
