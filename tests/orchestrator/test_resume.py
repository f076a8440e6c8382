"""Runs that broke off go on where they stood; runs of other processes are stopped."""

import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any  # a part of any kind

import anyio
import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.errors import (
    ConflictError,
    IllegalTransitionError,
    LimitError,
    ModelNotConfiguredError,
    ModelUnavailableError,
    NotFoundError,
    NotResumableError,
    RunCancelledError,
    RunCrashedError,
    SessionBusyError,
    WrongRootError,
)
from orchestrator.events import RecordedEvent, RunEnded, RunResumed, TextDelta, ToolCalled
from orchestrator.store.resuming import last_attempt
from tests.orchestrator.by_hand import workyard
from tests.orchestrator.doomed import fork, work_until_stopped
from tests.orchestrator.played import READ, playing, record_of
from tests.orchestrator.scripted import check_valid

EDIT = ("edit_file", '{"path": "log.txt", "old_string": "END", "new_string": "line\\nEND"}')

SPEC = """\
name: worker
description: d
instructions: x
capabilities:
  - WorkspaceTools: {tools: [read_file, edit_file], read: ['**'], write: ['**']}
  - Budget: {requests: 4}
"""


@pytest.fixture(autouse=True)
def furnished(project: Path, own_surroundings: Path) -> Path:
    """Give the user an agent that may write, and return its file."""
    (project / "log.txt").write_text("END\n")
    file = own_surroundings / "config" / "agents" / "worker.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(SPEC)
    return file


def failing(*steps: Any) -> Model:
    """Return a model that plays steps, and then is not there."""
    played = playing(*steps)
    assert isinstance(played, FunctionModel)

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        assert played.stream_function is not None
        if sum(isinstance(message, ModelResponse) for message in messages) == len(steps):
            raise ModelHTTPError(503, "m", body={"error": {"message": "gone"}})
        async for piece in played.stream_function(messages, info):
            yield piece

    return FunctionModel(stream_function=stream, model_name="played")


def watching(model: Model, given: list[list[ModelMessage]]) -> Model:
    """Return the model, which tells what it is given, and takes what providers take."""
    assert isinstance(model, FunctionModel)
    function = model.stream_function
    assert function is not None

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        check_valid(messages)
        given.append(messages)
        async for piece in function(messages, info):
            yield piece

    return FunctionModel(stream_function=stream, model_name="watched")


async def failed(yard: Orchestrator, *steps: Any) -> str:
    """Return the session of a run that has failed."""
    handle = await yard.start("worker", "go", model=failing(*steps))
    with pytest.raises(ModelUnavailableError):
        await handle.result()
    return handle.claimed.session_id


async def until(yard: Orchestrator, handle: Any, wanted: Callable[[RecordedEvent], bool]) -> None:
    """Wait for an event of a run."""
    with anyio.fail_after(10):
        async for recorded in yard.follow(handle):
            if wanted(recorded):
                return


async def test_failed_run_goes_on_and_does_nothing_twice(yard: Orchestrator, project: Path) -> None:
    session_id = await failed(yard, [EDIT], [READ])
    given: list[list[ModelMessage]] = []
    model = watching(playing([EDIT], [READ], [EDIT], "done"), given)

    result = await (await yard.resume(session_id, model=model)).result()

    (run,) = await yard.sessions.runs(session_id)
    assert (result.output, result.run_id) == ("done ", run.id)
    assert (run.status, run.attempt, run.error_code, run.ended_at is None) == (
        "succeeded",
        2,
        None,
        False,
    )
    assert (project / "log.txt").read_text() == "line\nline\nEND\n"
    assert len(given) == 2
    assert [call.run_id for call in await yard.changes()] == [run.id, run.id]


async def test_all_attempts_of_a_run_are_undone_together(yard: Orchestrator, project: Path) -> None:
    session_id = await failed(yard, [EDIT])
    run = await (await yard.resume(session_id, model=playing([EDIT], [EDIT], "done"))).result()
    assert (project / "log.txt").read_text() == "line\nline\nEND\n"

    await yard.undo(run=run.run_id)

    assert (project / "log.txt").read_text() == "END\n"


async def test_session_goes_on_after_a_run_that_was_resumed(yard: Orchestrator) -> None:
    session_id = await failed(yard, [READ])
    await (await yard.resume(session_id, model=playing([READ], "done"))).result()
    given: list[list[ModelMessage]] = []

    model = watching(playing("fine"), given)
    result = await yard.run("worker", "and now?", model=model, session_id=session_id)

    assert result.output == "fine "
    assert [m.kind for m in given[0]] == ["request", "response"] * 2 + ["request"]
    session = await yard.sessions.get(session_id)
    assert session.usage["requests"] == 3


