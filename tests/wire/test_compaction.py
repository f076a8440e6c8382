"""History that fits, through every provider class: what goes out is what a provider takes."""

import json
from collections.abc import Callable

import pytest
from pydantic_ai import Agent
from pydantic_ai.models import Model

from orchestrator.compaction.capability import Compaction
from orchestrator.models.patience import PatientModel
from tests.wire.conftest import Served
from tests.wire.models import MODELS
from tests.wire.script import Answer, Call, Fail, Heard, Received, Say, Stop, turn

Build = Callable[[str], Model]
EVERY_MODEL = pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())

WINDOW = 100_000
TASK = "Add up all of it."
LLAMA_SERVER = Heard(
    b'{"error":{"code":400,"message":"request (5120 tokens) exceeds the available context size '
    b'(4096 tokens), try increasing it","type":"exceed_context_size_error",'
    b'"n_prompt_tokens":5120,"n_ctx":4096}}',
    status=400,
)
LM_STUDIO = Fail(
    400, "Trying to keep the first 5120 tokens when context the overflows. However, the model is"
)
TOO_LONG = (
    ("openai-chat", Fail(400, "Too long.", code="context_length_exceeded")),
    ("openai-responses", Fail(400, "Too long.", code="context_length_exceeded")),
    ("anthropic", Fail(400, "prompt is too long: 250000 tokens")),
    ("openai-chat", LLAMA_SERVER),
    ("openai-responses", LLAMA_SERVER),
    ("openai-chat", LM_STUDIO),
)


def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"{a + b} " + "and so on " * 500


class Provider:
    """Calls a tool in each answer but the last, and counts more tokens each time.

    With the fifth request its window is nearly full; or it says then, by `full`, that it is.
    """

    def __init__(self, summary: Answer, full: Answer | None = None, last: int = 9) -> None:
        self.summary = summary
        self.full = full
        self.last = last
        self.for_summary: list[Received] = []
        self.others: list[Received] = []

    def __call__(self, received: Received) -> Answer:
        if "You write the notes" in json.dumps(received.body):
            self.for_summary.append(received)
            return self.summary
        self.others.append(received)
        number = len(self.others)
        if self.full is not None and number == 5:
            return self.full
        if number == self.last:
            return turn(Say("All of it."))
        used = 1000 if self.for_summary else (15_000 if self.full else 20_000) * number
        call = Call("add", {"a": number, "b": number})
        return turn(Say("Let me see."), call, input_tokens=used)


async def run(model: Model, *, keep: float = 0.01) -> str:
    async with Agent(
        PatientModel(model, timeout_s=10, retries=0),
        tools=[add],
        capabilities=[Compaction(context_window=WINDOW, keep=keep)],
        model_settings={"max_tokens": 1000},
    ) as agent:
        return (await agent.run(TASK)).output


@EVERY_MODEL
async def test_summary_takes_the_place_of_what_the_model_cannot_take(
    served: Served, build: Build
) -> None:
    provider = Provider(Say("NOTES: sums so far."))
    served.play(provider)

    assert await run(build(served.base_url)) == "All of it."

    assert len(provider.for_summary) == 1
    after = provider.others[4]
    sent = json.dumps(after.body)
    assert "NOTES: sums so far." in sent
    assert sent.count(TASK) == 1
    assert len(after.tool_results) == 1, "the last call with its result stays"
    assert len(provider.others[-1].tool_results) == 5


@pytest.mark.parametrize(("name", "too_long"), TOO_LONG)
async def test_model_that_says_it_is_too_much_is_asked_again_with_less(
    served: Served, name: str, too_long: Answer
) -> None:
    provider = Provider(Say("NOTES: sums so far."), full=too_long)
    served.play(provider)

    assert await run(MODELS[name](served.base_url)) == "All of it."

    refused, again = provider.others[4:6]
    assert "NOTES: sums so far." not in json.dumps(refused.body)
    assert "NOTES: sums so far." in json.dumps(again.body)
    assert len(again.tool_results) < len(refused.tool_results)


async def test_what_a_server_says_it_can_take_counts_for_what_stays(served: Served) -> None:
    """llama.cpp says with what window it was started, which nobody else knows."""
    provider = Provider(Say("NOTES: sums so far."), full=LLAMA_SERVER)
    served.play(provider)

    assert await run(MODELS["openai-chat"](served.base_url), keep=0.3) == "All of it."

    assert len(provider.others[5].tool_results) == 1, "0.3 of 4096 tokens; of 100,000 all four fit"


@pytest.mark.parametrize(
    "summary",
    [Stop("Half of the no"), Fail(503, "Overloaded."), turn(Say(" "))],
    ids=["broken off", "failed", "empty"],
)
@EVERY_MODEL
async def test_summary_that_is_not_whole_is_not_taken(
    served: Served, build: Build, summary: Answer
) -> None:
    """Half a summary would be all that is left of a conversation."""
    provider = Provider(summary, last=5)
    served.play(provider)

    assert await run(build(served.base_url)) == "All of it."

    assert provider.for_summary
    assert len(provider.others[-1].tool_results) == 4
