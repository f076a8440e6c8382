"""The session's state in an agent's hands: where its spec says so, and nowhere else."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any  # JSON

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.connections import InProcessConnection
from orchestrator.events import ToolReturned
from tests.orchestrator.played import playing, record_of

SPEC = "name: keeper\ndescription: d\ninstructions: x\ncapabilities: [SessionState]\n"


@pytest.fixture
async def yard(project: Path, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "keeper.yaml").write_text(SPEC)
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as opened:
        yield opened


def update(**arguments: object) -> tuple[str, str]:
    return "update_state", json.dumps(arguments)


async def returned(yard: Orchestrator, session_id: str) -> list[tuple[str, str]]:
    events = [recorded.event for recorded in await record_of(yard, session_id)]
    return [(e.outcome, e.content) for e in events if isinstance(e, ToolReturned)]


async def test_agent_and_callers_share_the_state_of_a_session(yard: Orchestrator) -> None:
    session = await yard.sessions.create("keeper", str(yard.root), state={"goal": "tidy"})
    model = playing([("read_state", "{}")], [update(changes={"step": 1})], "Noted.")

    await yard.run("keeper", "go", model=model, session_id=session.id)

    read, updated = await returned(yard, session.id)
    assert (read[0], json.loads(read[1])) == ("success", {"version": 0, "state": {"goal": "tidy"}})
    assert json.loads(updated[1]) == {"version": 1, "state": {"goal": "tidy", "step": 1}}
    state = await yard.sessions.state(session.id)
    assert (state.values, state.version) == ({"goal": "tidy", "step": 1}, 1)


async def test_agent_that_is_too_late_is_told_and_goes_on(yard: Orchestrator) -> None:
    stale = update(changes={"step": 1}, expected_version=7)
    large = update(changes={"step": "x" * 70_000})

    run = await yard.run("keeper", "go", model=playing([stale], [large], "I see."))

    conflict, limit = await returned(yard, run.session_id)
    assert run.output == "I see. "
    assert (conflict[0], limit[0]) == ("failed", "failed")
    assert "at version 0, not 7" in conflict[1]
    assert "the limit is 65536" in limit[1]
    assert (await yard.sessions.state(run.session_id)).version == 0


async def test_agent_without_the_capability_has_no_state(yard: Orchestrator) -> None:
    offered: list[str] = []

    async def look(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        offered.extend(tool.name for tool in info.function_tools)
        yield "ok"

    await yard.run("repo_guide", "go", model=FunctionModel(stream_function=look))

    assert offered
    assert not {"read_state", "update_state"} & set(offered)


async def test_plain_pydantic_ai_keeps_the_state_of_a_conversation(tmp_path: Path) -> None:
    (tmp_path / "keeper.yaml").write_text(SPEC)
    given: list[Any] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        part = messages[-1].parts[-1]
        if part.part_kind == "tool-return":
            given.append(part.content)
            return ModelResponse(parts=[TextPart("ok")])
        changes = {"n": len(given)}
        return ModelResponse(parts=[ToolCallPart("update_state", {"changes": changes})])

    agent = Agent.from_file(
        tmp_path / "keeper.yaml",
        custom_capability_types=CAPABILITIES,
        model=FunctionModel(answer),
    )
    first = await agent.run("one")
    await agent.run("two", conversation=first.conversation)
    await agent.run("another")

    assert given == [
        {"version": 1, "state": {"n": 0}},
        {"version": 2, "state": {"n": 1}},
        {"version": 1, "state": {"n": 2}},
    ]
