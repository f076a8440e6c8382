"""A run with a tool call, through every provider class and back."""

from collections.abc import Callable

import pytest
from pydantic_ai import (
    Agent,
    AgentRunResult,
    AgentRunResultEvent,
    ModelSettings,
    PartDeltaEvent,
    ToolCallPartDelta,
)
from pydantic_ai.messages import AgentStreamEvent
from pydantic_ai.models import Model

from tests.wire.conftest import Served
from tests.wire.models import KEY, MODELS
from tests.wire.script import Call, Say, always, turn

Build = Callable[[str], Model]

SUM = [
    turn(Say("Let me add them up."), Call("add", {"a": 1, "b": 2}), input_tokens=100),
    turn(Say("The two make three in all."), input_tokens=200, output_tokens=20),
]
EVERY_MODEL = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())
IN_PIECES = pytest.mark.parametrize(
    "build", [build for name, build in MODELS.items() if not name.startswith("google")]
)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def run(model: Model) -> AgentRunResult[str]:
    # Anthropic's adapter streams even a plain run unless the answer is kept short.
    async with Agent(model, tools=[add], model_settings=ModelSettings(max_tokens=1000)) as agent:
        return await agent.run("What is 1 + 2?")


async def run_streamed(
    model: Model,
) -> tuple[list[AgentStreamEvent], AgentRunResult[str]]:
    events: list[AgentStreamEvent] = []
    async with (
        Agent(model, tools=[add]) as agent,
        agent.run_stream_events("What is 1 + 2?") as stream,
    ):
        async for event in stream:
            if isinstance(event, AgentRunResultEvent):
                return events, event.result
            events.append(event)
    raise AssertionError("the stream ended without a result")


@EVERY_MODEL
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_tool_is_called_and_its_result_sent_back(
    served: Served, build: Build, *, streamed: bool
) -> None:
    wire = served.play(SUM)
    model = build(served.base_url)

    result = (await run_streamed(model))[1] if streamed else await run(model)

    assert result.output == "The two make three in all."
    first, second = wire.requests
    assert [first.streamed, second.streamed] == [streamed, streamed]
    assert [first.model, first.key] == [model.model_name, KEY]
    assert [first.tools, first.tool_results] == [("add",), ()]
    assert second.tool_results == ("3",)


@EVERY_MODEL
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_usage_is_the_sum_of_both_turns(
    served: Served, build: Build, *, streamed: bool
) -> None:
    served.play(SUM)
    model = build(served.base_url)

    result = (await run_streamed(model))[1] if streamed else await run(model)

    usage = result.usage
    assert [usage.requests, usage.tool_calls] == [2, 1]
    assert [usage.input_tokens, usage.output_tokens] == [300, 27]


@EVERY_MODEL
async def test_text_arrives_in_pieces(served: Served, build: Build) -> None:
    served.play([Say("The two make three in all.")])

    events, _ = await run_streamed(build(served.base_url))

    assert len([event for event in events if isinstance(event, PartDeltaEvent)]) > 2


@IN_PIECES
async def test_arguments_arrive_in_pieces(served: Served, build: Build) -> None:
    """Gemini sends each call in one piece; the others may cut the JSON anywhere."""
    served.play(SUM)

    events, result = await run_streamed(build(served.base_url))

    deltas = [event.delta for event in events if isinstance(event, PartDeltaEvent)]
    assert len([delta for delta in deltas if isinstance(delta, ToolCallPartDelta)]) > 1
    assert result.output == "The two make three in all."


@EVERY_MODEL
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_one_turn_may_hold_several_calls(
    served: Served, build: Build, *, streamed: bool
) -> None:
    calls = turn(Call("add", {"a": 1, "b": 2}), Call("add", {"a": 3, "b": 4}))
    wire = served.play([calls, Say("3 and 7")])
    model = build(served.base_url)

    result = (await run_streamed(model))[1] if streamed else await run(model)

    assert result.output == "3 and 7"
    assert wire.requests[1].tool_results == ("3", "7")


async def test_script_may_be_a_function_of_the_request(served: Served) -> None:
    served.play(
        lambda received: (
            Say(received.tool_results[-1])
            if received.tool_results
            else Call("add", {"a": 20, "b": 22})
        )
    )

    result = await run(MODELS["ollama"](served.base_url))

    assert result.output == "42"


@pytest.mark.parametrize("name", ["openai-chat", "anthropic", "google"])
async def test_exhausted_script_says_so(served: Served, name: str) -> None:
    """A test whose script is too short must not hang or retry."""
    wire = served.play([])

    with pytest.raises(Exception, match=r"The script has 0 answers; this is request 1\."):
        await run(MODELS[name](served.base_url))

    assert len(wire.requests) == 1


async def test_google_cloud_names_project_and_location_in_the_path(served: Served) -> None:
    wire = served.play(always(Say("hello")))

    await run(MODELS["google-cloud"](served.base_url))
    await run(MODELS["google-cloud-key"](served.base_url))

    places = [
        request.path.removesuffix("/gemini-2.5-flash:generateContent") for request in wire.requests
    ]
    assert places == [
        "/v1beta1/projects/pretend-project/locations/europe-west1/publishers/google/models",
        "/v1beta1/publishers/google/models",
    ]
