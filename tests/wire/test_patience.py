"""A request that may go well the next time is made again, after as long as the provider says."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from pydantic_ai import Agent, AgentRunResultEvent, ModelSettings
from pydantic_ai.exceptions import (
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    ModelQuotaExceededError,
    ModelServerError,
)
from pydantic_ai.models import Model

from orchestrator.models.patience import (
    FIRST_WAIT_S,
    MAX_BACK_OFF_S,
    MAX_WAIT_S,
    PatientModel,
    wait_before_retry,
)
from tests.wire.conftest import Served
from tests.wire.models import MODELS, anthropic, openai_chat
from tests.wire.script import Drop, Fail, Hang, Say, always

Build = Callable[[str], Model]

ADAPTERS = ("openai-chat", "openai-responses", "anthropic", "google", "google-cloud")
EVERY_MODEL = pytest.mark.parametrize("build", [MODELS[name] for name in ADAPTERS], ids=ADAPTERS)
BOTH_WAYS = pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])


class Clock:
    """Notes how long it was to wait, and does not."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []

    async def sleep(self, wait_s: float) -> None:
        self.waits_s.append(wait_s)


async def ask(
    model: Model,
    clock: Clock,
    *,
    streamed: bool = False,
    settings: ModelSettings | None = None,
) -> str:
    patient = PatientModel(model, timeout_s=10, retries=2, sleep=clock.sleep)
    async with Agent(patient, model_settings=settings) as agent:
        if not streamed:
            return (await agent.run("hello")).output
        async with agent.run_stream_events("hello") as events:
            async for event in events:
                if isinstance(event, AgentRunResultEvent):
                    return str(event.result.output)
    raise AssertionError("the stream ended without a result")


def busy(status: int = 429, retry_after: float | str | None = None) -> Fail:
    return Fail(status, "Too fast.", retry_after=retry_after, client_retries=True)


@EVERY_MODEL
@BOTH_WAYS
async def test_provider_is_asked_again_after_as_long_as_it_says(
    served: Served, build: Build, *, streamed: bool
) -> None:
    wire, clock = served.play([busy(retry_after=7), busy(503, 30), Say("Now.")]), Clock()

    answer = await ask(build(served.base_url), clock, streamed=streamed)

    assert (answer, clock.waits_s, len(wire.requests)) == ("Now.", [7, 30], 3)


@EVERY_MODEL
async def test_wait_may_be_told_as_a_date(served: Served, build: Build) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    served.play([busy(retry_after=soon), Say("Now.")])
    clock = Clock()

    await ask(build(served.base_url), clock)

    assert 0 < clock.waits_s[0] <= 60


@EVERY_MODEL
async def test_without_a_word_from_the_provider_each_wait_is_longer(
    served: Served, build: Build
) -> None:
    served.play([busy(500), busy(503), Say("Now.")])
    clock = Clock()

    await ask(build(served.base_url), clock)

    first, second = clock.waits_s
    assert 0.75 * FIRST_WAIT_S <= first <= FIRST_WAIT_S < second <= 2 * FIRST_WAIT_S


def test_wait_of_our_own_has_an_end() -> None:
    wait_s = wait_before_retry(ModelServerError("m", "Out of memory."), 10_000)

    assert wait_s is not None
    assert wait_s <= MAX_BACK_OFF_S


@EVERY_MODEL
@BOTH_WAYS
async def test_last_attempt_fails_as_it_is(served: Served, build: Build, *, streamed: bool) -> None:
    wire, clock = served.play(always(busy(retry_after=1))), Clock()

    with pytest.raises(ModelHTTPError, match=r"Too fast\."):
        await ask(build(served.base_url), clock, streamed=streamed)

    assert (len(wire.requests), clock.waits_s) == (3, [1, 1])


@pytest.mark.parametrize("build", [openai_chat, anthropic])
async def test_who_asks_for_too_long_a_wait_is_not_waited_for(served: Served, build: Build) -> None:
    wire, clock = served.play([busy(retry_after=MAX_WAIT_S + 1)]), Clock()

    with pytest.raises(ModelHTTPError) as caught:
        await ask(build(served.base_url), clock)

    assert (len(wire.requests), clock.waits_s) == (1, [])
    assert caught.value.retry_after == MAX_WAIT_S + 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
async def test_what_will_not_go_better_is_not_tried_again(served: Served, status: int) -> None:
    wire, clock = served.play([busy(status)]), Clock()

    with pytest.raises(ModelHTTPError):
        await ask(anthropic(served.base_url), clock)

    assert len(wire.requests) == 1


async def test_provider_may_say_itself_whether_to_try_again(served: Served) -> None:
    wire = served.play([Fail(500, "Never.")])  # its answer has `x-should-retry: false`

    with pytest.raises(ModelHTTPError):
        await ask(openai_chat(served.base_url), Clock())

    assert len(wire.requests) == 1


def test_quota_that_is_used_up_does_not_come_back() -> None:
    assert wait_before_retry(ModelQuotaExceededError("m", "Pay first."), 0) is None


@BOTH_WAYS
async def test_silent_provider_is_asked_again(served: Served, *, streamed: bool) -> None:
    wire = served.play(lambda received: Hang() if received.number == 1 else Say("Now."))

    answer = await ask(
        openai_chat(served.base_url), Clock(), streamed=streamed, settings={"timeout": 0.5}
    )

    assert answer == "Now."
    assert len(wire.requests) > 1


async def test_answer_that_has_begun_is_not_asked_for_again(served: Served) -> None:
    wire = served.play([Drop(), Say("Now.")])

    with pytest.raises(ModelConnectionError):
        await ask(openai_chat(served.base_url), Clock(), streamed=True)

    assert len(wire.requests) == 1


async def test_settings_of_an_agent_count_before_those_of_the_provider(served: Served) -> None:
    wire = served.play(always(busy(retry_after=1)))
    clock = Clock()

    with pytest.raises(ModelAPIError):
        await ask(openai_chat(served.base_url), clock, settings={"max_retries": 4})
    with pytest.raises(ModelAPIError):
        await ask(openai_chat(served.base_url), clock, settings={"max_retries": 0})

    assert len(wire.requests) == 5 + 1
