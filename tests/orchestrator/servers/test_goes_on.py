"""Calls of servers wait for a yes, are not made twice, and play again; delegates have less."""

from dataclasses import dataclass
from typing import Any  # deps and results of any type

import pytest
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, RunContext
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition

from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.errors import ApprovalNeededError
from orchestrator.events import AgentAsked
from orchestrator.replay.differences import Verdict
from orchestrator.resumption import UNKNOWN
from orchestrator.servers.capability import McpServer
from orchestrator.store.approvals import Answer
from tests.orchestrator.played import record_of
from tests.orchestrator.servers.conftest import Desks, call, uses, watched
from tests.orchestrator.servers.test_runs import names, returned
from tests.orchestrator.test_capabilities import calling
from tests.orchestrator.test_resumption import Killed, Played, Record, results
from tests.orchestrator.test_resumption import record as record
from tests.orchestrator.test_teams import Script, delegate, team_of

YES = Answer(is_approved=True, by="sam")
NO = Answer(is_approved=False, by="sam", reason="not now")


async def waits(yard: Orchestrator, script: Script) -> tuple[str, str]:
    """Run the clerk until it waits; return its session and its run."""
    handle = await yard.start("clerk", "go", model=team_of(clerk=script))
    with pytest.raises(ApprovalNeededError):
        await handle.result()
    return handle.claimed.session_id, handle.claimed.id


OF_SPEC = ("Approvals: {tools: [desk__create]}",)
ASKS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "operator": ({"ask": ["create"]}, ()),
    "operator, for all": ({"ask": ["*"]}, ()),
    "spec": ({}, OF_SPEC),
    "both": ({"ask": ["create"]}, OF_SPEC),
}


@pytest.mark.parametrize("who", ASKS)
async def test_call_that_needs_a_yes_is_made_once_somebody_has_said_it(
    yard: Orchestrator, desks: Desks, who: str
) -> None:
    settings, capabilities = ASKS[who]
    desks.register(**settings)
    desks.agent("clerk", uses("create"), *capabilities)
    script: Script = [[call("desk__create", "a")], "Done."]
    session_id, run_id = await waits(yard, script)
    assert desks.calls == []
    (question,) = await yard.sessions.questions()
    assert (question.request.tool, question.request.arguments) == ("desk__create", {"words": "a"})

    await yard.sessions.answer(run_id, YES)
    run = await (await yard.resume(session_id, model=team_of(clerk=script))).result()

    assert run.output == "Done."
    assert desks.noted("call") == [["create", {"words": "a"}]]
    assert await yard.sessions.questions() == []


