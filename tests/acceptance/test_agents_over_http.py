"""Agents run by several callers of one server: what each has begun is its own."""

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client, MCPError
from mcp_types import CallToolResult
from pydantic import JsonValue
from pydantic_ai import models

from mcp_server.fence.grant import Grant
from mcp_server.ports import Offers, Operator
from orchestrator.adapter import SpecCatalog
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.definition import Visibility
from orchestrator.definitions.definitions import Definitions
from orchestrator.late import Late, LateRunner
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import load_settings
from orchestrator.transcripts import Record, RecordedTranscripts
from tests.acceptance.hosted import START_S, record, run_of, text_of, tools_of
from tests.acceptance.test_agents_as_tools import (
    AGENT_TOOLS,
    ASK,
    OLLAMA,
    Gate,
    asked,
    ended_as,
    has_happened,
    keys,
    playing,
)
from tests.listening import (
    ACCEPT,
    ERAS,
    INITIALIZE,
    WITH_AGENTS,
    Era,
    bearer,
    connected,
    listening,
    listening_here,
    tokens_for,
)
from tests.wire.script import Answer, Call, Hang, Say
from tests.wire.server import Wire

RUNS = ["files:write", "agents:run"]
RUN_AGENT = {
    "jsonrpc": "2.0",
    "id": 2,
    "method": "tools/call",
    "params": {"name": "run_agent", "arguments": ASK},
}
DESCRIBE = {"agent": "doc_writer", "task": "Describe the till."}


@asynccontextmanager
async def yard(
    project: Path, tokens: Path, wire: Wire, patience_s: float = 2
) -> AsyncIterator[str]:
    """Serve a project with agents, over HTTP, from this process."""
    settings = load_settings()
    late = Late(Operator(root=str(project), grant=Grant.full(), model=OLLAMA[1]), linger_s=0)
    # The only model that the environment leads to is the wire.
    with (
        models.override_allow_model_requests(True),
        pytest.MonkeyPatch.context() as environment,
    ):
        for name, value in keys(wire).items():
            environment.setenv(name, value)
        async with anyio.create_task_group() as tasks:
            offers = Offers(
                catalog=SpecCatalog(open_catalogue(settings)),
                runner=LateRunner(late),
                transcripts=RecordedTranscripts(Record(settings, tasks), project),
                patience_s=patience_s,
            )
            async with listening_here(project, trusts=tokens, offers=offers) as url:
                yield url
            await late.close()
            tasks.cancel_scope.cancel()


async def call(client: Client, tool: str, **arguments: Any) -> CallToolResult:  # JSON
    return await client.call_tool(tool, arguments)


