"""Forks, turns in line and replays, with the record in PostgreSQL."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import ConflictError, InvalidInputError, SessionBusyError
from orchestrator.settings import Settings
from tests.orchestrator.played import READ, playing
from tests.orchestrator.small import prompts_in


@pytest.fixture
async def yard(project: Path, postgres_record_url: str) -> AsyncIterator[Orchestrator]:
    settings = Settings(database_url=postgres_record_url)
    async with Orchestrator.open(project, settings=settings, connect=InProcessConnection) as opened:
        yield opened


async def test_forks_of_forks_share_their_past(yard: Orchestrator) -> None:
    run = await yard.run("repo_guide", "one", model=playing([READ], "First."))
    await yard.run("repo_guide", "two", model=playing("x"), session_id=run.session_id)
    with pytest.raises(InvalidInputError, match="Fork at 0 or 3"):
        await yard.fork(run.session_id, at=2)

    fork = await yard.fork((await yard.fork(run.session_id, at=4)).id)
    await yard.run("repo_guide", "three", model=playing("x"), session_id=fork.id)

    origin = await yard.sessions.messages(run.session_id)
    messages = await yard.sessions.messages(fork.id)
    assert prompts_in(origin) == ["one", "two"]
    assert prompts_in(messages) == ["one", "three"]
    assert messages[:4] == origin[:4]
    inherited = await yard.sessions.inherited(fork.id)
    assert inherited is not None
    assert inherited.upto == 4


async def test_turn_waits_in_line_or_runs_on_a_fork(yard: Orchestrator) -> None:
    first = await yard.run("repo_guide", "one", model=playing("x"))
    session_id = first.session_id
    holds, may_end = anyio.Event(), anyio.Event()

    async def hold() -> None:
        holds.set()
        await may_end.wait()

    handle = await yard.start("repo_guide", "two", model=playing(hold), session_id=session_id)
    with anyio.fail_after(20):
        await holds.wait()
        with pytest.raises(SessionBusyError, match="still, after"):
            await yard.run(
                "repo_guide",
                "three",
                model=playing("x"),
                session_id=session_id,
                when_busy="queue",
                wait_s=0.01,
            )
        fork = await yard.run(
            "repo_guide", "four", model=playing("x"), session_id=session_id, when_busy="fork"
        )
        with pytest.raises(ConflictError, match="under way"):
            await yard.replay(handle.claimed.id)
        may_end.set()
        await handle.result()

    assert prompts_in(await yard.sessions.messages(fork.session_id)) == ["one", "four"]
    assert prompts_in(await yard.sessions.messages(session_id)) == ["one", "two"]


async def test_run_is_replayed_and_laid_beside_another_model(
    yard: Orchestrator, project: Path
) -> None:
    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[TextPart("y")])

    first = await yard.run("repo_guide", "one", model=playing([READ], "x"))
    run = await yard.run(
        "repo_guide", "two", model=playing([READ], "x"), session_id=first.session_id
    )

    same = await yard.replay(run.run_id)
    (project / "README.md").write_text("other")
    differs = await yard.replay(run.run_id)
    found = await yard.compare(run.run_id, FunctionModel(answer))

    assert (same.differs, differs.differs) == (False, True)
    assert len(same.calls) == 1
    assert [point.other.text for point in found.points if point.other] == ["y", "y"]
