"""What a spec says of servers is looked at before anything runs, wherever it comes from."""

from typing import Any  # what JSON holds

import pytest

from orchestrator.agents import check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.definition import Visibility
from orchestrator.errors import InvalidInputError, NotFoundError, SpecError
from orchestrator.specs import Spec, load_spec
from orchestrator.validation import Finding, findings_of
from tests.orchestrator.by_hand import rows
from tests.orchestrator.servers.conftest import Desks, call, uses
from tests.orchestrator.test_teams import READS, team_of
from tests.orchestrator.test_trust import BUDGET, values


def nobody(name: str) -> Spec:
    raise NotFoundError("agent", name)


def found(desks: Desks, *capabilities: str) -> list[Finding]:
    desks.agent("clerk", *capabilities)
    return findings_of(load_spec(desks.specs / "clerk.yaml"), nobody)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"name": "desk"}, "tools names those that may be used; 'workyard servers desk --check'"),
        ({"name": "desk", "tools": []}, "tools names those that may be used"),
        ("desk", "tools names those that may be used"),
        ({"tools": ["search"]}, "name is that of a server in servers.toml"),
        ({"name": "http://x/", "tools": ["search"]}, "nowhere in a spec"),
        ({"name": "/bin/sh", "tools": ["search"]}, "nowhere in a spec"),
        ({"name": ["sh", "-c"], "tools": ["search"]}, "nowhere in a spec"),
        ({"name": "desk", "tools": ["*"]}, "letters, digits and _ . - only"),
        ({"name": "desk", "tools": [1]}, "letters, digits and _ . - only"),
        ({"name": "desk", "tools": ["a.b", "a_b"]}, "two tools would be called 'desk__a_b'"),
        ({"name": "desk", "tools": ["x" * 59]}, "longer than 64 characters"),
        ({"name": "desk", "tools": ["a"], "url": "http://x/"}, "McpServer has no 'url'"),
        ({"name": "desk", "tools": ["a"], "command": ["sh"]}, "McpServer has no 'command'"),
        ({"name": "desk", "tools": ["a"], "headers": {"A": "b"}}, "McpServer has no 'headers'"),
        ({"name": "desk", "tools": ["a"], "env": ["HOME"]}, "McpServer has no 'env'"),
    ],
)
async def test_spec_says_a_name_and_tools_and_nothing_else(
    yard: Orchestrator, given: Any, problem: str
) -> None:
    """In a definition as in a file: neither says where a server is."""
    with pytest.raises(SpecError, match=problem.replace("*", r"\*")) as caught:
        await yard.definitions.create(values({"McpServer": given}))

    assert str(caught.value.field).startswith("capabilities[0]")


def test_spec_is_sound_whatever_servers_there_are(desks: Desks) -> None:
    """It may be written on one machine and run on another."""
    desks.agent("clerk", uses("search"))

    check_spec(load_spec(desks.specs / "clerk.yaml"))


def test_validation_names_what_a_server_has_not(desks: Desks) -> None:
    desks.register(tools=["search", "create", "wipe_out"])
    problems = found(desks, uses("search", "env", "wipe_out"), uses("search", name="dask"))

    assert [(p.line, p.field, p.is_fault) for p in problems] == [
        (6, "capabilities[1].McpServer.name", True),
        (5, "capabilities[0].McpServer.tools[1]", False),
        (5, "capabilities[0].McpServer.tools[2]", True),
    ]
    assert "no MCP server 'dask'; did you mean 'desk'" in problems[0].problem
    assert problems[1].problem == "servers.toml does not allow 'env'; the agent is not given it."
    assert problems[2].problem.startswith("MCP server 'desk' has no tool 'wipe_out'; known: ")
    assert "'workyard servers desk --check' shows what it has." in problems[2].problem


def test_server_that_cannot_be_asked_is_a_note(desks: Desks) -> None:
    desks.register(env=["NOT_SET"])

    (note,) = found(desks, uses("search"))

    assert not note.is_fault
    assert "NOT_SET is not set. Its tools are looked for when a run opens it." in note.problem