async def test_answer_that_was_broken_off_is_asked_for_again_and_shown_to_no_model(
    yard: Orchestrator,
) -> None:
    handle = await yard.start("worker", "go", model=playing([READ], anyio.sleep_forever))
    await until(yard, handle, lambda recorded: isinstance(recorded.event, TextDelta))
    await yard.cancel(handle.claimed.id)
    session_id = handle.claimed.session_id
    given: list[list[ModelMessage]] = []

    model = watching(playing([READ], "Whole."), given)
    await (await yard.resume(session_id, model=model)).result()
    await yard.run("worker", "on", model=watching(playing("x"), given), session_id=session_id)

    said = [[m.text for m in messages if isinstance(m, ModelResponse)] for messages in given]
    assert said == [[None], [None, "Whole. "]]
    kept = [m.text for m in await yard.sessions.messages(session_id) if m.kind == "response"]
    assert kept == [None, "So ", "Whole. ", "x "]


async def test_run_cancelled_in_a_call_goes_on_with_what_its_calls_gave(
    yard: Orchestrator, project: Path
) -> None:
    handle = await yard.start("worker", "go", model=playing([EDIT, READ], "done"))
    await until(yard, handle, lambda recorded: isinstance(recorded.event, ToolCalled))
    handle.stop()
    await handle.ended.wait()
    session_id = handle.claimed.session_id
    given: list[list[ModelMessage]] = []

    model = watching(playing([EDIT, READ], "done"), given)
    await (await yard.resume(session_id, model=model)).result()

    outcomes = [
        part.outcome for m in given[-1] for part in m.parts if part.part_kind == "tool-return"
    ]
    assert outcomes == ["success", "success"]
    assert (project / "log.txt").read_text() == "line\nEND\n"


async def test_answer_that_has_failed_a_run_is_asked_for_again(
    yard: Orchestrator, furnished: Path
) -> None:
    furnished.write_text(SPEC + "output_schema: {type: object, required: [a]}\nretries: 0\n")
    bad, good = ("final_result", '{"b": 1}'), ("final_result", '{"a": 1}')
    handle = await yard.start("worker", "go", model=playing([bad]))
    with pytest.raises((ModelUnavailableError, RunCrashedError)):
        await handle.result()

    session_id = handle.claimed.session_id
    result = await (await yard.resume(session_id, model=playing([good], [good]))).result()

    assert result.output == {"a": 1}


async def test_run_that_succeeded_is_not_resumed_and_says_what_to_do(yard: Orchestrator) -> None:
    run = await yard.run("worker", "go", model=playing("done"))

    with pytest.raises(NotResumableError, match=r"succeeded.*new prompt") as caught:
        await yard.resume(run.session_id)

    assert (caught.value.session_id, caught.value.status) == (run.session_id, "succeeded")
    assert (
        len(await record_of(yard, run.session_id))
        == (await yard.sessions.get(run.session_id)).last_event_seq
    )


async def test_fork_has_no_run_to_resume(yard: Orchestrator) -> None:
    session_id = await failed(yard, [READ])
    fork_ = await yard.fork(session_id)

    with pytest.raises(NotResumableError, match="no run of its own"):
        await yard.resume(fork_.id)


async def test_run_under_way_is_not_resumed(yard: Orchestrator) -> None:
    handle = await yard.start("worker", "go", model=playing(anyio.sleep_forever))

    with pytest.raises(SessionBusyError):
        await yard.resume(handle.claimed.session_id, model=playing("x"))


async def test_session_of_another_root_is_not_resumed(yard: Orchestrator, tmp_path: Path) -> None:
    session_id = await failed(yard)
    async with Orchestrator.open(tmp_path) as elsewhere:
        with pytest.raises(WrongRootError):
            await elsewhere.resume(session_id, model=playing("x"))
        with pytest.raises(NotFoundError):
            await elsewhere.resume("nope")


async def test_budget_is_spent_once(yard: Orchestrator) -> None:
    session_id = await failed(yard, [READ], [READ], [READ])

    for asked in (1, 0):
        given: list[list[ModelMessage]] = []
        model = watching(playing(*[[READ]] * 9), given)
        with pytest.raises(LimitError, match="4 requests"):
            await (await yard.resume(session_id, model=model)).result()
        assert len(given) == asked


async def test_resumed_run_takes_the_spec_as_it_is_now_and_says_so(
    yard: Orchestrator, furnished: Path
) -> None:
    session_id = await failed(yard, [READ])
    before = (await yard.agents.get("worker")).sha256
    furnished.write_text(SPEC.replace("requests: 4", "requests: 9"))

    await (await yard.resume(session_id, model=playing([READ], "done"))).result()

    events = [recorded.event for recorded in await record_of(yard, session_id)]
    (resumed,) = [event for event in events if isinstance(event, RunResumed)]
    assert resumed.spec_sha256 == (await yard.agents.get("worker")).sha256 != before
    (run,) = await yard.sessions.runs(session_id)
    assert run.spec_sha256 == before


async def test_resumed_run_takes_the_model_that_it_had_last(yard: Orchestrator) -> None:
    session_id = await failed(yard)
    with pytest.raises(ModelNotConfiguredError, match="function:played"):
        await yard.resume(session_id)
    other = FunctionModel(stream_function=failing().stream_function, model_name="other")  # type: ignore[attr-defined]  # it is one of these
    with pytest.raises(ModelUnavailableError):
        await (await yard.resume(session_id, model=other)).result()

    assert (await yard.sessions.look(session_id, last_attempt)).model == "function:other"
    (run,) = await yard.sessions.runs(session_id)
    assert run.model == "function:played"


