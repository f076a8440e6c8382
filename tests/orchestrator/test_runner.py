"""Runs: on record step by step, within their grant, in their session."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from urllib.parse import unquote

import anyio
import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    InvalidInputError,
    NotFoundError,
    SessionBusyError,
)
from orchestrator.events import (
    AgentMessage,
    TextDelta,
    ToolReturned,
)
from tests.orchestrator.played import MISSING, READ, playing, record_of


async def test_run_is_recorded_step_by_step(yard: Orchestrator) -> None:
    model = playing([READ, ("grep", '{"pattern": "price"}')], "It is a till.")

    result = await yard.run("repo_guide", "What is it?", model=model)

    events = [recorded.event for recorded in await record_of(yard, result.session_id)]
    kinds = [event.type for event in events if not isinstance(event, TextDelta)]
    assert kinds == [
        "run_started",
        "user_message",
        "tool_called",
        "tool_called",
        "tool_returned",
        "tool_returned",
        "agent_message",
        "run_ended",
    ]
    returned = {e.tool: e for e in events if isinstance(e, ToolReturned)}
    assert "A till that adds prices." in returned["read_file"].content
    assert {e.outcome for e in returned.values()} == {"success"}
    assert result.output == "It is a till. "
    assert (result.usage.requests, result.usage.tool_calls) == (2, 2)


async def test_call_is_on_record_before_it_has_an_effect(
    yard: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash in a tool must leave a call without a result, not an effect without a call."""
    seen: list[list[str]] = []

    async def look() -> None:
        session = (await yard.sessions.latest())[0]
        seen.append([e.event.type for e in await record_of(yard, session.id)])

    agent_model = playing([READ], look)
    await yard.run("repo_guide", "go", model=agent_model)

    assert seen[0][2:4] == ["tool_called", "tool_returned"]


async def test_streamed_text_is_on_record_while_the_model_goes_on(yard: Orchestrator) -> None:
    written = anyio.Event()
    handle = await yard.start("repo_guide", "go", model=playing(written.wait))

    with anyio.fail_after(5):
        async for recorded in yard.follow(handle):
            if isinstance(recorded.event, TextDelta):
                assert not handle.ended.is_set()
                written.set()
    assert (await handle.result()).output == "So "


async def test_tool_that_fails_twice_does_not_end_the_run(yard: Orchestrator) -> None:
    """By Pydantic AI's default for MCP tools each failure is a retry, and the second the end."""
    model = playing([MISSING], [MISSING], [MISSING], "It is not there.")

    result = await yard.run("repo_guide", "go", model=model)

    events = [recorded.event for recorded in await record_of(yard, result.session_id)]
    failures = [e for e in events if isinstance(e, ToolReturned) and e.outcome == "failed"]
    assert len(failures) == 3
    assert "nope.md" in failures[0].content


async def test_model_that_names_tools_that_are_not_there_gets_other_tries(
    yard: Orchestrator,
) -> None:
    nonsense = ("no_such_tool", "{}")
    model = playing([nonsense], [nonsense], [("read_file", "not json")], "I see.")

    assert (await yard.run("repo_guide", "go", model=model)).output == "I see. "


async def test_tool_that_is_not_granted_is_refused_and_the_run_goes_on(
    yard: Orchestrator, project: Path
) -> None:
    write = ("write_file", '{"path": "README.md", "content": "gone"}')

    result = await yard.run("repo_guide", "go", model=playing([write], "I may not."))

    assert result.output == "I may not. "
    assert (project / "README.md").read_text().startswith("# Sample")


async def test_agent_writes_where_its_spec_says_and_nowhere_else(
    yard: Orchestrator, project: Path
) -> None:
    inside = ("write_file", '{"path": "docs/new.md", "content": "# New\\n"}')
    outside = ("write_file", '{"path": "src/till.py", "content": "gone"}')

    result = await yard.run("doc_writer", "go", model=playing([inside, outside], "Done."))

    events = [recorded.event for recorded in await record_of(yard, result.session_id)]
    outcomes = [e.outcome for e in events if isinstance(e, ToolReturned)]
    assert sorted(outcomes) == ["failed", "success"]
    assert (project / "docs" / "new.md").read_text() == "# New\n"
    assert "def add_prices" in (project / "src" / "till.py").read_text()


