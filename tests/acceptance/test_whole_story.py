"""A host at work: it picks an agent, has it run, watches, goes on, stops, and takes it back."""

import json
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp_types import PromptReference, TextContent, TextResourceContents

from orchestrator.lifecycle import RunStatus
from tests.acceptance.conftest import COMMAND
from tests.acceptance.hosted import START_S, environment, record, run_of
from tests.acceptance.test_agents_as_tools import (
    OLLAMA,
    asked,
    ended_as,
    has_happened,
    keys,
    playing,
)
from tests.listening import WITH_AGENTS, connected, listening, tokens_for
from tests.wire.script import Answer, Call, Hang, Received, Say

TASK = "Describe the till."


class Writer:
    """A model that writes a file, waits, reports, is asked again, and then says no more."""

    def __init__(self) -> None:
        self.has_written = threading.Event()
        self.may_report = threading.Event()

    def __call__(self, received: Received) -> Answer:
        match received.number:
            case 1:
                return Call("write_file", {"path": "docs/till.md", "content": "# Till\n"})
            case 2:
                self.has_written.set()
                assert self.may_report.wait(START_S)
                return Say("It is described in docs/till.md.")
            case 3:
                return Say("That I describe the till.")
            case _:
                return Hang()


@asynccontextmanager
async def over_stdio(project: Path, *flags: str, env: Mapping[str, str]) -> AsyncIterator[Client]:
    """Connect as a host does after `workyard install`, in the newer era."""
    own = environment(env)
    install = [COMMAND, "install", "cursor", "--root", str(project)]
    subprocess.run(install, env=own, check=True, capture_output=True)
    settings = json.loads((Path(own["HOME"]) / ".cursor" / "mcp.json").read_text())
    entry = settings["mcpServers"]["workyard"]
    server = StdioServerParameters(
        command=entry["command"], args=[*entry["args"], *flags], env={**own, **entry["env"]}
    )
    async with Client(server) as client:
        yield client


@asynccontextmanager
async def over_http(project: Path, *flags: str, env: Mapping[str, str]) -> AsyncIterator[Client]:
    """Connect with a token, in the older era."""
    tokens = project.parent / "tokens"
    (token,) = tokens_for(tokens, host=["files:write", "agents:run"]).values()
    flags = (*flags, "--token-file", str(tokens))
    with listening(WITH_AGENTS, project, *flags, env=env) as (url, _):
        async with connected(url, token, "legacy") as client:
            yield client


@pytest.mark.parametrize("connect", [over_stdio, over_http])
async def test_host_picks_a_prompt_has_it_run_watches_it_goes_on_stops_and_undoes(
    connect: Callable[..., AbstractAsyncContextManager[Client]], project: Path
) -> None:
    model = Writer()
    lines: list[str] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        lines.append(message or "")

    with playing(model) as wire, anyio.fail_after(START_S):
        async with connect(project, *OLLAMA, "--patience", "20", env=keys(wire)) as client:
            order = await _picked(client)
            results: list[Any] = []

            async def run() -> None:
                results.append(await client.call_tool("run_agent", order, progress_callback=told))

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await has_happened(model.has_written)
                (session,) = [uri for uri in await _resources(client) if "sessions" in uri]
                meanwhile = await _text(client, session)
                model.may_report.set()
            first = run_of(results[0])
            again = {**order, "task": "What did I ask?", "session_id": first["session_id"]}
            second = run_of(await client.call_tool("run_agent", again))
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "run_agent", again)
                await asked(wire, 4)
                tasks.cancel_scope.cancel()  # the user presses Stop
            async with record() as store:
                third = (await store.sessions.runs(first["session_id"]))[-1].id
            stopped = await ended_as(third)
            afterwards = await _text(client, session)

    assert '● write_file path="docs/till.md" content="# Till\\n"' in lines
    assert "docs/till.md" in meanwhile
    assert "It is described" not in meanwhile
    assert "It is described in docs/till.md." in afterwards
    assert [(each["path"], each["kind"]) for each in first["files"]] == [
        ("docs/till.md", "created")
    ]
    assert (project / "docs" / "till.md").read_text() == "# Till\n"
    assert TASK in str(wire.requests[2].body["messages"])
    assert second["session_id"] == first["session_id"]
    undo = [COMMAND, "undo", "--run", first["run_id"], "--root", str(project)]
    subprocess.run(undo, env=environment(), check=True, capture_output=True)
    assert not (project / "docs" / "till.md").exists()
    async with record() as store:
        runs = await store.sessions.runs(first["session_id"])
    assert [(run.id, run.status) for run in runs] == [
        (first["run_id"], "succeeded"),
        (second["run_id"], "succeeded"),
        (third, "cancelled"),
    ]
    assert stopped is RunStatus.CANCELLED
    assert "What did I ask?" in afterwards


async def _picked(client: Client) -> dict[str, Any]:  # JSON
    """Take the prompt as a user does, and return the call that the host's model makes of it."""
    (prompt,) = [each for each in (await client.list_prompts()).prompts if each.name == "run_agent"]
    assert [each.name for each in prompt.arguments or ()] == ["agent", "task", "how"]
    ref = PromptReference(type="ref/prompt", name="run_agent")
    agents = (await client.complete(ref, {"name": "agent", "value": "doc"})).completion.values
    given = {"agent": agents[0], "task": TASK, "how": "run"}
    (message,) = (await client.get_prompt("run_agent", given)).messages
    assert isinstance(message.content, TextContent)
    text = message.content.text
    assert "call the tool 'run_agent'" in text
    call: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
    return call


async def _resources(client: Client) -> list[str]:
    return [str(each.uri) for each in (await client.list_resources()).resources]


async def _text(client: Client, uri: str) -> str:
    (found,) = (await client.read_resource(uri)).contents
    assert isinstance(found, TextResourceContents)
    return found.text
