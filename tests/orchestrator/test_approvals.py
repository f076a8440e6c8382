"""Calls that need a person's yes: the run ends and waits on record, and goes on with the answer."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any  # what JSON holds

import anyio
import pytest
from anyio import to_thread
from pydantic_ai import Agent, AgentRunResult, DeferredToolRequests
from pydantic_ai.models import Model

from orchestrator.agents import check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    ApprovalNeededError,
    ConflictError,
    IllegalTransitionError,
    NotFoundError,
    RunCancelledError,
    SpecError,
)
from orchestrator.events import ApprovalDecided, ApprovalRequested, ToolReturned
from orchestrator.lifecycle import RunStatus
from orchestrator.specs import load_spec
from orchestrator.store.approvals import Answer
from tests.orchestrator.by_hand import rows, workyard
from tests.orchestrator.moments import passing
from tests.orchestrator.played import playing, record_of
from tests.orchestrator.test_teams import READ, READS, WRITE, WRITES, delegate, spec, team_of

YES = Answer(is_approved=True, by="sam")
NO = Answer(is_approved=False, by="sam", reason="not in here")
TILL = ("write_file", {"path": "src/till.py", "content": "x = 1\n"})


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    found = tmp_path / "specs"
    found.mkdir()
    for name, capabilities in {
        "careful": (WRITES, "Approvals: {writes: true}"),
        "guarded": (WRITES, "Approvals: {paths: ['src/**']}"),
        "chief": (WRITES, "SubAgents: {agents: [careful, plain]}"),
        "plain": (WRITES,),
        "asking_chief": (
            WRITES,
            "SubAgents: {agents: [careful]}",
            "Approvals: {tools: [delegate]}",
        ),
    }.items():
        (found / f"{name}.yaml").write_text(spec(name, *capabilities))
    return found


@pytest.fixture
async def yard(project: Path, specs: Path) -> AsyncIterator[Orchestrator]:
    async with opened(project, specs) as found:
        yield found


def opened(project: Path, specs: Path) -> Any:
    return Orchestrator.open(project, specs=specs, connect=InProcessConnection)


async def waits(yard: Orchestrator, agent: str, model: Model) -> tuple[str, str]:
    """Run an agent until it waits; return its session and its run."""
    handle = await yard.start(agent, "go", model=model)
    with pytest.raises(ApprovalNeededError):
        await handle.result()
    return handle.claimed.session_id, handle.claimed.id


async def outcomes(yard: Orchestrator, session_id: str) -> list[tuple[str, str]]:
    record = await record_of(yard, session_id)
    return [(e.event.tool, e.event.outcome) for e in record if isinstance(e.event, ToolReturned)]


async def test_call_that_needs_a_yes_is_not_made_and_the_run_waits_on_record(
    project: Path, specs: Path
) -> None:
    model = team_of(careful=[[READ, WRITE], "Done."])
    async with opened(project, specs) as yard:
        session_id, run_id = await waits(yard, "careful", model)
        (question,) = await yard.sessions.questions()

        assert not (project / "new.txt").exists()
        assert (question.run_id, question.agent, question.root) == (run_id, "careful", str(project))
        assert question.request.tool == "write_file"
        assert question.request.arguments == WRITE[1]
        assert question.request.preview.startswith("create new.txt\n")
        assert "+new" in question.request.preview
        # What needed none is done, and nothing is held.
        assert await outcomes(yard, session_id) == [("read_file", "success")]
        assert (await yard.sessions.run(run_id)).status is RunStatus.WAITING
        assert (await yard.sessions.get(session_id)).active_run_id is None

    async with opened(project, specs) as later:  # as after a restart
        assert [q.run_id for q in await later.sessions.questions()] == [run_id]


async def test_yes_lets_the_run_go_on_and_make_the_call_once(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(careful=[[READ, WRITE], "Done."])
    session_id, run_id = await waits(yard, "careful", model)

    assert (await yard.sessions.answer(run_id, YES)).left == 0
    run = await (await yard.resume(session_id, model=model)).result()

    assert (run.run_id, run.output) == (run_id, "Done.")
    assert (project / "new.txt").read_text() == "new\n"
    assert await outcomes(yard, session_id) == [("read_file", "success"), ("write_file", "success")]
    assert await yard.sessions.questions() == []
    record = [recorded.event for recorded in await record_of(yard, session_id)]
    (said,) = (event for event in record if isinstance(event, ApprovalDecided))
    assert (said.by, said.is_approved) == ("sam", True)
    assert run.usage.requests == 2  # nothing was asked of the model twice


async def test_no_is_told_to_the_model_with_its_reason(yard: Orchestrator, project: Path) -> None:
    model = team_of(careful=[[WRITE], "I see."])
    session_id, run_id = await waits(yard, "careful", model)

    await yard.sessions.answer(run_id, NO)
    run = await (await yard.resume(session_id, model=model)).result()

    assert run.output == "I see."
    assert not (project / "new.txt").exists()
    assert await outcomes(yard, session_id) == [("write_file", "denied")]
    record = [recorded.event for recorded in await record_of(yard, session_id)]
    (told,) = (event.content for event in record if isinstance(event, ToolReturned))
    assert "A person has said no to this call: not in here" in told


async def test_each_call_has_its_own_answer_and_none_goes_on_before_all_have(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(careful=[[WRITE, TILL], "Done."])
    session_id, run_id = await waits(yard, "careful", model)
    new, till = [q.request.call_id for q in await yard.sessions.questions(run_id)]

    assert (await yard.sessions.answer(run_id, NO, call_id=till)).left == 1
    with pytest.raises(ApprovalNeededError, match="waits for a person's yes to a call"):
        await yard.resume(session_id, model=model)
    assert (await yard.sessions.answer(run_id, YES, call_id=new)).left == 0
    await (await yard.resume(session_id, model=model)).result()

    assert (project / "new.txt").exists()
    assert (project / "src" / "till.py").read_text() != "x = 1\n"


async def test_second_call_of_the_run_is_asked_for_again(yard: Orchestrator) -> None:
    model = team_of(careful=[[WRITE], [TILL], "Done."])
    session_id, run_id = await waits(yard, "careful", model)
    await yard.sessions.answer(run_id, YES)

    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=model)).result()

    (question,) = await yard.sessions.questions(run_id)
    assert question.request.arguments == TILL[1]


async def test_yes_is_for_the_call_that_was_asked_about_whatever_ids_a_provider_gives(
    yard: Orchestrator, project: Path
) -> None:
    """Some give each call the same id: a yes to the first is none to the second."""
    first = ("write_file", {"path": "a.txt", "content": ""}, "same")
    model = team_of(careful=[[first], [(*TILL, "same")], "Done."])
    session_id, run_id = await waits(yard, "careful", model)
    await yard.sessions.answer(run_id, YES)

    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=model)).result()

    assert (project / "a.txt").exists()
    assert (project / "src" / "till.py").read_text() != "x = 1\n"
    (question,) = await yard.sessions.questions(run_id)
    assert question.request.arguments == TILL[1]
    await yard.sessions.answer(run_id, NO)
    await (await yard.resume(session_id, model=model)).result()
    assert (project / "src" / "till.py").read_text() != "x = 1\n"


async def test_question_has_one_answer_and_only_while_the_run_waits(yard: Orchestrator) -> None:
    model = team_of(careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "careful", model)

    with pytest.raises(NotFoundError, match="question"):
        await yard.sessions.answer(run_id, YES, call_id="another")
    with pytest.raises(NotFoundError, match="run"):
        await yard.sessions.of("somebody").answer(run_id, YES)
    await yard.sessions.answer(run_id, YES)
    with pytest.raises(ConflictError, match="'sam' has said yes to call"):
        await yard.sessions.answer(run_id, NO, call_id="careful.0.0")
    await (await yard.resume(session_id, model=model)).result()
    with pytest.raises(ConflictError, match="does not wait for a yes: it is succeeded"):
        await yard.sessions.answer(run_id, YES)


async def test_same_answer_again_lets_a_run_go_on_that_nobody_has_let(
    yard: Orchestrator, project: Path
) -> None:
    """The process that had the answer may have died before it let the run go on."""
    model = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "chief", model)
    (question,) = await yard.sessions.questions()
    await yard.sessions.answer(run_id, YES)

    for call_id in (None, "careful.0.0"):
        again = await yard.sessions.answer(run_id, YES, call_id=call_id)
        assert (again.left, again.top_session_id) == (0, session_id)

    record = await record_of(yard, question.session_id)
    assert sum(isinstance(recorded.event, ApprovalDecided) for recorded in record) == 1
    assert (await (await yard.resume(session_id, model=model)).result()).output == "All done."


async def test_run_that_waits_can_be_cancelled_and_asks_again_when_it_is_resumed(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "careful", model)

    ended = await yard.sessions.cancel(session_id)

    assert (ended.status, ended.error_code) == (RunStatus.CANCELLED, "run_cancelled")
    assert (await yard.sessions.run(run_id)).row.requests == ended.usage.requests == 1
    assert await yard.sessions.questions() == []
    with pytest.raises(ConflictError, match="it is cancelled"):
        await yard.sessions.answer(run_id, YES)
    with pytest.raises(ConflictError, match="no run under way, and none that waits"):
        await yard.sessions.cancel(session_id)
    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=model)).result()
    await yard.sessions.answer(run_id, YES)
    assert (await (await yard.resume(session_id, model=model)).result()).output == "Done."
    assert (project / "new.txt").exists()


async def test_session_goes_on_after_a_run_that_was_cancelled_as_it_waited(
    yard: Orchestrator,
) -> None:
    session_id, run_id = await waits(yard, "careful", team_of(careful=[[WRITE], "Done."]))
    await yard.cancel(run_id)

    run = await yard.run("plain", "go", session_id=session_id, model=playing("Well."))

    assert run.output == "Well. "
    with pytest.raises(IllegalTransitionError):
        await yard.cancel(run_id)


async def test_time_that_a_cancelled_run_has_waited_is_not_work(yard: Orchestrator) -> None:
    model = team_of(careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "careful", model)
    await yard.cancel(run_id)
    rows("UPDATE event SET at = at + 5000000000 WHERE seq = (SELECT max(seq) FROM event)")

    again = await yard.resume(session_id, model=model)

    assert again.claimed.worked_before_s < 1000


async def test_those_that_wait_together_are_cancelled_together(yard: Orchestrator) -> None:
    model = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "chief", model)
    (question,) = await yard.sessions.questions()

    with pytest.raises(ConflictError, match=f"works for run '{run_id}', which waits too"):
        await yard.cancel(question.run_id)
    await yard.cancel(run_id)

    for each in (run_id, question.run_id):
        assert (await yard.sessions.run(each)).status is RunStatus.CANCELLED
    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=model)).result()
    (again,) = await yard.sessions.questions()
    assert again.run_id == question.run_id


async def test_two_answers_at_once_are_one(yard: Orchestrator) -> None:
    session_id, run_id = await waits(yard, "careful", team_of(careful=[[WRITE], "Done."]))
    refused: list[Answer] = []

    async def say(said: Answer) -> None:
        try:
            await yard.sessions.answer(run_id, said, call_id="careful.0.0")
        except ConflictError:
            refused.append(said)

    async with anyio.create_task_group() as tasks:
        for said in (YES, NO, YES, NO):
            tasks.start_soon(say, said)

    record = [recorded.event for recorded in await record_of(yard, session_id)]
    (decided,) = (event for event in record if isinstance(event, ApprovalDecided))
    # Who has said the same may be told that it is said.
    assert refused.count(NO if decided.is_approved else YES) == 2


@pytest.mark.parametrize(
    ("call", "is_asked"),
    [
        (WRITE, False),
        (TILL, True),
        (("write_file", {"file_path": "./docs/../src/new.py", "content": ""}), True),
        (("write_file", {"path": "SRC/new.py", "content": ""}), False),
        (("write_file", {"path": "link/new.py", "content": ""}), True),
        (("write_file", {"path": "../src/new.py", "content": ""}), True),  # cannot be told
    ],
)
async def test_paths_that_need_a_yes_are_those_that_would_be_changed(
    yard: Orchestrator, project: Path, call: tuple[str, dict[str, Any]], is_asked: bool
) -> None:
    """However they are written, and wherever links lead."""
    (project / "link").symlink_to("src")
    model = team_of(guarded=[[call], "Done."])
    handle = await yard.start("guarded", "go", model=model)

    if is_asked:
        with pytest.raises(ApprovalNeededError):
            await handle.result()
    else:
        await handle.result()


async def test_look_at_what_would_be_changed_needs_no_yes(yard: Orchestrator) -> None:
    edit = {"path": "README.md", "old_string": "A till", "new_string": "Two tills"}
    look = ("apply_edits", {"edits": [edit], "dry_run": True})

    run = await yard.run("careful", "go", model=team_of(careful=[[look], "Done."]))

    assert run.output == "Done."


async def test_session_goes_on_without_the_answer_and_the_call_was_not_made(
    yard: Orchestrator, project: Path
) -> None:
    session_id, run_id = await waits(yard, "careful", team_of(careful=[[WRITE], "Done."]))

    run = await yard.run("careful", "never mind", model=playing("Right."), session_id=session_id)

    assert run.output == "Right. "
    assert not (project / "new.txt").exists()
    # A yes would be of no use any more.
    assert await yard.sessions.questions() == []
    with pytest.raises(ConflictError, match="has gone on without it"):
        await yard.sessions.answer(run_id, YES)


async def test_run_that_was_stopped_when_it_had_just_asked_asks_again(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(careful=[[WRITE], "Done."])

    def stop(moment: str) -> None:
        if moment.startswith("before write: record") and "approval_requested" in moment:
            handle.stop()

    with passing(stop):
        handle = await yard.start("careful", "go", model=model)
        with pytest.raises(RunCancelledError):
            await handle.result()
    session_id, run_id = handle.claimed.session_id, handle.claimed.id
    assert await yard.sessions.questions() == []
    with pytest.raises(ConflictError, match="does not wait for a yes: it is cancelled"):
        await yard.sessions.answer(run_id, YES)

    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=model)).result()
    await yard.sessions.answer(run_id, YES)
    await (await yard.resume(session_id, model=model)).result()

    assert (project / "new.txt").exists()


async def test_who_has_asked_a_delegate_waits_with_it_and_goes_on_with_it(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "chief", model)
    (question,) = await yard.sessions.questions()

    assert (question.agent, question.run_id == run_id) == ("careful", False)
    assert (await yard.sessions.run(run_id)).status is RunStatus.WAITING
    with pytest.raises(ApprovalNeededError):  # it asks again, and still waits
        await (await yard.resume(session_id, model=model)).result()
    await yard.sessions.answer(question.run_id, YES)
    run = await (await yard.resume(session_id, model=model)).result()

    assert run.output == "All done."
    assert (project / "new.txt").exists()


@pytest.mark.parametrize("by_top", [True, False])
async def test_either_runs_id_does_for_an_answer_to_a_delegate(
    yard: Orchestrator, project: Path, by_top: bool
) -> None:
    model = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])
    session_id, run_id = await waits(yard, "chief", model)
    (question,) = await yard.sessions.questions(run_id)
    assert (question.top_run_id, question.top_session_id) == (run_id, session_id)
    assert await yard.sessions.questions(question.run_id) == [question]

    answered = await yard.sessions.answer(run_id if by_top else question.run_id, YES)

    assert (answered.left, answered.top_session_id) == (0, session_id)
    assert (await (await yard.resume(session_id, model=model)).result()).output == "All done."
    assert (project / "new.txt").exists()


async def test_yes_is_for_the_call_of_one_run_whatever_ids_a_provider_gives(
    yard: Orchestrator, project: Path
) -> None:
    """Who is shown one call must not allow another one by it."""
    write = [(*WRITE, "same")]
    model = team_of(
        chief=[[delegate("careful", "One."), delegate("careful", "Two.")], "All done."],
        careful=[write, "Done."],
    )
    session_id, run_id = await waits(yard, "chief", model)
    one, two = await yard.sessions.questions()

    with pytest.raises(ConflictError, match=f"2 calls have the id 'same'.*{two.run_id}"):
        await yard.sessions.answer(run_id, YES, call_id="same")
    assert (await yard.sessions.answer(one.run_id, NO, call_id="same")).left == 1
    assert await yard.sessions.questions() == [two]
    assert (await yard.sessions.answer(run_id, YES, call_id="same")).left == 0
    await (await yard.resume(session_id, model=model)).result()

    assert await outcomes(yard, one.session_id) == [("write_file", "denied")]
    assert await outcomes(yard, two.session_id) == [("write_file", "success")]


async def test_question_of_a_delegate_is_open_while_who_has_asked_it_waits_too(
    yard: Orchestrator,
) -> None:
    """Else there would be an answer, and nobody to go on with it."""
    asked, released = anyio.Event(), anyio.Event()

    async def work() -> str:
        asked.set()
        await released.wait()
        return "Read."

    model = team_of(
        chief=[[delegate("careful"), delegate("plain")], "Done."],
        careful=[[WRITE], "Done."],
        plain=[work],
    )
    handle = await yard.start("chief", "go", model=model)
    with anyio.fail_after(10):
        await asked.wait()
        while not rows("SELECT 1 FROM run WHERE status = 'waiting'"):
            await anyio.sleep(0.01)
        (careful,) = rows("SELECT id FROM run WHERE agent = 'careful'")

    assert await yard.sessions.questions() == []
    with pytest.raises(ConflictError, match=f"run '{handle.claimed.id}'.* is running"):
        await yard.sessions.answer(careful[0], YES)
    released.set()
    with pytest.raises(ApprovalNeededError):
        await handle.result()
    assert [question.run_id for question in await yard.sessions.questions()] == [careful[0]]


async def test_command_line_answers_by_either_id_and_shows_both(
    project: Path, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = team_of(chief=[[delegate("careful")], "All done."], careful=[[WRITE], "Done."])
    async with opened(project, specs) as yard:
        session_id, run_id = await waits(yard, "chief", model)
    monkeypatch.chdir(project)

    listed = await to_thread.run_sync(workyard, "approvals", "list")
    told = await to_thread.run_sync(workyard, "approvals", "list", "--json")
    done = await to_thread.run_sync(workyard, "approvals", "deny", run_id, "--later")
    again = await to_thread.run_sync(workyard, "approvals", "approve", run_id)

    (question,) = json.loads(told.stdout)
    assert question["top_run_id"] == run_id != question["run_id"]
    assert f"run {question['run_id']} for run {run_id}" in listed.stderr
    assert done.exit_code == 0
    assert (again.exit_code, "has said no to call" in again.stderr) == (4, True)
    async with opened(project, specs) as yard:
        assert (await (await yard.resume(session_id, model=model)).result()).output == "All done."
    assert not (project / "new.txt").exists()


async def test_any_tool_can_need_a_yes(yard: Orchestrator, project: Path) -> None:
    model = team_of(asking_chief=[[delegate("careful")], "All done."], careful=["Done."])
    session_id, run_id = await waits(yard, "asking_chief", model)

    (question,) = await yard.sessions.questions(run_id)
    assert (question.request.tool, question.request.preview) == ("delegate", "")
    await yard.sessions.answer(run_id, YES)
    assert (await (await yard.resume(session_id, model=model)).result()).output == "All done."


async def test_plain_pydantic_ai_defers_such_calls(
    project: Path, specs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    agent = Agent.from_file(
        specs / "careful.yaml",
        custom_capability_types=CAPABILITIES,
        model=team_of(careful=[[WRITE], "Done."]),
    )

    first: AgentRunResult[Any] = await agent.run("go", output_type=[str, DeferredToolRequests])
    assert isinstance(first.output, DeferredToolRequests)
    assert not (project / "new.txt").exists()
    second = await agent.run(
        message_history=first.all_messages(),
        deferred_tool_results=first.output.build_results(approve_all=True),
    )

    assert second.output == "Done."
    assert (project / "new.txt").exists()


@pytest.mark.parametrize(
    "arguments", ["{}", "{writes: 1}", "{writes: 'yes'}", "{paths: ['/etc/**']}", "{tool: [x]}"]
)
def test_arguments_that_do_not_fit_are_refused(tmp_path: Path, arguments: str) -> None:
    file = tmp_path / "careful.yaml"
    file.write_text(spec("careful", READS, f"Approvals: {arguments}"))

    with pytest.raises(SpecError) as caught:
        check_spec(load_spec(file))

    assert caught.value.line == 6


async def test_question_is_an_event_that_followers_see(yard: Orchestrator) -> None:
    handle = await yard.start("careful", "go", model=team_of(careful=[[WRITE], "Done."]))

    events = [recorded.event async for recorded in yard.follow(handle)]

    assert [type(event).__name__ for event in events[-2:]] == ["ApprovalRequested", "RunEnded"]
    assert isinstance(events[-2], ApprovalRequested)