async def test_second_turn_is_sent_the_first(yard: Orchestrator) -> None:
    seen: list[list[str]] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append([part.part_kind for message in messages for part in message.parts])
        yield "ok"

    model = FunctionModel(stream_function=stream)
    first = await yard.run("repo_guide", "one", model=model)
    second = await yard.run("repo_guide", "two", model=model, session_id=first.session_id)

    assert seen == [["user-prompt"], ["user-prompt", "text", "user-prompt"]]
    assert second.session_id == first.session_id
    assert [run.status for run in await yard.sessions.runs(first.session_id)] == ["succeeded"] * 2


async def test_usage_is_that_of_the_run_and_adds_up_in_the_session(yard: Orchestrator) -> None:
    first = await yard.run("repo_guide", "one", model=playing([READ], "a"))
    second = await yard.run("repo_guide", "two", model=playing("b"), session_id=first.session_id)

    session = await yard.sessions.get(first.session_id)
    assert (first.usage.requests, second.usage.requests) == (2, 1)
    assert session.usage["requests"] == 3


async def test_two_turns_at_once_on_one_session_are_not_both_begun(yard: Orchestrator) -> None:
    going_on = anyio.Event()
    first = await yard.start("repo_guide", "one", model=playing(going_on.wait))

    with pytest.raises(SessionBusyError):
        await yard.start(
            "repo_guide", "two", model=playing("x"), session_id=first.claimed.session_id
        )

    going_on.set()
    await first.result()


async def test_many_readers_see_the_same_events(yard: Orchestrator) -> None:
    handle = await yard.start("repo_guide", "go", model=playing([READ], "It is a till."))
    seen: dict[int, list[int]] = {}

    async def read(reader: int) -> None:
        seen[reader] = [recorded.seq async for recorded in yard.follow(handle)]

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for reader in range(5):
                tasks.start_soon(read, reader)

    assert len({tuple(numbers) for numbers in seen.values()}) == 1
    assert seen[0] == list(range(1, len(seen[0]) + 1))