async def test_whoever_follows_a_run_that_is_resumed_sees_all_of_it(yard: Orchestrator) -> None:
    session_id = await failed(yard, [READ])
    (run,) = await yard.sessions.runs(session_id)
    going_on = anyio.Event()
    handle = await yard.resume(session_id, model=playing([READ], going_on.wait))

    seen: list[RecordedEvent] = []
    with anyio.fail_after(10):
        async for recorded in yard.sessions.follow(session_id, run_id=run.id):
            seen.append(recorded)
            if isinstance(recorded.event, RunResumed):
                going_on.set()

    assert [e.seq for e in seen] == list(range(1, len(seen) + 1))
    assert [e.event.status for e in seen if isinstance(e.event, RunEnded)] == [
        "failed",
        "succeeded",
    ]
    own = [recorded async for recorded in yard.follow(handle)]
    assert isinstance(own[0].event, RunResumed)


def test_command_line_resumes_a_session_in_its_own_directory(
    project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WORKYARD_MODEL", "openai:none")
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    there = ("--root", str(project))
    done = workyard("run", "repo_guide", "What does the till do?", *there, "--json")
    answer = json.loads(done.stdout)
    assert answer["status"] == "failed"
    monkeypatch.chdir(tmp_path)

    resumed = workyard("sessions", "resume", answer["session_id"], "--model", "offline", "--json")
    again = workyard("sessions", "resume", answer["session_id"])
    shown = workyard("sessions", "show", answer["session_id"])
    unknown = workyard("sessions", "resume", "nope", "--json")

    told = json.loads(resumed.stdout)
    assert resumed.exit_code == 0
    assert (told["status"], told["run_id"], told["agent"]) == (
        "succeeded",
        answer["run_id"],
        "repo_guide",
    )
    assert (again.exit_code, unknown.exit_code) == (4, 3)
    assert "nothing to resume" in again.stderr
    assert "attempt 2 with offline" in shown.stdout
    assert json.loads(unknown.stdout)["error"]["code"] == "not_found"


async def test_run_of_another_process_is_cancelled(project: Path, own_surroundings: Path) -> None:
    process, line = fork(work_until_stopped, project, own_surroundings)
    try:
        assert line.poll(20)
        session_id = line.recv()
        async with Orchestrator.open(project) as yard:
            (run,) = await yard.sessions.runs(session_id)
            with anyio.fail_after(10):
                await yard.cancel(run.id)
            events = [recorded.event for recorded in await record_of(yard, session_id)]
            assert isinstance(events[-1], RunEnded)
            assert events[-1].status == "cancelled"
            with pytest.raises(IllegalTransitionError):
                await yard.cancel(run.id)
            with pytest.raises(ConflictError, match="no run under way"):
                await yard.sessions.cancel(session_id)
            model = playing("fine")
            await yard.run("worker", "on", model=model, session_id=session_id)
        assert line.poll(10)
        assert line.recv() == RunCancelledError.__name__
    finally:
        process.kill()
        process.join()
        line.close()


async def test_command_line_cancels_a_session(project: Path, own_surroundings: Path) -> None:
    process, line = fork(work_until_stopped, project, own_surroundings)
    try:
        assert line.poll(20)
        session_id = line.recv()
        done = await anyio.to_thread.run_sync(workyard, "sessions", "cancel", session_id)
        again = await anyio.to_thread.run_sync(workyard, "sessions", "cancel", session_id)
    finally:
        process.kill()
        process.join()
        line.close()

    assert done.exit_code == 0
    assert "cancelled" in done.stderr
    assert again.exit_code == 4


async def test_process_that_does_not_answer_is_asked_all_the_same(
    project: Path, own_surroundings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.sessions.STOP_S", 0.2)
    process, line = fork(work_until_stopped, project, own_surroundings)
    try:
        assert line.poll(20)
        session_id = line.recv()
        os.kill(process.pid or 0, signal.SIGSTOP)
        async with Orchestrator.open(project) as yard:
            with pytest.raises(ConflictError, match=r"has not stopped within 0\.2 s"):
                await yard.sessions.cancel(session_id)
            os.kill(process.pid or 0, signal.SIGCONT)
            with anyio.fail_after(10):
                await yard.sessions.until_free(session_id)
            (run,) = await yard.sessions.runs(session_id)
        assert run.status == "cancelled"
    finally:
        process.kill()
        process.join()
        line.close()


async def test_run_of_the_dead_that_is_cancelled_is_marked_interrupted(
    project: Path, own_surroundings: Path
) -> None:
    async with Orchestrator.open(project) as yard:
        process, line = fork(work_until_stopped, project, own_surroundings)
        assert line.poll(20)
        session_id = line.recv()
        process.kill()
        process.join()
        line.close()

        assert (await yard.sessions.cancel(session_id)).status == "interrupted"
