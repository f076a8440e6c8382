"""Which exception comes out of Pydantic AI for each way a provider can fail.

Our own translator at the edge is built on these classes, so a new release that changes one must
be noticed here.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from pydantic_ai import Agent, AgentRunResult, AgentRunResultEvent, ModelSettings
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
)
from pydantic_ai.models import Model

from tests.wire.conftest import Served
from tests.wire.models import MODELS
from tests.wire.script import Drop, Fail, Hang, Say, Stop, always

Build = Callable[[str], Model]

ADAPTERS = ("openai-chat", "openai-responses", "anthropic", "google", "google-cloud")
"""One model for each translation inside Pydantic AI: Ollama's is that of openai-chat."""
EVERY_MODEL = pytest.mark.parametrize("build", [MODELS[name] for name in ADAPTERS], ids=ADAPTERS)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
CATEGORIES = (
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelOverloadedError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
)
ONCE = ModelSettings(max_retries=0, max_tokens=1000)
"""Anthropic's adapter streams even a plain `run` unless the answer is kept short."""
TIMEOUT_S = 0.05


@dataclass(frozen=True)
class Failure:
    """What a run died of, and every documented class it is an instance of."""

    error: ModelAPIError
    classes: set[type[ModelAPIError]]


async def fail(model: Model, settings: ModelSettings = ONCE, *, streamed: bool = False) -> Failure:
    async with Agent(model, model_settings=settings) as agent:
        return await failure_of(agent, streamed=streamed)


async def failure_of(agent: Agent, *, streamed: bool) -> Failure:
    with pytest.raises(ModelAPIError) as caught:
        await (run_streamed(agent) if streamed else agent.run("hello"))
    error = caught.value
    return Failure(error, {category for category in CATEGORIES if isinstance(error, category)})


async def run_streamed(agent: Agent) -> AgentRunResult[str]:
    async with agent.run_stream_events("hello") as events:
        async for event in events:
            if isinstance(event, AgentRunResultEvent):
                return event.result
    raise AssertionError("the stream ended without a result")


STATUSES: dict[int, set[type[ModelAPIError]]] = {
    400: {ModelHTTPError, ModelRequestRejectedError},
    401: {ModelHTTPError, ModelRequestRejectedError, ModelAuthenticationError},
    403: {ModelHTTPError, ModelRequestRejectedError, ModelAuthenticationError},
    404: {ModelHTTPError, ModelRequestRejectedError, ModelNotFoundError},
    413: {ModelHTTPError},
    429: {ModelHTTPError, ModelRateLimitError},
    500: {ModelHTTPError, ModelServerError},
    503: {ModelHTTPError, ModelUnavailableError},
    529: {ModelHTTPError, ModelUnavailableError, ModelOverloadedError},
}


@EVERY_MODEL
@BOTH_WAYS
async def test_error_status_has_its_category(
    served: Served, build: Build, *, streamed: bool
) -> None:
    wire = served.play([Fail(status, f"No: {status}.") for status in STATUSES])
    observed = {}

    async with Agent(build(served.base_url), model_settings=ONCE) as agent:
        for status in STATUSES:
            failure = await failure_of(agent, streamed=streamed)
            assert isinstance(failure.error, ModelHTTPError)
            assert failure.error.status_code == status
            assert f"No: {status}." in str(failure.error)
            observed[status] = failure.classes

    assert observed == STATUSES
    assert {request.streamed for request in wire.requests} == {streamed}


@EVERY_MODEL
@BOTH_WAYS
async def test_rate_limit_tells_how_long_to_wait(
    served: Served, build: Build, *, streamed: bool
) -> None:
    served.play([Fail(429, "Too fast.", retry_after=7)])

    failure = await fail(build(served.base_url), streamed=streamed)

    assert failure.error.retry_after == 7


QUOTA = {ModelHTTPError, ModelQuotaExceededError}
AUTHENTICATION = {ModelHTTPError, ModelRequestRejectedError, ModelAuthenticationError}
TOO_LONG = {ModelHTTPError, ModelRequestRejectedError, ModelContextWindowExceededError}
WORDED: list[tuple[str, Fail, set[type[ModelAPIError]]]] = [
    ("openai-chat", Fail(429, "Pay first.", code="insufficient_quota"), QUOTA),
    ("openai-responses", Fail(429, "Pay first.", code="insufficient_quota"), QUOTA),
    ("openai-chat", Fail(400, "Too long.", code="context_length_exceeded"), TOO_LONG),
    ("anthropic", Fail(402, "Pay first.", code="billing_error"), QUOTA),
    ("anthropic", Fail(400, "prompt is too long: 250000 tokens"), TOO_LONG),
    ("google", Fail(400, "API key not valid.", code="API_KEY_INVALID"), AUTHENTICATION),
    ("google", Fail(400, "The input token count (9) exceeds the maximum"), TOO_LONG),
]


