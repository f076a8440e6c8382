"""An agent uses a server of the operator's by its name: what is chosen, on record, and counted."""

import json
import sys
from pathlib import Path
from typing import Any  # what TOML holds

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.models.function import FunctionModel
from pydantic_ai.tools import ToolDefinition

from mcp_server.fence.grant import Grant
from mcp_server.ports import Operator
from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.errors import NotFoundError, ServerUnavailableError
from orchestrator.events import RunEnded, ToolCalled, ToolReturned
from orchestrator.running import Running
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import record_of
from tests.orchestrator.servers.conftest import KEY, Desks, call, uses, watched
from tests.orchestrator.test_capabilities import calling
from tests.orchestrator.test_teams import READS, Script, team_of


def names(seen: list[list[ToolDefinition]]) -> list[str]:
    (tools,) = seen
    return sorted(tool.name for tool in tools)


async def returned(yard: Orchestrator, session_id: str) -> list[tuple[str, str, str]]:
    record = await record_of(yard, session_id)
    events = [r.event for r in record if isinstance(r.event, ToolReturned)]
    return [(event.tool, event.outcome, event.content) for event in events]


async def test_calls_go_to_the_server_under_its_name_and_are_on_record(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("search", "create"))
    steps: Script = [[call("desk__search", "a")], [call("desk__create", "b")], "Done."]

    run = await yard.run("clerk", "go", model=team_of(clerk=steps))

    assert run.output == "Done."
    assert desks.noted("call") == [["search", {"words": "a"}], ["create", {"words": "b"}]]
    assert await returned(yard, run.session_id) == [
        ("desk__search", "success", "search: a"),
        ("desk__create", "success", "create: b"),
    ]
    events = [recorded.event for recorded in await record_of(yard, run.session_id)]
    called = [event.arguments for event in events if isinstance(event, ToolCalled)]
    assert called == [{"words": "a"}, {"words": "b"}]
    assert rows("SELECT tool, outcome FROM tool_call ORDER BY called_at") == [
        ("desk__search", "success"),
        ("desk__create", "success"),
    ]
    assert run.usage.tool_calls == 2


async def test_server_is_opened_once_a_run_and_closed_with_it(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("search"))
    model = team_of(clerk=[[call("desk__search")], [call("desk__search")], "Done."])

    for count in (1, 2):
        await yard.run("clerk", "go", model=model)
        assert (len(desks.noted("start")), len(desks.noted("end"))) == (count, count)


