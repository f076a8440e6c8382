"""Agents run by tools of `workyard serve`: a real host's client, the real command, real wires."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from mcp import Client, StdioServerParameters
from pydantic import JsonValue

from orchestrator.catalogue import Catalogue
from orchestrator.definition import Visibility
from orchestrator.definitions.definitions import Definitions
from orchestrator.lifecycle import RunStatus
from tests.acceptance.conftest import COMMAND, DEADLINE_S
from tests.acceptance.hosted import (
    ERAS,
    START_S,
    Era,
    environment,
    record,
    run_of,
    served,
    text_of,
    tools_of,
)
from tests.wire.environment import environment as wired
from tests.wire.script import Answer, Call, Hang, Received, Say, turn
from tests.wire.server import Wire, serving

AGENT_TOOLS = ["list_agents", "run_agent", "get_run", "answer_run", "cancel_run"]
ASK = {"agent": "repo_guide", "task": "Where are prices added?"}
OLLAMA = ("--model", "ollama:pretend")
HEAVY = ("pydantic_ai", "sqlmodel", "sqlalchemy", "fastapi", "typer")


@contextmanager
def playing(script: list[Answer] | Callable[[Received], Answer]) -> Iterator[Wire]:
    """Serve a scripted provider; `wire.url` tells where."""
    wire = Wire(script)
    with serving(wire) as url:
        wire.url = url  # type: ignore[attr-defined] # where it is, for this module alone
        yield wire


def keys(wire: Wire) -> dict[str, str]:
    return wired("ollama", wire.url)  # type: ignore[attr-defined] # see `playing`


@dataclass
class Gate:
    """A provider whose first answer waits until the test lets it through."""

    asked: threading.Event = field(default_factory=threading.Event)
    let: threading.Event = field(default_factory=threading.Event)

    def __call__(self, received: Received) -> Answer:
        self.asked.set()
        assert self.let.wait(DEADLINE_S)
        return Say("It was worth the wait.")


async def has_happened(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, DEADLINE_S)


async def asked(wire: Wire, number: int) -> None:
    with anyio.fail_after(DEADLINE_S):
        while len(wire.requests) < number:
            await anyio.sleep(0.02)


async def ended_as(run_id: str) -> RunStatus:
    """Return what became of a run, once it has ended."""
    async with record() as store:
        with anyio.fail_after(DEADLINE_S):
            while (run := await store.sessions.run(run_id)).status is RunStatus.RUNNING:
                await anyio.sleep(0.05)
        return run.status


async def test_answer_that_fills_a_schema_is_json_in_the_results_meta(
    project: Path, tmp_path: Path
) -> None:
    """It is asked for once more where it does not fit; where it still does not, the run fails."""
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "judge.yaml").write_text(
        "name: judge\ndescription: d\ninstructions: x\noutput_schema:\n  type: object\n"
        "  title: Verdict\n  required: [score]\n  properties: {score: {type: integer}}\n"
    )
    wrong, right = Call("final_result", {}), Call("final_result", {"score": 7})
    script: list[Answer] = [wrong, right, wrong, wrong]
    with playing(script) as wire:
        server = served(project, *OLLAMA, "--specs", str(specs), env=keys(wire))
        async with Client(server, read_timeout_seconds=DEADLINE_S) as client:
            order = {"agent": "judge", "task": "Judge."}
            result = await client.call_tool("run_agent", order)
            failed = await client.call_tool("run_agent", order)

    assert run_of(result)["output"] == {"score": 7}
    assert json.loads(text_of(result).partition("\n\n")[0]) == {"score": 7}
    assert failed.is_error
    assert "does not fit the output schema: 'score' is a required property" in text_of(failed)
    async with record() as store:
        run = await store.sessions.run(run_of(failed)["run_id"])
    assert "'score' is a required property" in str(run.row.error_text)


@pytest.mark.parametrize("mode", ERAS)
async def test_agent_is_watched_and_gives_answer_usage_and_files(mode: Era, project: Path) -> None:
    script: list[Answer] = [
        Call("write_file", {"path": "docs/till.md", "content": "# Till\n"}),
        Call("write_file", {"path": "src/till.py", "content": ""}),
        Say("It is described in docs/till.md."),
    ]
    watched: list[tuple[float, str | None]] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        watched.append((progress, message))

    with playing(script) as wire, anyio.fail_after(START_S):
        async with Client(served(project, *OLLAMA, env=keys(wire)), mode=mode) as client:
            assert (await tools_of(client))[-len(AGENT_TOOLS) :] == AGENT_TOOLS
            order = {"agent": "doc_writer", "task": "Describe the till."}
            result = await client.call_tool("run_agent", order, progress_callback=told)
            again = await client.call_tool("get_run", {"run_id": run_of(result)["run_id"]})

    text, said = text_of(result), run_of(result)
    assert not result.is_error
    assert text.startswith("It is described in docs/till.md.\n")
    for part in (said["run_id"], said["session_id"], "3 requests", "cost unknown"):
        assert part in text
    assert "  docs/till.md created +1" in text
    assert [(file["path"], file["kind"]) for file in said["files"]] == [("docs/till.md", "created")]
    assert (said["status"], said["usage"]["cost"]) == ("succeeded", None)
    assert text_of(again) == text
    lines = [line for _, line in watched]
    assert [number for number, _ in watched] == sorted({number for number, _ in watched})
    assert '● write_file path="docs/till.md" content="# Till\\n"' in lines
    assert any(line and line.startswith("✗") and "src/till.py" in line for line in lines)


async def test_agent_has_no_more_than_the_operator_grants(project: Path) -> None:
    """The spec of doc_writer lets it write there and read all."""
    (project / "customers.md").write_text("Ada owes 3.\n")
    script: list[Answer] = [
        turn(
            Call("write_file", {"path": "docs/till.md", "content": "# Till\n"}),
            Call("read_file", {"path": "customers.md"}),
        ),
        Say("I could not."),
    ]
    with playing(script) as wire, anyio.fail_after(START_S):
        server = served(project, "--read-only", "--deny", "customers*", *OLLAMA, env=keys(wire))
        async with Client(server) as client:
            order = {"agent": "doc_writer", "task": "Describe the till."}
            result = await client.call_tool("run_agent", order)

    assert text_of(result).startswith("I could not.")
    assert "write_file" not in wire.requests[0].tools
    assert "read_file" in wire.requests[0].tools
    assert not (project / "docs" / "till.md").exists()
    assert not any("Ada" in returned for returned in wire.requests[1].tool_results)


async def test_run_that_outlasts_the_host_is_handed_over(project: Path) -> None:
    gate = Gate()
    with playing(gate) as wire, anyio.fail_after(START_S):
        arguments = (*OLLAMA, "--patience", "0.3")
        async with Client(served(project, *arguments, env=keys(wire))) as client:
            handed = await client.call_tool("run_agent", ASK)
            run = run_of(handed)
            look = {"run_id": run["run_id"], "wait_s": 0, "after": run["last_step"]}
            nothing_new = await client.call_tool("get_run", look)
            busy = await client.call_tool("run_agent", {**ASK, "session_id": run["session_id"]})
            gate.let.set()
            while run_of(result := await client.call_tool("get_run", look))["status"] == "running":
                pass

    assert not handed.is_error
    assert f"get_run with run_id {run['run_id']!r} and after {run['last_step']}" in text_of(handed)
    assert "repo_guide with ollama:pretend" in text_of(handed)
    assert "Nothing new has happened." in text_of(nothing_new)
    assert busy.is_error
    assert f"is busy with run {run['run_id']!r}. Wait for it with get_run" in text_of(busy)
    assert text_of(result).startswith("It was worth the wait.")


@pytest.mark.parametrize("mode", ERAS)
async def test_client_that_cancels_the_call_cancels_the_run(mode: Era, project: Path) -> None:
    with playing([Hang()]) as wire, anyio.fail_after(START_S):
        async with Client(served(project, *OLLAMA, env=keys(wire)), mode=mode) as client:
            with anyio.CancelScope() as call:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(client.call_tool, "run_agent", ASK)
                    await asked(wire, 1)
                    call.cancel()
            async with record() as store:
                (session,) = await store.sessions.latest()
                (run,) = await store.sessions.runs(session.id)
            assert await ended_as(run.id) is RunStatus.CANCELLED
            assert "README.md" in text_of(await client.call_tool("list_directory", {}))


async def test_cancel_run_stops_a_run_and_says_what_it_had_done(project: Path) -> None:
    script: list[Answer] = [turn(Call("read_file", {"path": "README.md"})), Hang()]
    with playing(script) as wire, anyio.fail_after(START_S):
        arguments = (*OLLAMA, "--patience", "0.3")
        async with Client(served(project, *arguments, env=keys(wire))) as client:
            run = run_of(await client.call_tool("run_agent", ASK))
            await asked(wire, 2)
            stopped = await client.call_tool("cancel_run", {"run_id": run["run_id"]})
            twice = await client.call_tool("cancel_run", {"run_id": run["run_id"]})

    assert not stopped.is_error
    assert run_of(stopped)["status"] == "cancelled"
    assert "1 tool call" in text_of(stopped)
    assert twice.is_error
    assert "is cancelled and cannot take" in text_of(twice)


def test_run_outlives_a_client_that_was_killed(project: Path) -> None:
    """Both pipes break while the call waits: the run ends in its own time, then the server does."""
    gate = Gate()
    with playing(gate) as wire:
        process = subprocess.Popen(
            [COMMAND, "serve", "--root", str(project), *OLLAMA],
            env=environment(keys(wire)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        client = {"name": "doomed", "version": "1"}
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client}
        for number, (method, params) in enumerate(
            (("initialize", hello), ("tools/call", {"name": "run_agent", "arguments": ASK}))
        ):
            request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        assert gate.asked.wait(DEADLINE_S)
        process.stdin.close()
        process.stdout.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)  # it has noticed by then, and goes on
        gate.let.set()
        assert process.wait(DEADLINE_S) == 0

    async def outcome() -> tuple[str, object]:
        async with record() as store:
            (session,) = await store.sessions.latest()
            (run,) = await store.sessions.runs(session.id)
            return run.status, run.output

    assert anyio.run(outcome) == ("succeeded", "It was worth the wait.")


async def test_tools_and_agents_are_listed_before_any_agent_library_is_loaded(
    project: Path, tmp_path: Path
) -> None:
    """The real process tells at its end what it has loaded."""
    told = tmp_path / "modules"
    program = (
        "import atexit, sys; from pathlib import Path; from orchestrator.cli import main;"
        f"atexit.register(lambda: Path({str(told)!r}).write_text(' '.join(sys.modules)));"
        f"sys.argv = ['workyard', 'serve', '--root', {str(project)!r}]; main()"
    )
    server = StdioServerParameters(
        command=sys.executable, args=["-c", program], env=environment(), cwd=str(tmp_path)
    )
    with anyio.fail_after(START_S):
        async with Client(server) as client:
            assert "run_agent" in await tools_of(client)
            assert "repo_guide: " in text_of(await client.call_tool("list_agents"))
    with anyio.fail_after(START_S):
        while not told.exists():
            await anyio.sleep(0.02)

    loaded = {name.partition(".")[0] for name in told.read_text().split()}
    assert "mcp" in loaded
    assert not loaded & {*HEAVY}


NAMED: Mapping[tuple[str, ...], list[str]] = {
    ("--tools", "run_agent"): AGENT_TOOLS,
    ("--tools", "read_file,grep"): [],
    ("--grant", '{"tools": ["read_file"], "read": ["**"]}'): [],
    ("--grant", '{"tools": ["read_file"]}', "--tools", "read_file,run_agent"): AGENT_TOOLS,
}


async def test_definitions_are_listed_and_run_for_a_host(project: Path) -> None:
    """A narrower grant has sessions of its own and the same agents; others' are not told."""
    values: dict[str, JsonValue] = {"name": "scribe", "description": "Writes."}
    values["instructions"] = "Write."
    budget: JsonValue = {"Budget": {"requests": 5, "total_tokens": 1000, "cost_usd": 0.5}}
    async with record() as store:
        definitions = Definitions(store.access, Catalogue(()))
        await definitions.create(values)
        await definitions.of("ada").create(values)
        shared = {**values, "name": "reader", "capabilities": [budget]}
        await definitions.of("ada").create(shared, visibility=Visibility.SHARED)

    with playing([Say("Written."), Say("Read.")]) as wire, anyio.fail_after(START_S):
        narrow = ("--tools", "read_file,run_agent")
        server = served(project, *narrow, *OLLAMA, env=keys(wire))
        async with Client(server) as client:
            listed = text_of(await client.call_tool("list_agents", {}))
            asked = {"agent": "scribe", "task": "Go."}
            written = await client.call_tool("run_agent", asked)
            asked["agent"] = "ada/reader"
            read = await client.call_tool("run_agent", asked)
            asked["agent"] = "ada/scribe"
            private = await client.call_tool("run_agent", asked)

    for name in ("repo_guide", "scribe", "ada/reader"):
        assert name in listed
    assert "\n  not granted here: list_directory, grep, write_file\n" in listed  # of doc_writer
    assert "ada/scribe" not in listed
    assert text_of(written).startswith("Written.")
    assert text_of(read).startswith("Read.")
    assert private.is_error
    assert "no agent 'ada/scribe'" in text_of(private)


@pytest.mark.parametrize("arguments", NAMED, ids=" ".join)
async def test_agents_are_run_by_whom_they_were_granted(
    arguments: tuple[str, ...], project: Path
) -> None:
    """Naming file tools grants no agents, and naming agents grants no file tools."""
    with anyio.fail_after(START_S):
        async with Client(served(project, *arguments)) as client:
            tools = await tools_of(client)
            refused = await client.call_tool("run_agent", ASK) if not NAMED[arguments] else None

    assert [name for name in tools if name in AGENT_TOOLS] == NAMED[arguments]
    assert refused is None or "'run_agent' is not granted here" in text_of(refused)
    if arguments == ("--tools", "run_agent"):
        assert tools == AGENT_TOOLS
