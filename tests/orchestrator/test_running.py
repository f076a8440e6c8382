"""Runs for a host: those that wait are answered by either id, once there is a place to go on."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai.models import Model

from mcp_server import errors as theirs
from mcp_server.fence.grant import Grant
from mcp_server.ports import HostModel, Operator, Order, Verdict
from mcp_server.reports import tell_questions
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.running import Running
from tests.orchestrator.test_approvals import YES
from tests.orchestrator.test_teams import READS, WRITE, WRITES, delegate, spec, team_of
from tests.wire.test_model_service import Unasked

ALLOWED = Verdict(is_approved=True, by="sam")
MODEL = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    found = tmp_path / "specs"
    found.mkdir()
    (found / "chief.yaml").write_text(spec("chief", WRITES, "SubAgents: {agents: [careful]}"))
    (found / "careful.yaml").write_text(spec("careful", WRITES, "Approvals: {writes: true}"))
    return found


@pytest.fixture
async def running(
    project: Path, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Running]:
    def model(_running: Running, _host: HostModel) -> Model:
        return MODEL

    monkeypatch.setattr(Running, "_model", model)
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as yard:
        operator = Operator(root=str(yard.root), grant=Grant.full())
        yield Running(yard, operator, yard.connection, operator.grant, yard.servers, None)


async def waiting(running: Running, agent: str) -> str:
    """Have an agent run until it waits, and return the run."""
    run_id = await running.start(Order(agent=agent, task="go"), Unasked())
    async for _ in running.follow(run_id):
        pass
    assert (await running.report(run_id)).status == "waiting"
    return run_id


async def ended(running: Running, run_id: str) -> str:
    async for _ in running.follow(run_id):
        pass
    return (await running.report(run_id)).status


async def test_delegate_is_answered_by_its_own_id_and_who_has_asked_it_goes_on(
    running: Running, project: Path
) -> None:
    run_id = await waiting(running, "chief")
    (question,) = (await running.report(run_id)).questions
    assert question.run_id != run_id

    assert await running.answer(question.run_id, ALLOWED, Unasked()) == run_id

    assert await ended(running, run_id) == "succeeded"
    assert (project / "new.txt").exists()


async def test_answer_is_not_written_while_there_is_no_place_to_go_on(running: Running) -> None:
    run_id = await waiting(running, "careful")
    running.at_once = 0

    with pytest.raises(theirs.LimitError):
        await running.answer(run_id, ALLOWED, Unasked())

    assert len((await running.report(run_id)).questions) == 1


async def test_run_that_has_its_answers_is_let_go_on_by_the_same_answer(running: Running) -> None:
    """As when the process that had the last one has died."""
    run_id = await waiting(running, "careful")
    await running.yard.sessions.answer(run_id, YES)

    told = tell_questions(await running.report(run_id)).text
    with pytest.raises(theirs.ConflictError, match="has said yes"):
        await running.answer(run_id, Verdict(is_approved=False, by="kim"), Unasked())
    goes_on = await running.answer(run_id, ALLOWED, Unasked())

    assert f"Call answer_run with run_id {run_id!r} and the same answer once more." in told
    assert goes_on == run_id
    assert await ended(running, run_id) == "succeeded"


async def test_run_that_waits_is_cancelled_for_its_host(running: Running) -> None:
    run_id = await waiting(running, "chief")

    await running.cancel(run_id)

    report = await running.report(run_id)
    assert (report.status, report.questions) == ("cancelled", [])


async def test_yes_gives_a_call_no_right_that_the_spec_has_lost_meanwhile(
    running: Running, specs: Path, project: Path
) -> None:
    run_id = await waiting(running, "careful")
    (specs / "careful.yaml").write_text(spec("careful", READS, "Approvals: {writes: true}"))

    await running.answer(run_id, ALLOWED, Unasked())

    assert await ended(running, run_id) == "succeeded"
    assert not (project / "new.txt").exists()
