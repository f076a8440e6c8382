"""Runs of real model classes, replayed and laid beside another provider's."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic_ai.models import Model

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from tests.wire.conftest import Served
from tests.wire.models import MODELS, anthropic, openai_responses
from tests.wire.script import Call, Fail, Say, turn

Build = Callable[[str], Model]

TURNS = [
    turn(Say("I look."), Call("read_file", {"path": "README.md"}), input_tokens=100),
    turn(Say("It is a till."), input_tokens=200, output_tokens=20),
]


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS.keys())
async def test_run_of_any_provider_is_replayed_without_a_request(
    served: Served, build: Build, project: Path
) -> None:
    wire = served.play(TURNS)
    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        run = await yard.run("repo_guide", "What is it?", model=build(served.base_url))
        asked = len(wire.requests)
        same = await yard.replay(run.run_id)
        (project / "README.md").write_text("# Gone\n")
        differs = await yard.replay(run.run_id)

    assert len(wire.requests) == asked == 2
    assert (same.problem, differs.problem) == (None, None)
    assert [call.verdict for call in same.calls] == ["same"]
    assert [call.verdict for call in differs.calls] == ["differs"]


async def test_history_of_one_provider_is_put_to_another(served: Served, project: Path) -> None:
    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        served.play(TURNS)
        model = anthropic(served.base_url)
        run = await yard.run("repo_guide", "What is it?", model=model)

        wire = served.play(lambda got: TURNS[len(got.tool_results)])
        found = await yard.compare(run.run_id, openai_responses(served.base_url))

    assert sorted(len(request.tool_results) for request in wire.requests) == [0, 1]
    assert "A till that adds prices." in "".join(wire.requests[-1].tool_results) + "".join(
        wire.requests[0].tool_results
    )
    assert [(p.same_calls, p.error) for p in found.points] == [(True, None), (True, None)]
    assert [p.recorded.text for p in found.points] == ["I look.", "It is a till."]
    assert (found.recorded_usage.input_tokens, found.other_usage.input_tokens) == (300, 300)
    assert found.recorded_usage.cost is not None
    assert found.other_usage.cost is not None
    assert found.recorded_usage.cost != found.other_usage.cost


async def test_provider_that_fails_at_a_point_is_quoted_there(
    served: Served, project: Path
) -> None:
    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        served.play(TURNS)
        run = await yard.run("repo_guide", "What is it?", model=anthropic(served.base_url))

        served.play(lambda got: Fail(529, "overloaded") if got.tool_results else TURNS[0])
        points = (await yard.compare(run.run_id, anthropic(served.base_url))).points

    assert points[0].same_calls
    assert points[1].other is None
    assert "overloaded" in (points[1].error or "")