async def test_validation_works_where_an_event_loop_runs(desks: Desks) -> None:
    desks.register()

    assert found(desks, uses("search")) == []


@pytest.mark.parametrize(
    ("capabilities", "problem", "field"),
    [
        ([uses("search", name="dask")], "did you mean 'desk'", "capabilities[0].McpServer.name"),
        ([uses("env")], "allows none of these tools of 'desk'", "capabilities[0].McpServer.tools"),
        ([uses("search")] * 2, "'desk' is named twice", "capabilities[1].McpServer.name"),
    ],
)
async def test_run_that_could_not_use_its_server_leaves_nothing_on_record(
    yard: Orchestrator, desks: Desks, capabilities: list[str], problem: str, field: str
) -> None:
    desks.register(tools=["search", "create"])
    desks.agent("clerk", *capabilities)

    with pytest.raises(SpecError, match=problem) as caught:
        await yard.run("clerk", "go", model=team_of(clerk=["Done."]))

    assert (caught.value.field, caught.value.file.name) == (field, "clerk.yaml")
    assert rows("SELECT count(*) FROM run") == [(0,)]
    assert desks.noted("start") == []


async def test_agent_that_asks_one_whose_server_there_is_not_does_not_begin(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("chief", uses("search"), "SubAgents: {agents: [clerk]}")
    desks.agent("clerk", uses("search", name="dask"))

    with pytest.raises(SpecError, match="did you mean 'desk'") as caught:
        await yard.run("chief", "go", model=team_of(chief=["Done."]))

    assert caught.value.file.name == "clerk.yaml"


async def test_broken_registry_is_told_of_by_who_needs_it(yard: Orchestrator, desks: Desks) -> None:
    desks.register(tool=["search"])
    desks.agent("clerk", uses("search"))
    desks.agent("other", READS)
    model = team_of(clerk=["Done."], other=["Done."])

    with pytest.raises(InvalidInputError, match=r"servers\.toml:4: desk\.tool: there is no such"):
        await yard.run("clerk", "go", model=model)
    await yard.run("other", "go", model=model)


async def test_edit_of_the_registry_counts_from_the_next_run_on(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.agent("clerk", uses("search"))
    model = team_of(clerk=[[call("desk__search")], "Done."])
    with pytest.raises(SpecError, match="no MCP server 'desk'"):
        await yard.run("clerk", "go", model=model)
    desks.register()

    await yard.run("clerk", "go", model=model)

    assert desks.calls == ["search"]


async def test_definition_uses_a_server_by_its_name(yard: Orchestrator, desks: Desks) -> None:
    desks.register()
    entry = {"McpServer": {"name": "desk", "tools": ["search"]}}
    await yard.definitions.create(values(entry, name="sample", instructions="sample"))

    await yard.run("sample", "go", model=team_of(sample=[[call("desk__search")], "Done."]))

    assert desks.calls == ["search"]


async def test_agent_of_somebody_else_uses_what_the_operator_opens_to_it(
    yard: Orchestrator, desks: Desks
) -> None:
    """It reads the files here, and a server is a way out."""
    entries = [
        {"McpServer": {"name": "desk", "tools": ["search"]}},
        {"Budget": {**BUDGET["Budget"]}},
    ]
    shared = values(*entries, name="sample", instructions="sample")
    await yard.definitions.of("ada").create(shared, visibility=Visibility.SHARED)
    model = team_of(sample=[[call("desk__search")], "Done."])
    desks.register()
    with pytest.raises(
        SpecError, match="'desk' is not for agents that are shared; 'shared = true'"
    ):
        await yard.run("ada/sample", "go", model=model)
    desks.file.write_text(desks.file.read_text() + "\nshared = true\n")

    await yard.run("ada/sample", "go", model=model)

    assert desks.calls == ["search"]