@pytest.mark.parametrize(("name", "answer", "classes"), WORDED)
async def test_what_the_provider_says_outweighs_the_status(
    served: Served, name: str, answer: Fail, classes: set[type[ModelAPIError]]
) -> None:
    served.play([answer])

    assert (await fail(MODELS[name](served.base_url))).classes == classes


@EVERY_MODEL
async def test_error_inside_a_stream_is_no_different(served: Served, build: Build) -> None:
    """A provider that has answered 200 already can only tell of a fault in the stream."""
    served.play([Fail(500, "Out of memory.", after="Once upon a time there was")])

    failure = await fail(build(served.base_url), streamed=True)

    assert failure.classes == {ModelHTTPError, ModelServerError}
    assert failure.error.in_stream


@EVERY_MODEL
@BOTH_WAYS
async def test_dropped_connection_is_a_connection_error(
    served: Served, build: Build, *, streamed: bool
) -> None:
    served.play([Drop()])

    failure = await fail(build(served.base_url), streamed=streamed)

    assert failure.classes == {ModelConnectionError}
    assert isinstance(failure.error, ModelConnectionError)
    assert failure.error.phase == "read"


@EVERY_MODEL
async def test_half_a_body_has_no_category(served: Served, build: Build) -> None:
    served.play([Stop()])

    failure = await fail(build(served.base_url))

    assert failure.classes == set()
    assert "Failed to decode response as JSON" in str(failure.error)


@EVERY_MODEL
async def test_half_a_stream_passes_for_a_result(served: Served, build: Build) -> None:
    """No error at all: what tells is that the provider gave no reason for its end."""
    served.play([Stop("Once upon a time"), Say("Once upon a time")])

    async with Agent(build(served.base_url)) as agent:
        half, full = await run_streamed(agent), await run_streamed(agent)

    assert full.output.startswith(half.output)
    assert half.response.state == "complete"
    assert "finish_reason" not in (half.response.provider_details or {})
    assert "finish_reason" in (full.response.provider_details or {})


@EVERY_MODEL
@BOTH_WAYS
async def test_silent_provider_is_a_timeout_error(
    served: Served, build: Build, *, streamed: bool
) -> None:
    """`timeout` is the client's own, for one attempt."""
    served.play([Hang()])

    failure = await fail(build(served.base_url), {**ONCE, "timeout": TIMEOUT_S}, streamed=streamed)

    assert failure.classes == {ModelConnectionError, ModelTimeoutError}


@EVERY_MODEL
async def test_request_timeout_is_a_class_of_its_own(served: Served, build: Build) -> None:
    """`request_timeout` is Pydantic AI's, over all attempts; no `ModelTimeoutError` at all."""
    served.play([Hang()])

    failure = await fail(build(served.base_url), {"request_timeout": TIMEOUT_S})

    assert failure.classes == {ModelRequestTimeout}


@EVERY_MODEL
async def test_first_event_timeout_is_the_same_class(served: Served, build: Build) -> None:
    served.play([Hang()])

    failure = await fail(build(served.base_url), {"first_event_timeout": TIMEOUT_S}, streamed=True)

    assert failure.classes == {ModelRequestTimeout}


@EVERY_MODEL
async def test_nobody_listening_is_a_connection_error(build: Build) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    failure = await fail(build(f"http://127.0.0.1:{port}"))

    assert failure.classes == {ModelConnectionError}
    assert isinstance(failure.error, ModelConnectionError)
    assert failure.error.phase == "connect"


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "ollama", "anthropic"])
async def test_openai_and_anthropic_clients_try_three_times(served: Served, name: str) -> None:
    """Without a `Retry-After` they wait about 0.5 s and 1 s in between."""
    failed = Fail(429, "Too fast.", retry_after=0.01, client_retries=True)
    wire = served.play([failed, failed, Say("Now."), Say("Too late.")])

    async with Agent(MODELS[name](served.base_url)) as agent:
        result = await agent.run("hello")

    assert result.output == "Now."
    assert len(wire.requests) == 3


@pytest.mark.parametrize("name", ["google", "google-cloud", "google-cloud-key"])
async def test_google_client_tries_once(served: Served, name: str) -> None:
    wire = served.play(always(Fail(429, "Too fast.", client_retries=True)))

    await fail(MODELS[name](served.base_url), ModelSettings())

    assert len(wire.requests) == 1


@EVERY_MODEL
async def test_max_retries_zero_switches_client_retries_off(served: Served, build: Build) -> None:
    wire = served.play(always(Fail(500, "Out of memory.", client_retries=True)))

    await fail(build(served.base_url), ONCE)

    assert len(wire.requests) == 1
