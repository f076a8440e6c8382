"""Runs that wait, with the record in PostgreSQL: cancelled together, and let go on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import ApprovalNeededError, ConflictError
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import Settings
from tests.orchestrator.test_approvals import NO, YES, specs, waits
from tests.orchestrator.test_teams import READ, WRITE, delegate, team_of

__all__ = ["specs"]  # a fixture

MODEL = team_of(chief=[[READ, delegate("careful")], "All done."], careful=[[READ, WRITE], "Done."])


@pytest.fixture
async def yard(project: Path, specs: Path, postgres_record_url: str) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(
        project,
        specs=specs,
        settings=Settings(database_url=postgres_record_url),
        connect=InProcessConnection,
    ) as opened:
        yield opened


async def test_those_that_wait_together_are_cancelled_together(yard: Orchestrator) -> None:
    session_id, run_id = await waits(yard, "chief", MODEL)
    (question,) = await yard.sessions.questions(run_id)

    with pytest.raises(ConflictError, match="which waits too"):
        await yard.cancel(question.run_id)
    ended = await yard.sessions.cancel(session_id)

    assert ended.status is RunStatus.CANCELLED
    assert (await yard.sessions.run(question.run_id)).status is RunStatus.CANCELLED
    assert await yard.sessions.questions() == []
    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=MODEL)).result()


async def test_same_answer_again_lets_a_run_go_on_with_all_its_calls_counted(
    yard: Orchestrator, project: Path
) -> None:
    session_id, run_id = await waits(yard, "chief", MODEL)
    (question,) = await yard.sessions.questions()
    await yard.sessions.answer(question.run_id, YES)

    with pytest.raises(ConflictError, match="has said yes"):
        await yard.sessions.answer(question.run_id, NO)
    again = await yard.sessions.answer(run_id, YES)
    handle = await yard.resume(again.top_session_id, model=MODEL)

    assert (again.left, again.top_session_id) == (0, session_id)
    assert handle.claimed.calls_made == 2  # the chief's and its delegate's
    assert (await handle.result()).output == "All done."
    assert (project / "new.txt").exists()
