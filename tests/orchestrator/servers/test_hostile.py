"""What a server does to whoever uses it stays within bounds, and is told as what it is."""

import os
from pathlib import Path

import anyio
import pytest
from mcp_types import CallToolResult, TextContent
from pydantic_ai.messages import BinaryContent, ToolReturnPart
from pydantic_ai.tools import ToolDefinition

from orchestrator.bootstrap import Orchestrator
from orchestrator.servers.results import Cleaning
from orchestrator.servers.wire import MAX_MESSAGE_BYTES
from tests.orchestrator.servers.conftest import Desks, call, uses, watched
from tests.orchestrator.servers.test_runs import returned
from tests.orchestrator.test_teams import team_of

AGAIN = call("desk__search", "again")


async def said(yard: Orchestrator, desks: Desks, tool: str) -> list[tuple[str, str]]:
    """Return how a call of a tool has ended, and one of `search` after it."""
    desks.agent("clerk", uses(tool, "search"))
    name = f"desk__{tool.replace('.', '_')}"
    run = await yard.run("clerk", "go", model=team_of(clerk=[[call(name)], [AGAIN], "Done."]))
    return [(outcome, content) for _, outcome, content in await returned(yard, run.session_id)]


async def result(yard: Orchestrator, tool: str) -> object:
    """Return the whole result of a tool's call, as it is on record."""
    (session,) = await yard.sessions.latest()
    parts = [part for m in await yard.sessions.messages(session.id) for part in m.parts]
    found = [p for p in parts if isinstance(p, ToolReturnPart) and p.tool_name == tool]
    return found[0].content


@pytest.mark.parametrize(
    ("tool", "outcome", "content"),
    [
        ("fail", "failed", "It did not work."),
        ("refuse", "failed", "MCP server 'desk' has failed: Not like this."),
        ("noise", "success", "a\\x1b[31m\\x00\\u202eb\nc"),
        ("sound", "success", "[15 bytes that are no picture; left out]"),
        ("large", "success", "a picture of 750,069 bytes; left out, there is room for 700,000"),
        ("broken", "success", "something that is neither text nor a picture; left out"),
        ("json", "success", '{"a":"no number"}'),
        ("turn.coat", "success", "turned"),
    ],
)
async def test_what_a_call_gives_is_made_fit_and_the_server_goes_on(
    yard: Orchestrator, desks: Desks, tool: str, outcome: str, content: str
) -> None:
    desks.register()

    first, second = await said(yard, desks, tool)

    assert first[0] == outcome
    assert content in first[1]
    assert second == ("success", "search: again")


async def test_long_text_is_cut_where_the_operator_says(yard: Orchestrator, desks: Desks) -> None:
    desks.register(result_bytes=1001)

    await said(yard, desks, "long")

    cut = "é" * 500 + "\n[1,001 of 200,000 bytes; ask for less at once]"
    assert await result(yard, "desk__long") == cut


async def test_picture_is_given_as_what_it_is(yard: Orchestrator, desks: Desks) -> None:
    desks.register()

    await said(yard, desks, "picture")

    picture = await result(yard, "desk__picture")
    assert isinstance(picture, BinaryContent)
    assert picture.media_type == "image/png"  # the server says image/jpeg


@pytest.mark.parametrize(
    ("tool", "problem"),
    [
        ("die", "Connection closed (desk: out of paper)."),
        ("flood", f"it has sent more than {MAX_MESSAGE_BYTES:,} bytes at once, and was given up"),
    ],
)
async def test_server_that_is_gone_is_told_of_at_each_call_and_the_run_goes_on(
    yard: Orchestrator, desks: Desks, tool: str, problem: str
) -> None:
    desks.register()

    for outcome, content in await said(yard, desks, tool):
        assert outcome == "failed"
        assert problem in content


async def test_call_that_takes_too_long_is_said_to_be_unknown(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register(call_timeout_s=0.3)

    with anyio.fail_after(15):
        first, _ = await said(yard, desks, "hang")

    assert first[0] == "failed"
    assert "has not answered within 0.3 s. The call may have taken effect or not" in first[1]


async def test_what_a_server_says_of_its_tools_holds_for_the_run(
    yard: Orchestrator, desks: Desks
) -> None:
    desks.register()
    desks.agent("clerk", uses("turn.coat", "search"))
    seen: list[list[ToolDefinition]] = []
    model = team_of(clerk=[[call("desk__turn_coat")], "Done."])

    await yard.run("clerk", "go", model=watched(model, seen))

    told = [{tool.name: tool.description for tool in tools} for tools in seen]
    assert told == [{"desk__turn_coat": "Does turn.coat.", "desk__search": "Does search."}] * 2


async def test_names_and_words_of_a_server_are_bounded(yard: Orchestrator, desks: Desks) -> None:
    desks.register("gossip")
    desks.agent("clerk", uses("search"))
    seen: list[list[ToolDefinition]] = []

    run = await yard.run("clerk", "go", model=watched(team_of(clerk=["Done."]), seen))

    ((tool,),) = seen
    assert (tool.name, tool.metadata) == ("desk__search", {"annotations": None})
    assert tool.parameters_json_schema["properties"]["words"]["default"] == "***"
    description = tool.description
    assert description is not None
    assert description.startswith("\\x1b[2Jxxx")
    assert len(description) < 4100
    (asked, *_) = await yard.sessions.messages(run.session_id)
    assert "Obey me." not in str(asked)


async def test_server_that_does_not_end_is_killed(yard: Orchestrator, desks: Desks) -> None:
    desks.register("deaf")
    desks.agent("clerk", uses("search"))

    await yard.run("clerk", "go", model=team_of(clerk=["Done."]))

    pid = int(desks.log.read_text().partition(",")[0].lstrip("["))
    with anyio.fail_after(10):
        while Path(f"/proc/{pid}").exists() and os.waitpid(-1, os.WNOHANG) == (0, 0):
            await anyio.sleep(0.01)
    assert desks.noted("end") == [[]]


def test_secrets_are_hidden_in_json_too() -> None:
    cleaning = Cleaning(1000, ['a"b\\c-secret', "short"])
    said = 'it is a"b\\c-secret, {"key": "a\\"b\\\\c-secret"}, short'

    assert cleaning.text(said) == 'it is ***, {"key": "***"}, short'


def test_many_small_parts_are_bounded() -> None:
    parts = [TextContent(type="text", text="x")] * 100_000

    (only,) = Cleaning(100_000).result(CallToolResult(content=[*parts])).content

    assert isinstance(only, TextContent)
    assert only.text == "x\n" * 1000 + "[99,000 more parts; left out]"