async def test_no_is_told_to_the_model_and_a_yes_is_for_one_call(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register(ask=["create"])
    desks.agent("clerk", uses("create", "search"))
    both = [call("desk__create", "a"), call("desk__search", "b")]
    script: Script = [both, [call("desk__create", "c")], "Done."]
    session_id, run_id = await waits(yard, script)
    assert desks.calls == ["search"]

    await yard.sessions.answer(run_id, NO)
    with pytest.raises(ApprovalNeededError):
        await (await yard.resume(session_id, model=team_of(clerk=script))).result()

    assert desks.calls == ["search"]
    assert [each for each in await returned(yard, session_id) if each[1] == "denied"] == [
        ("desk__create", "denied", "A person has said no to this call: not now")
    ]


async def test_in_plain_pydantic_ai_such_a_call_is_deferred(desks: Desks) -> None:
    desks.register(ask=["create"])
    desks.agent("clerk", uses("create"))
    agent: Agent[None, Any] = Agent.from_file(
        desks.specs / "clerk.yaml",
        custom_capability_types=CAPABILITIES,
        model=calling(call("desk__create", "a")),
        output_type=[str, DeferredToolRequests],
    )

    asked = await agent.run("go")
    assert isinstance(asked.output, DeferredToolRequests)
    assert desks.calls == []
    (waiting,) = asked.output.approvals
    said = DeferredToolResults(approvals={waiting.tool_call_id: True})
    done = await agent.run(message_history=asked.all_messages(), deferred_tool_results=said)

    assert done.output == "create: a"
    assert desks.calls == ["create"]


@dataclass
class Dying(AbstractCapability[Any]):
    """Lets the process die when a tool has done its work and before anybody knows."""

    tool: str

    async def after_tool_execute(
        self,
        ctx: RunContext[Any],
        *,
        call: ToolCallPart,
        tool_def: ToolDefinition,
        args: dict[str, Any],
        result: Any,
    ) -> Any:
        if call.tool_name == self.tool:
            self.tool = ""
            raise Killed
        return result


async def test_call_that_is_settled_is_not_made_again_and_one_that_is_not_is_said_to_be_unknown(
    record: Record, desks: Desks
) -> None:
    desks.register()
    first, second = ((*call("desk__search", "a"), "1"), (*call("desk__create", "b"), "2"))
    played = Played([[first], [second], "done"])
    server = McpServer("desk", ["search", "create"])
    agent = Agent(played.model(), capabilities=[server, Dying("desk__create")])
    await record.begin(agent)

    assert await record.go_on(agent) == "done"

    assert desks.calls == ["search", "create"]
    given = results(played.given[-1])
    assert (given["1"].outcome, given["1"].content) == ("success", "search: a")
    unknown = UNKNOWN.format(tool="desk__create")
    assert (given["2"].outcome, given["2"].content) == ("failed", unknown)


async def test_replay_gives_what_was_recorded_and_starts_no_server(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("search", "create", "fail", "picture"))
    first = [call("desk__create", "a"), call("desk__fail"), call("desk__picture")]
    model = team_of(clerk=[first, [call("desk__search", "b")], "Done."])
    run = await yard.run("clerk", "go", model=model)
    desks.file.unlink()

    replay = await yard.replay(run.run_id)

    assert (replay.problem, replay.differs) == (None, False)
    assert [(each.tool, each.verdict) for each in replay.calls] == [
        ("desk__create", Verdict.SAME),
        ("desk__fail", Verdict.SAME),
        ("desk__picture", Verdict.SAME),
        ("desk__search", Verdict.SAME),
    ]
    assert len(desks.noted("start")) == 1


async def test_replay_tells_calls_apart_that_have_one_id(yard: Orchestrator, desks: Desks) -> None:
    """Some providers give each call the same."""
    desks.register()
    desks.agent("clerk", uses("search"))
    steps = [[(*call("desk__search", words), "1")] for words in ("a", "b")]
    run = await yard.run("clerk", "go", model=team_of(clerk=[*steps, "Done."]))

    replay = await yard.replay(run.run_id)

    assert [each.now.text for each in replay.calls if each.now] == ["search: a", "search: b"]


async def test_replay_asks_nobody_for_a_yes(yard: Orchestrator, desks: Desks) -> None:
    desks.register(ask=["create"])
    desks.agent("clerk", uses("create"))
    script: Script = [[call("desk__create", "a")], "Done."]
    session_id, run_id = await waits(yard, script)
    await yard.sessions.answer(run_id, YES)
    await (await yard.resume(session_id, model=team_of(clerk=script))).result()

    replay = await yard.replay(run_id)

    assert not replay.differs


async def test_another_model_is_told_of_the_tools_and_calls_none(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("create"))
    model = team_of(clerk=[[call("desk__create", "a")], "Done."])
    run = await yard.run("clerk", "go", model=model)
    seen: list[Any] = []

    comparison = await yard.compare(run.run_id, watched(model, seen))

    assert [point.same_calls for point in comparison.points] == [True, True]
    assert [(tool.name, tool.description) for tool in seen[0]] == [("desk__create", "Does create.")]
    assert desks.calls == ["create"]


@pytest.mark.parametrize(
    ("chief", "has"),
    [
        ([uses("search")], ["desk__search"]),
        ([uses("search"), uses("create", name="other")], ["desk__search"]),
        ([], []),
    ],
)
async def test_delegate_has_never_more_of_a_server_than_who_asks_it(
    yard: Orchestrator, desks: Desks, chief: list[str], has: list[str]
) -> None:
    desks.register(tools=["search", "create"])
    desks.register(name="other")
    desks.agent("chief", *chief, "SubAgents: {agents: [middle]}")
    desks.agent("middle", uses("search", "create"), "SubAgents: {agents: [clerk]}")
    desks.agent("clerk", uses("search", "create"))
    seen: list[Any] = []
    asking: list[Script] = [[[delegate(to)], "Done."] for to in ("middle", "clerk")]
    model = team_of(chief=asking[0], middle=asking[1], clerk=["Done."])

    run = await yard.run("chief", "go", model=watched(model, seen))

    of_clerk = [tools for tools in seen if "delegate" not in {tool.name for tool in tools}]
    assert names(of_clerk) == has
    events = [recorded.event for recorded in await record_of(yard, run.session_id)]
    assert any(isinstance(event, AgentAsked) for event in events)


async def test_delegate_in_plain_pydantic_ai_has_never_more_either(desks: Desks) -> None:
    desks.register()
    (desks.file.parent / "agents").mkdir()
    desks.agent("chief", uses("search"), "SubAgents: {agents: [clerk]}")
    desks.agent("clerk", uses("search", "create"))
    (desks.specs / "clerk.yaml").rename(desks.file.parent / "agents" / "clerk.yaml")
    seen: list[Any] = []
    agent: Agent[None, Any] = Agent.from_file(
        desks.specs / "chief.yaml",
        custom_capability_types=CAPABILITIES,
        model=watched(team_of(chief=[[delegate("clerk")], "Done."], clerk=["Done."]), seen),
    )

    async with agent.run_stream_events("go") as events:
        async for _ in events:
            pass

    assert names([tools for tools in seen if len(tools) == 1]) == ["desk__search"]