@pytest.mark.parametrize("mode", ERAS)
async def test_run_and_its_transcript_are_there_for_their_caller_alone(
    mode: Era, project: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    held = tokens_for(tokens, a=RUNS, b=RUNS, c=["files:write"])
    with playing([Say("It is mine."), Hang()]) as wire, anyio.fail_after(START_S):
        async with yard(project, tokens, wire) as url:
            async with connected(url, held["a"], mode) as mine:
                done = run_of(await mine.call_tool("run_agent", ASK))
                while done["status"] == "running":  # on a machine that is slow
                    done = run_of(await call(mine, "get_run", run_id=done["run_id"]))
                going = run_of(await call(mine, "run_agent", **ASK))
                uri = f"workyard://sessions/{done['session_id']}"
                own = [str(each.uri) for each in (await mine.list_resources()).resources]
                assert uri in own
                assert "It is mine." in str((await mine.read_resource(uri)).contents)

                async with connected(url, held["b"], mode) as theirs:
                    others = [str(each.uri) for each in (await theirs.list_resources()).resources]
                    refused = [
                        await call(theirs, "get_run", run_id=done["run_id"]),
                        await call(theirs, "cancel_run", run_id=going["run_id"]),
                        await call(theirs, "run_agent", **ASK, session_id=done["session_id"]),
                    ]
                    with pytest.raises(MCPError, match="There is no session"):
                        await theirs.read_resource(uri)
                assert run_of(await call(mine, "cancel_run", run_id=going["run_id"]))
            async with connected(url, held["c"], mode) as without:
                assert not {*AGENT_TOOLS} & {*await tools_of(without)}
                unasked = await without.call_tool("run_agent", ASK)

    assert not [each for each in others if "sessions" in each]
    assert [result.is_error for result in refused] == [True] * 3
    assert all(text_of(result).startswith("There is no ") for result in refused)
    assert "'run_agent' is not granted here" in text_of(unasked)
    assert len(wire.requests) == 2


async def test_agent_of_a_caller_that_may_only_read_cannot_write(
    project: Path, tmp_path: Path
) -> None:
    """The spec of doc_writer lets it write there, and so does the operator."""
    tokens = tmp_path / "tokens"
    held = tokens_for(tokens, reader=["files:read", "agents:run"], writer=RUNS)
    write = Call("write_file", {"path": "docs/till.md", "content": "# Till\n"})
    script: list[Answer] = [write, Say("I could not."), write, Say("Now I could.")]
    with playing(script) as wire, anyio.fail_after(START_S):
        async with yard(project, tokens, wire, patience_s=START_S) as url:
            async with connected(url, held["reader"]) as client:
                assert {*AGENT_TOOLS} < {*await tools_of(client)}
                read = await client.call_tool("run_agent", DESCRIBE)
                was_there = (project / "docs" / "till.md").exists()
            async with connected(url, held["writer"]) as client:
                wrote = await client.call_tool("run_agent", DESCRIBE)

    assert "write_file" not in wire.requests[0].tools
    assert (run_of(read)["files"], was_there) == ([], False)
    assert [file["path"] for file in run_of(wrote)["files"]] == ["docs/till.md"]
    assert (project / "docs" / "till.md").read_text() == "# Till\n"


async def test_no_caller_takes_all_places_for_runs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"
    held = tokens_for(tokens, a=RUNS, b=RUNS)
    monkeypatch.setattr("orchestrator.running.MAX_OF_ONE", 1)
    monkeypatch.setattr("orchestrator.running.MAX_AT_ONCE", 2)
    with playing(lambda _: Hang()) as wire, anyio.fail_after(START_S):
        async with (
            yard(project, tokens, wire, patience_s=0.3) as url,
            connected(url, held["a"]) as one,
            connected(url, held["b"]) as other,
        ):
            first = run_of(await one.call_tool("run_agent", ASK))
            again = await one.call_tool("run_agent", ASK)
            theirs = run_of(await other.call_tool("run_agent", ASK))
            await call(one, "cancel_run", run_id=first["run_id"])
            anew = run_of(await one.call_tool("run_agent", ASK))

    assert again.is_error
    assert "stop one with cancel_run: " + first["run_id"] in text_of(again)
    assert theirs["run_id"] not in text_of(again)
    assert [run["status"] for run in (first, theirs, anew)] == ["running"] * 3


async def test_call_under_way_is_answered_when_the_server_is_told_to_end(
    project: Path, tmp_path: Path
) -> None:
    """Meanwhile there is nobody there for anybody else."""
    tokens, gate = tmp_path / "tokens", Gate()
    (token,) = tokens_for(tokens, a=RUNS).values()
    flags = ("--token-file", str(tokens), "--at-once", "1", *OLLAMA)
    with playing(gate) as wire, listening(WITH_AGENTS, project, *flags, env=keys(wire)) as served:
        url, process = served
        answers: list[httpx2.Response] = []

        async def run() -> None:
            # The SDK's client asks for the list of tools once more when it has got a result.
            async with httpx2.AsyncClient(headers=ACCEPT | bearer(token), timeout=None) as http:
                opened = await http.post(url, json=INITIALIZE)
                session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
                answers.append(await http.post(url, json=RUN_AGENT, headers=session))

        with anyio.fail_after(START_S):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(run)
                await has_happened(gate.asked)
                async with httpx2.AsyncClient(headers=ACCEPT | bearer(token)) as http:
                    over = await http.post(url, json=INITIALIZE)
                process.send_signal(signal.SIGTERM)
                await _until_refused(url)
                gate.let.set()
            status = await anyio.to_thread.run_sync(process.wait, START_S)

    assert (over.status_code, over.headers["retry-after"]) == (429, "1")
    assert "It was worth the wait." in answers[0].text
    assert status == 128 + signal.SIGTERM


async def test_run_that_nobody_waits_for_is_cancelled_when_the_server_is_told_to_end(
    project: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    (token,) = tokens_for(tokens, a=RUNS).values()
    flags = ("--token-file", str(tokens), "--patience", "0.3", *OLLAMA)
    with playing([Hang()]) as wire, listening(WITH_AGENTS, project, *flags, env=keys(wire)) as at:
        url, process = at
        with anyio.fail_after(START_S):
            async with connected(url, token) as client:
                run = run_of(await client.call_tool("run_agent", ASK))
                await asked(wire, 1)
            process.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(process.wait, START_S)

    assert await ended_as(run["run_id"]) is RunStatus.CANCELLED
    async with record() as store:
        (session,) = await store.sessions.latest()
        assert session.owner.startswith("token:a/a#")


async def _until_refused(url: str) -> None:
    async with httpx2.AsyncClient() as http:
        while True:
            try:
                await http.post(url)
            except httpx2.TransportError:
                return
            await anyio.sleep(0.02)


async def test_definitions_that_are_not_shared_are_not_for_callers(
    project: Path, tmp_path: Path
) -> None:
    """Files are the operator's offer to all; a private definition is its owner's."""
    tokens = tmp_path / "tokens"
    held = tokens_for(tokens, a=RUNS)
    said: dict[str, JsonValue] = {"description": "Writes.", "instructions": "Write."}
    budget: JsonValue = {"Budget": {"requests": 5, "total_tokens": 1000, "cost_usd": 0.5}}
    async with record() as store:
        definitions = Definitions(store.access, Catalogue(()))
        await definitions.create({**said, "name": "hidden"})
        shared = {**said, "name": "offered", "capabilities": [budget]}
        await definitions.create(shared, visibility=Visibility.SHARED)

    with playing([Say("Written.")]) as wire, anyio.fail_after(START_S):
        async with yard(project, tokens, wire, 45) as url, connected(url, held["a"]) as client:
            listed = text_of(await client.call_tool("list_agents", {}))
            asked = {"agent": "hidden", "task": "Go."}
            refused = [
                await client.call_tool("run_agent", {**asked, "agent": name})
                for name in ("hidden", "local/hidden", "offered")
            ]
            run = await client.call_tool("run_agent", {**asked, "agent": "local/offered"})

    assert "local/offered" in listed
    assert "repo_guide" in listed
    assert "hidden" not in listed
    assert all("no agent" in text_of(result) for result in refused)
    assert not run.is_error