async def test_agent_has_what_its_spec_names_and_the_operator_allows(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register(tools=["search", "create", "echo"])
    desks.register(name="other")
    desks.agent("clerk", READS, uses("create", "search", "env"), uses("turn.coat", name="other"))
    seen: list[list[ToolDefinition]] = []

    await yard.run("clerk", "go", model=watched(team_of(clerk=["Done."]), seen))

    assert names(seen) == ["desk__create", "desk__search", "other__turn_coat", "read_file"]


async def test_no_name_of_a_server_makes_its_tool_one_of_the_workspaces(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.enter(
        "read",
        command=[sys.executable, "-m", "mcp_server", "--root", str(yard.root)],
        tools=["read_file"],
    )
    desks.agent("clerk", READS, uses("read_file", name="read"))
    seen: list[list[ToolDefinition]] = []

    await yard.run("clerk", "go", model=watched(team_of(clerk=["Done."]), seen))

    assert names(seen) == ["read__read_file", "read_file"]


async def test_call_beyond_the_budget_is_not_made(yard: Orchestrator, desks: Desks) -> None:
    desks.register()
    desks.agent("clerk", uses("create"), "Budget: {tool_calls: 1}")
    steps: Script = [[call("desk__create"), call("desk__create")], "Done."]

    run = await yard.start("clerk", "go", model=team_of(clerk=steps))
    await run.ended.wait()

    assert desks.calls == ["create"]


async def test_server_is_given_the_variables_that_are_named_and_no_others(
    yard: Orchestrator, desks: Desks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    desks.register()
    desks.agent("clerk", uses("env"))

    run = await yard.run("clerk", "go", model=team_of(clerk=[[call("desk__env")], "Done."]))

    ((_, _, content),) = await returned(yard, run.session_id)
    names = set(json.loads(content))
    assert {"DESK_KEY", "PATH", "HOME"} <= names
    assert names <= {
        *("DESK_KEY", "PATH", "HOME"),
        *("LOGNAME", "SHELL", "TERM", "USER", "LC_CTYPE"),
    }


async def test_secret_that_a_server_repeats_is_not_recorded(
    yard: Orchestrator, desks: Desks, tmp_path: Path
) -> None:
    desks.register()
    desks.register("die", name="dead")
    desks.agent("clerk", uses("env", "echo"))
    desks.agent("late", uses("search", name="dead"))
    model = team_of(clerk=[[call("desk__env")], "Done."], late=["Done."])

    run = await yard.run("clerk", "go", model=model)
    with pytest.raises(ServerUnavailableError, match=r"no such ledger, key \*\*\*"):
        await yard.run("late", "go", model=model)

    ((_, _, content),) = await returned(yard, run.session_id)
    assert json.loads(content)["DESK_KEY"] == "***"
    for table in ("event", "message", "tool_call", "run"):
        assert KEY not in str(rows(f"SELECT * FROM {table}"))


async def test_server_runs_where_no_agent_can_put_anything(
    yard: Orchestrator, desks: Desks, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many programs take settings, and even code, from the directory that they are started in."""
    monkeypatch.chdir(project)
    desks.register()
    desks.agent("clerk", uses("place"))

    run = await yard.run("clerk", "go", model=team_of(clerk=[[call("desk__place")], "Done."]))

    assert [content for *_, content in await returned(yard, run.session_id)] == [
        str(desks.file.parent)
    ]


@pytest.mark.parametrize(
    ("words", "settings", "problem"),
    [
        (["die"], {}, r"cannot be opened: Connection closed \(desk: no such ledger"),
        (["mute"], {"start_timeout_s": 0.5}, r"has not listed its tools within 0\.5 s"),
        ([], {"command": ["no-such-program"]}, "cannot be opened: No such file or directory"),
        ([], {"env": ["NOT_SET", "DESK_KEY"]}, "NOT_SET is not set"),
        (["alien"], {}, "what it answers is none of MCP"),
        (["wrong"], {}, "describes the arguments of 'search' in a way that cannot be used"),
        (["deep"], {}, "describes the arguments of 'search' in a way that cannot be used"),
    ],
)
async def test_server_that_cannot_be_used_ends_the_run_before_a_model_is_asked(
    yard: Orchestrator, desks: Desks, words: list[str], settings: dict[str, Any], problem: str
) -> None:
    desks.register(*words, **settings)
    desks.agent("clerk", uses("search"))
    run = await yard.start("clerk", "go", model=team_of(clerk=["Done."]))

    with pytest.raises(ServerUnavailableError, match=problem):
        await run.result()

    (*_, last) = [recorded.event for recorded in await record_of(yard, run.claimed.session_id)]
    assert isinstance(last, RunEnded)
    assert (last.error_code, last.usage.requests) == ("server_unavailable", 0)
    assert len(desks.noted("start")) <= 1


async def test_tool_that_the_server_has_not_is_an_error_when_it_is_opened(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("serach"))

    with pytest.raises(NotFoundError, match=r"'desk' has no tool 'serach'; did you mean 'search'"):
        await yard.run("clerk", "go", model=team_of(clerk=["Done."]))

    assert desks.noted("end") == [[]]


async def test_run_can_be_cancelled_while_a_server_starts(yard: Orchestrator, desks: Desks) -> None:
    desks.register("mute")
    desks.agent("clerk", uses("search"))
    run = await yard.start("clerk", "go", model=team_of(clerk=["Done."]))

    await yard.cancel(run.claimed.id)

    assert run.last_event is not None
    assert run.last_event.status == "cancelled"


async def test_plain_pydantic_ai_uses_servers_by_name_too(desks: Desks) -> None:
    desks.register(tools=["search"])
    desks.agent("clerk", uses("search", "create"))
    agent = Agent.from_file(
        desks.specs / "clerk.yaml",
        custom_capability_types=CAPABILITIES,
        model=calling(call("desk__search", "x")),
    )

    assert (await agent.run("go")).output == "search: x"
    assert (await agent.run("go")).output == "search: x"
    assert len(desks.noted("start")) == 2


async def test_plain_pydantic_ai_hears_of_a_server_that_there_is_not(desks: Desks) -> None:
    desks.register(name="disk")
    desks.agent("clerk", uses("search"))
    answer = FunctionModel(lambda messages, info: ModelResponse([TextPart("ok")]))
    agent = Agent.from_file(
        desks.specs / "clerk.yaml", custom_capability_types=CAPABILITIES, model=answer
    )

    with pytest.raises(NotFoundError, match="no MCP server 'desk'; did you mean 'disk'"):
        await agent.run("go")


async def test_callers_over_http_have_no_servers(yard: Orchestrator, desks: Desks) -> None:
    """No scope opens them, and what an agent may do is within what its caller may."""
    desks.register()
    desks.agent("clerk", READS, uses("search"))
    seen: list[list[ToolDefinition]] = []

    model = watched(team_of(clerk=["Done."]), seen)
    everything = Grant.full()
    operator = Operator(root=str(yard.root), grant=everything, specs=str(desks.specs))
    local = Running(yard, operator, yard.connection, everything, yard.servers, None)
    assert local.servers.narrowed("desk", ("search",)) == ("search",)

    await yard.run("clerk", "go", model=model, servers=local.of("ada", everything).servers)

    assert names(seen) == ["read_file"]
    assert desks.noted("start") == []
    for running, lacks in ((local, ()), (local.of("ada", everything), ("MCP server desk",))):
        (clerk,) = (each for each in await running.agents() if each.name == "clerk")
        assert clerk.lacks == lacks