async def test_callers_own_exception_comes_out_as_it_was_raised(project: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Orchestrator.open(project, connect=InProcessConnection):
            _ = 1 / 0


@pytest.mark.parametrize("root", ["a\0b", "nowhere", "README.md", "caf\udce9"])
async def test_root_that_is_no_directory_is_refused(project: Path, root: str) -> None:
    (project / "caf\udce9").mkdir()
    with pytest.raises(InvalidInputError, match="The root"):
        async with Orchestrator.open(project / root):
            pass


async def test_empty_root_is_not_the_current_directory() -> None:
    """An unset variable in a script must not let an agent loose where the script happens to run."""
    with pytest.raises(InvalidInputError, match="The root is empty"):
        async with Orchestrator.open(""):
            pass


async def test_option_that_does_not_exist_is_refused(yard: Orchestrator) -> None:
    with pytest.raises(TypeError, match="no option 'modle'"):
        await yard.run("repo_guide", "go", modle="offline")  # type: ignore[call-arg]  # the typo


@pytest.mark.parametrize("prompt", ["", "  \n", "a\ud800", "x" * 1_000_001])
async def test_prompt_that_cannot_be_sent_is_refused(yard: Orchestrator, prompt: str) -> None:
    with pytest.raises(InvalidInputError, match="The prompt is"):
        await yard.run("repo_guide", prompt, model="offline")

    assert await yard.sessions.latest() == []


async def test_answer_that_no_database_takes_is_recorded_all_the_same(yard: Orchestrator) -> None:
    """A provider's JSON can hold a lone surrogate."""
    result = await yard.run("repo_guide", "go", model=playing("a \ud800 \0 b"))

    assert result.output == "a \ud800 \0 b "
    events = [recorded.event for recorded in await record_of(yard, result.session_id)]
    assert AgentMessage(content="a \ud800 \0 b ") in events
    assert len(await yard.sessions.messages(result.session_id)) == 2


async def test_refused_run_leaves_nothing_on_record(yard: Orchestrator) -> None:
    with pytest.raises(NotFoundError):
        await yard.run("repo_gide", "x", model="offline")
    with pytest.raises(InvalidInputError):
        await yard.run("repo_guide", "x", model="offline", inputs={"nope": 1})

    assert await yard.sessions.latest() == []


async def test_text_beside_tool_calls_is_a_message_too(yard: Orchestrator) -> None:
    result = await yard.run("repo_guide", "go", model=playing("Just text."))

    events = [recorded.event for recorded in await record_of(yard, result.session_id)]
    assert AgentMessage(content="Just text. ") in events


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("WORKYARD_DATA_DIR", "{root}/state"),
        ("WORKYARD_DATA_DIR", "{root}/st[a]te*"),
        ("WORKYARD_CONFIG_DIR", "{root}/state"),
        ("WORKYARD_DATABASE_URL", "sqlite+aiosqlite:///{root}/state.db"),
        ("WORKYARD_DATABASE_URL", "sqlite+aiosqlite:///{root}/st%61te.db"),
    ],
)
async def test_record_inside_the_root_is_out_of_the_agents_reach(
    project: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    """An agent at work in a home directory must not read or forge its own record."""
    monkeypatch.setenv(variable, value.format(root=project))
    ours = Path(unquote(value.format(root=project).removeprefix("sqlite+aiosqlite:///")))
    path = ours.name if ours.suffix else f"{ours.name}/workyard.db"
    read = ("read_file", json.dumps({"path": path}))
    listing = ("list_directory", '{"path": "."}')

    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        result = await yard.run("repo_guide", "go", model=playing([read, listing], "ok"))
        events = [recorded.event for recorded in await record_of(yard, result.session_id)]

    returned = {e.tool: e for e in events if isinstance(e, ToolReturned)}
    assert returned["read_file"].outcome == "failed"
    assert ours.name not in returned["list_directory"].content


async def test_record_whose_name_is_no_text_is_out_of_reach_too(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_DATA_DIR", f"{project}/da\udcffta")
    (project / "data").mkdir()
    listing = ("list_directory", '{"path": "."}')

    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        result = await yard.run("repo_guide", "go", model=playing([listing], "ok"))
        events = [recorded.event for recorded in await record_of(yard, result.session_id)]

    (returned,) = [event for event in events if isinstance(event, ToolReturned)]
    assert os.path.exists(project / "da\udcffta" / "workyard.db")
    assert returned.content == ". · 4 entries\nREADME.md\t35\ndata/\ndocs/\nsrc/"


async def test_agent_cannot_change_the_spec_that_limits_it(project: Path) -> None:
    specs = project / "specs"
    specs.mkdir()
    (specs / "sly.yaml").write_text(
        "name: sly\ndescription: d\ninstructions: x\ncapabilities:\n"
        "  - WorkspaceTools: {tools: [write_file], read: ['**'], write: ['**/*.yaml']}\n"
    )
    before = (specs / "sly.yaml").read_text()
    write = ("write_file", '{"path": "specs/sly.yaml", "content": "name: sly"}')

    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as yard:
        await yard.run("sly", "go", model=playing([write], "ok"))

    assert (specs / "sly.yaml").read_text() == before


async def test_unknown_price_is_unknown_also_after_a_known_one(yard: Orchestrator) -> None:
    first = await yard.run("repo_guide", "one", model="offline")
    second = await yard.run("repo_guide", "two", model=playing("x"), session_id=first.session_id)
    third = await yard.run("repo_guide", "three", model="offline", session_id=first.session_id)

    assert [run.usage.cost for run in (first, second, third)] == [Decimal(0), None, Decimal(0)]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts servers through /proc")
async def test_one_run_starts_one_server(project: Path) -> None:
    """Pydantic AI asks a capability for its toolset more than once; each server costs a second."""
    servers: list[str] = []

    async def look() -> None:
        for task in Path("/proc/self/task").iterdir():
            for child in (task / "children").read_text().split():
                command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ")
                servers.append(command.decode())

    async with Orchestrator.open(project) as yard:
        await yard.run("repo_guide", "go", model=playing([READ], look))

    assert len([command for command in servers if "-m mcp_server" in command]) == 1


async def test_run_that_its_caller_does_not_wait_to_begin_is_stopped(yard: Orchestrator) -> None:
    """Nobody would know of it, and it would go on at somebody's cost."""
    asking = asyncio.create_task(
        yard.start("repo_guide", "go", model=playing([READ], anyio.sleep_forever))
    )
    await anyio.sleep(0)  # it asks for the session now
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking
    (session,) = await yard.sessions.latest()
    (run,) = await yard.sessions.runs(session.id)
    assert run.status == "cancelled"
