"""Agents that ask others: each works on record, within the rights and at the cost of who asks."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any  # what JSON holds

import anyio
import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
)
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from mcp_server.fence.grant import Grant
from orchestrator.agents import check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.catalogue import Catalogue
from orchestrator.connections import InProcessConnection
from orchestrator.errors import ConflictError, LimitError, RunCancelledError, SpecError
from orchestrator.events import AgentAsked, ToolReturned
from orchestrator.lifecycle import RunStatus
from orchestrator.runner import RunHandle
from orchestrator.specs import load_spec
from orchestrator.teams.members import check_team
from tests.orchestrator.by_hand import held_by_the_dead, rows
from tests.orchestrator.moments import passing
from tests.orchestrator.played import record_of

Call = tuple[str, dict[str, Any]]
Identified = tuple[str, dict[str, Any], str]
"""A call with an id of its own: some providers give each call the same one."""
Script = list[list[Call] | list[Identified] | str | Callable[[], Any]]


def delegate(agent: str, task: str = "Look.", **inputs: object) -> Call:
    return "delegate", {"agent": agent, "task": task, **({"inputs": inputs} if inputs else {})}


def team_of(**scripts: Script) -> Model:
    """Return a model that follows the script of the agent that asks it, a step a request.

    An agent is told by its instructions, which are its name. The last step is repeated.
    """

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        for index, part in enumerate((await answer(messages, info)).parts):
            if isinstance(part, ToolCallPart):
                arguments = part.args_as_json_str()
                call = DeltaToolCall(part.tool_name, arguments, tool_call_id=part.tool_call_id)
                yield {index: call}
            elif isinstance(part, TextPart):
                yield part.content

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        script = scripts[str(info.instructions)]
        done = sum(isinstance(message, ModelResponse) for message in messages)
        step = script[min(done, len(script) - 1)]
        if isinstance(step, list):
            ids = (f"{info.instructions}.{done}.{index}" for index in range(len(step)))
            return ModelResponse([ToolCallPart(*(*call, next(ids))[:3]) for call in step])
        text = step if isinstance(step, str) else str(await step())
        return ModelResponse([TextPart(text)])

    return FunctionModel(answer, stream_function=stream, model_name="scripted")


def spec(name: str, *capabilities: str) -> str:
    lines = [f"name: {name}", f"description: Is {name}.", f"instructions: {name}"]
    return "\n".join([*lines, "capabilities:", *(f"  - {c}" for c in capabilities)]) + "\n"


READS = "WorkspaceTools: {tools: [read_file], read: ['**']}"
WRITES = "WorkspaceTools: {tools: [read_file, write_file], read: ['**'], write: ['**']}"
WRITE: Call = ("write_file", {"path": "new.txt", "content": "new\n"})
READ: Call = ("read_file", {"path": "README.md"})


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    found = tmp_path / "specs"
    found.mkdir()
    for name, capabilities in {
        "chief": (WRITES, "SubAgents: {agents: [writer, reader, middle]}"),
        "reading_chief": (READS, "SubAgents: {agents: [writer]}"),
        "handless_chief": ("SubAgents: {agents: [writer]}",),
        "poor_chief": (READS, "SubAgents: {agents: [reader, middle]}", "Budget: {requests: 5}"),
        "strict_chief": (READS, "SubAgents: {agents: [reader], at_once: 1, runs: 2}"),
        "middle": (READS, "SubAgents: {agents: [reader]}"),
        "writer": (WRITES,),
        "reader": (READS,),
    }.items():
        (found / f"{name}.yaml").write_text(spec(name, *capabilities))
    return found


@pytest.fixture
async def yard(project: Path, specs: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as opened:
        yield opened


async def returned(yard: Orchestrator, session_id: str) -> list[tuple[str, str]]:
    record = await record_of(yard, session_id)
    return [(e.event.outcome, e.event.content) for e in record if isinstance(e.event, ToolReturned)]


async def asked(yard: Orchestrator, session_id: str) -> list[AgentAsked]:
    record = await record_of(yard, session_id)
    return [recorded.event for recorded in record if isinstance(recorded.event, AgentAsked)]


async def test_delegate_works_in_a_run_of_its_own_below_the_one_that_asks(
    yard: Orchestrator, project: Path
) -> None:
    model = team_of(
        chief=[[delegate("writer", "Write it.")], "Done."], writer=[[WRITE], "Written."]
    )

    run = await yard.run("chief", "go", model=model)

    assert run.output == "Done."
    assert (project / "new.txt").read_text() == "new\n"
    assert await returned(yard, run.session_id) == [("success", "Written.")]
    (event,) = await asked(yard, run.session_id)
    child = await yard.sessions.run(event.run_id)
    assert (child.row.agent, child.row.prompt, child.row.output) == (
        "writer",
        "Write it.",
        "Written.",
    )
    assert child.session_id == event.session_id
    (parent,) = await yard.sessions.runs(run.session_id)
    assert child.row.parent_pk == parent.pk
    # Each has used what it has used itself: nothing is counted twice.
    assert (run.usage.requests, child.row.requests) == (2, 2)
    totals = {total.of: total.requests for total in await yard.usage(by="agent")}
    assert totals == {"chief": 2, "writer": 2}


async def test_sessions_of_delegates_are_not_among_the_users_own(yard: Orchestrator) -> None:
    model = team_of(chief=[[delegate("reader")], "Done."], reader=["Read."])

    run = await yard.run("chief", "go", model=model)

    assert [session.id for session in await yard.sessions.latest()] == [run.session_id]
    (event,) = await asked(yard, run.session_id)
    assert (await yard.sessions.get(event.session_id)).title == "Look."


@pytest.mark.parametrize("chief", ["reading_chief", "handless_chief"])
async def test_delegate_has_never_more_than_who_asks_it(
    yard: Orchestrator, project: Path, chief: str
) -> None:
    asking: Script = [[delegate("writer")], "Done."]
    model = team_of(**{chief: asking}, writer=[[WRITE], "I tried."])

    run = await yard.run(chief, "go", model=model)

    assert not (project / "new.txt").exists()
    (event,) = await asked(yard, run.session_id)
    ((outcome, content),) = await returned(yard, event.session_id)
    assert outcome != "success"
    assert "write_file" in content


async def test_rights_of_all_above_hold_for_the_last_one(
    yard: Orchestrator, project: Path, specs: Path
) -> None:
    (specs / "middle.yaml").write_text(spec("middle", READS, "SubAgents: {agents: [writer]}"))
    model = team_of(
        chief=[[delegate("middle")], "Done."],
        middle=[[delegate("writer")], "Asked."],
        writer=[[WRITE], "I tried."],
    )

    run = await yard.run("chief", "go", model=model)

    assert run.output == "Done."
    assert not (project / "new.txt").exists()


async def test_requests_of_delegates_count_to_the_budget_of_who_asks(yard: Orchestrator) -> None:
    model = team_of(
        poor_chief=[[delegate("middle")], "Never said."],
        middle=[[delegate("reader")], "Never said."],
        reader=[[READ]],  # and again, for ever
    )

    with pytest.raises(LimitError, match="budget of 5 requests is used up: 5 so far"):
        await yard.run("poor_chief", "go", model=model)

    counts = {total.of: total.requests for total in await yard.usage(by="agent")}
    assert counts == {"poor_chief": 1, "middle": 1, "reader": 3}


async def test_delegates_at_work_together_share_one_budget(yard: Orchestrator) -> None:
    both = [delegate("reader", "One."), delegate("reader", "Two.")]
    model = team_of(poor_chief=[both, "Never said."], reader=[[READ]])

    with pytest.raises(LimitError):
        await yard.run("poor_chief", "go", model=model)

    counts = {total.of: total.requests for total in await yard.usage(by="agent")}
    # Each request is checked before it is made; two that are made at once may be one too many.
    assert counts["poor_chief"] + counts["reader"] in (5, 6)


async def test_no_more_are_at_work_and_asked_than_the_spec_allows(yard: Orchestrator) -> None:
    at_work, most = 0, 0

    async def work() -> str:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await anyio.sleep(0.02)
        at_work -= 1
        return "Read."

    three = [delegate("reader", task) for task in ("One.", "Two.", "Three.")]
    model = team_of(strict_chief=[three, "Done."], reader=[work])

    run = await yard.run("strict_chief", "go", model=model)

    outcomes = await returned(yard, run.session_id)
    assert most == 1
    assert sorted(outcome for outcome, _ in outcomes) == ["failed", "success", "success"]
    (told,) = (content for outcome, content in outcomes if outcome == "failed")
    assert "2 tasks have been given, as many as may be. Go on alone." in told


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (delegate("nobody"), "There is no agent 'nobody'; there is 'writer', 'reader', 'middle'."),
        (delegate("repo_guide"), "There is no agent 'repo_guide'"),
        (delegate("reader", " "), "The task is empty"),
        (delegate("reader", x=1), "Agent 'reader' takes no input 'x'"),
    ],
)
async def test_order_that_cannot_be_is_told_to_who_asks(
    yard: Orchestrator, call: Call, told: str
) -> None:
    run = await yard.run("chief", "go", model=team_of(chief=[[call], "I see."], reader=["Read."]))

    ((outcome, content),) = await returned(yard, run.session_id)
    assert outcome == "retried"
    assert told in content
    assert await asked(yard, run.session_id) == []


async def test_each_task_is_done_whatever_ids_a_provider_gives(yard: Orchestrator) -> None:
    tasks: Script = [
        [(*delegate("reader", "One."), "same")],
        [(*delegate("reader", "Two."), "same")],
        "Done.",
    ]

    run = await yard.run("chief", "go", model=team_of(chief=tasks, reader=["Read."]))

    children = [await yard.sessions.run(e.run_id) for e in await asked(yard, run.session_id)]
    assert [child.row.prompt for child in children] == ["One.", "Two."]


async def test_delegate_that_fails_is_told_to_who_asks(yard: Orchestrator, specs: Path) -> None:
    (specs / "reader.yaml").write_text(spec("reader", READS, "Budget: {requests: 1}"))
    model = team_of(chief=[[delegate("reader")], "I see."], reader=[[READ]])

    run = await yard.run("chief", "go", model=model)

    ((outcome, content),) = await returned(yard, run.session_id)
    assert outcome == "failed"
    assert "reader has no answer: The budget of 1 requests is used up" in content


async def test_spec_that_leads_in_a_circle_is_refused_before_anything_runs(
    yard: Orchestrator, specs: Path
) -> None:
    (specs / "reader.yaml").write_text(spec("reader", READS, "SubAgents: {agents: [middle]}"))

    with pytest.raises(SpecError, match="in a circle: chief → reader → middle → reader") as caught:
        await yard.run("chief", "go", model=team_of(chief=["Hello."]))

    assert caught.value.file == specs / "middle.yaml"
    assert (caught.value.line, caught.value.field) == (6, "capabilities[1].SubAgents.agents[0]")
    assert await yard.sessions.latest() == []


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("SubAgents: {agents: [raeder]}", "did you mean 'reader'"),
        ("SubAgents: {agents: [broken]}", "agent 'broken' cannot be used"),
        ("SubAgents: {agents: [one]}", "more than 3 agents below the first one"),
    ],
)
def test_members_that_cannot_be_are_named(specs: Path, entry: str, problem: str) -> None:
    (specs / "boss.yaml").write_text(spec("boss", READS, entry))
    (specs / "broken.yaml").write_text("name: broken\n")
    for name, below in (("one", "two"), ("two", "three"), ("three", "reader")):
        (specs / f"{name}.yaml").write_text(spec(name, f"SubAgents: {{agents: [{below}]}}"))

    def get(name: str) -> Any:
        return Catalogue((specs,)).get(name)

    with pytest.raises(SpecError, match=problem):
        check_team(load_spec(specs / "boss.yaml"), get)


@pytest.mark.parametrize(
    "arguments",
    ["{}", "{agents: []}", "{agents: [a, a]}", "{agents: [a], at_once: 0}", "{agents: [a], n: 1}"],
)
def test_arguments_that_do_not_fit_are_refused_with_their_line(
    tmp_path: Path, arguments: str
) -> None:
    file = tmp_path / "boss.yaml"
    file.write_text(spec("boss", READS, f"SubAgents: {arguments}"))

    with pytest.raises(SpecError) as caught:
        check_spec(load_spec(file))

    assert caught.value.line == 6


async def test_who_is_cancelled_takes_its_delegates_along_and_goes_on_with_them(
    yard: Orchestrator,
) -> None:
    begun, released = anyio.Event(), anyio.Event()

    async def work() -> str:
        begun.set()
        await released.wait()
        return "Read."

    model = team_of(chief=[[delegate("reader")], "Done."], reader=[[READ], work])
    handle = await yard.start("chief", "go", model=model)
    await begun.wait()
    await yard.cancel(handle.claimed.id)
    with pytest.raises(RunCancelledError):
        await handle.result()
    (event,) = await asked(yard, handle.claimed.session_id)
    assert (await yard.sessions.run(event.run_id)).status is RunStatus.CANCELLED

    released.set()
    resumed = await (await yard.resume(handle.claimed.session_id, model=model)).result()

    assert resumed.output == "Done."
    assert await asked(yard, handle.claimed.session_id) == [event]
    again = await yard.sessions.run(event.run_id)
    assert (again.status, again.row.attempt) == (RunStatus.SUCCEEDED, 2)
    assert rows("SELECT count(*) FROM run") == [(2,)]
    assert await returned(yard, event.session_id) == [
        (o, c) for o, c in await returned(yard, event.session_id) if o == "success"
    ]


async def stopped_at(yard: Orchestrator, model: Model, agent: str, moment: str) -> RunHandle:
    """Start an agent and stop it at the first moment that says this."""

    def stop(passed: str) -> None:
        if moment in passed:
            handle.stop()

    with passing(stop):
        handle = await yard.start(agent, "go", model=model)
        with pytest.raises(RunCancelledError):
            await handle.result()
    return handle


async def test_tasks_are_counted_over_all_attempts_at_a_run(yard: Orchestrator) -> None:
    model = team_of(
        strict_chief=[
            [delegate("reader", "One.")],
            [delegate("reader", "Two."), READ],
            [delegate("reader", "Three.")],
            "Done.",
        ],
        reader=["Read."],
    )
    # That the delegate was asked is written before or with this, as it happens.
    moment = "tool_returned strict_chief.1.0"
    handle = await stopped_at(yard, model, "strict_chief", moment)

    await (await yard.resume(handle.claimed.session_id, model=model)).result()

    outcomes = await returned(yard, handle.claimed.session_id)
    told = [content for outcome, content in outcomes if outcome == "failed"]
    assert "2 tasks have been given, as many as may be" in told[0]
    assert rows("SELECT count(*) FROM run WHERE agent = 'reader'") == [(2,)]


async def test_delegate_goes_on_with_who_has_asked_it_and_not_alone(yard: Orchestrator) -> None:
    """Alone it would have rights and a budget that it was never given."""
    model = team_of(chief=[[delegate("reader")], "Done."], reader=[[READ], "Read."])
    handle = await stopped_at(yard, model, "chief", "before write: record reader tool_returned")
    (event,) = await asked(yard, handle.claimed.session_id)

    with pytest.raises(ConflictError, match=f"resume session '{handle.claimed.session_id}'"):
        await yard.resume(event.session_id, model=model)

    assert (await yard.sessions.run(event.run_id)).status is RunStatus.CANCELLED


async def test_turns_added_to_a_delegates_session_are_no_answer_to_who_has_asked_it(
    yard: Orchestrator,
) -> None:
    model = team_of(chief=[[delegate("reader")], "Done."], reader=["Read.", "More."])
    handle = await stopped_at(yard, model, "chief", "after write: end")
    (event,) = await asked(yard, handle.claimed.session_id)
    await yard.run("reader", "And?", session_id=event.session_id, model=model)

    await (await yard.resume(handle.claimed.session_id, model=model)).result()

    assert await returned(yard, handle.claimed.session_id) == [("success", "Read.")]


def three_deep() -> Model:
    return team_of(
        chief=[[delegate("middle")], "Done."],
        middle=[[delegate("reader")], "Asked."],
        reader=["Read."],
    )


async def test_delegates_die_with_the_process_of_who_has_asked_them(yard: Orchestrator) -> None:
    model = team_of(
        chief=[[delegate("middle")], "."], middle=[[delegate("reader")], "."], reader=["."]
    )
    run = await yard.run("chief", "go", model=model)
    held_by_the_dead()

    await yard.sessions.cancel(run.session_id)

    assert rows("SELECT agent, status FROM run ORDER BY pk") == [
        ("chief", "interrupted"),
        ("middle", "interrupted"),
        ("reader", "interrupted"),
    ]


async def test_sessions_of_delegates_are_deleted_with_the_one_they_work_for(
    yard: Orchestrator,
) -> None:
    model = team_of(
        chief=[[delegate("middle")], "."], middle=[[delegate("reader")], "."], reader=["."]
    )
    kept = await yard.run("chief", "go", model=model)
    run = await yard.run("chief", "go", model=model)

    await yard.sessions.delete(run.session_id)

    assert rows("SELECT agent FROM run ORDER BY pk") == [("chief",), ("middle",), ("reader",)]
    assert rows("SELECT count(*) FROM session") == [(3,)]
    assert [session.id for session in await yard.sessions.latest()] == [kept.session_id]


async def test_replay_gives_what_delegates_have_answered_and_runs_none(
    yard: Orchestrator,
) -> None:
    model = team_of(chief=[[READ, delegate("reader")], "Done."], reader=["Read."])
    run = await yard.run("chief", "go", model=model)

    replay = await yard.replay(run.run_id)

    assert (replay.problem, replay.differs) == (None, False)
    assert [call.tool for call in replay.calls] == ["read_file", "delegate"]
    assert rows("SELECT count(*) FROM run") == [(2,)]


async def test_replay_gives_the_answer_to_the_call_whatever_ids_a_provider_gives(
    yard: Orchestrator,
) -> None:
    answers = iter(("First.", "Second."))

    async def say() -> str:
        return next(answers)

    tasks: Script = [
        [(*delegate("reader", "One."), "same")],
        [(*delegate("reader", "Two."), "same")],
        "Done.",
    ]
    run = await yard.run("chief", "go", model=team_of(chief=tasks, reader=[say]))

    replay = await yard.replay(run.run_id)

    assert (replay.problem, replay.differs) == (None, False)
    assert [call.now.text for call in replay.calls if call.now] == ["First.", "Second."]


async def test_plain_pydantic_ai_runs_a_team_with_its_rights_and_budget(
    project: Path, specs: Path, monkeypatch: pytest.MonkeyPatch, own_surroundings: Path
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("WORKYARD_CONFIG_DIR", str(specs.parent / "config"))
    (specs.parent / "config").mkdir()
    specs.rename(specs.parent / "config" / "agents")
    file = specs.parent / "config" / "agents" / "reading_chief.yaml"
    model = team_of(reading_chief=[[delegate("writer")], "Done."], writer=[[WRITE], "I tried."])
    agent = Agent.from_file(file, custom_capability_types=CAPABILITIES, model=model)

    result = await agent.run("go")

    answers = [
        part.content
        for message in result.all_messages()
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]
    assert (result.output, answers) == ("Done.", ["I tried."])
    assert not (project / "new.txt").exists()


async def test_delegate_has_no_more_than_the_run_that_asks_was_given(
    yard: Orchestrator, project: Path
) -> None:
    """As when a caller over HTTP runs an agent that may do more than the caller."""
    model = team_of(chief=[[delegate("writer")], "Done."], writer=[[WRITE], "Written."])
    reading = yard.connection.within(Grant.from_values({"tools": ["read_file"], "read": ["**"]}))

    run = await yard.run("chief", "go", model=model, connection=reading)

    (event,) = await asked(yard, run.session_id)
    assert not (project / "new.txt").exists()
    (outcome, content) = (await returned(yard, event.session_id))[0]
    assert outcome != "success"
    assert "write_file" in content
