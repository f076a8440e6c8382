"""`workyard serve` as a host uses it: prompts, transcripts and notices, over stdio."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.shared.subscriptions import PromptsListChanged, ResourceUpdated
from mcp_types import TextContent, TextResourceContents
from pydantic_ai.models.test import TestModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.settings import Settings
from tests.acceptance.conftest import COMMAND, DEADLINE_S, Workyard

Era = Literal["auto", "legacy"]
EITHER = pytest.mark.parametrize("era", ["auto", "legacy"])
SPEC = "name: poet\ndescription: Writes verse.\ninstructions: Sing of {0}.\n"
LATE = ("pydantic_ai", "sqlmodel", "sqlalchemy", "fastapi", "typer")


@pytest.fixture
def specs(tmp_path: Path) -> Path:
    directory = tmp_path / "specs"
    directory.mkdir()
    return directory


def served(workyard: Workyard, root: Path, *flags: str, **env: str) -> StdioServerParameters:
    arguments = ["serve", "--root", str(root), *flags]
    return StdioServerParameters(command=COMMAND, args=arguments, env=workyard.environment(env))


@EITHER
async def test_spec_that_is_written_meanwhile_is_a_prompt_without_a_restart(
    workyard: Workyard, project: Path, specs: Path, era: Era
) -> None:
    told: list[str] = []

    async def hear(message: object) -> None:
        told.append(str(getattr(message, "method", "")))

    server = served(workyard, project, "--specs", str(specs))
    with anyio.fail_after(DEADLINE_S):
        async with Client(server, mode=era, message_handler=hear) as client:
            capabilities = client.server_capabilities
            before = [each.name for each in (await client.list_prompts()).prompts]
            if era == "auto":
                async with client.listen(prompts_list_changed=True) as heard:
                    (specs / "poet.yaml").write_text(SPEC)
                    assert await anext(heard) == PromptsListChanged()
            else:
                (specs / "poet.yaml").write_text(SPEC)
                await _until(lambda: "notifications/prompts/list_changed" in told)
            after = [each.name for each in (await client.list_prompts()).prompts]
            (message,) = (await client.get_prompt("poet", {"task": "Begin."})).messages
            with pytest.raises(MCPError, match=r"^There is no prompt 'pet'; did you mean 'poet'"):
                await client.get_prompt("pet", {"task": "Begin."})

    assert capabilities.prompts is not None
    assert capabilities.prompts.list_changed
    assert "code_reviewer" in before
    assert set(after) - set(before) == {"poet"}
    assert isinstance(message.content, TextContent)
    assert "Sing of {0}." in message.content.text


async def test_transcript_of_a_session_is_a_resource_that_tells_when_it_goes_on(
    workyard: Workyard, project: Path, tmp_path: Path
) -> None:
    record = tmp_path / "record"
    settings = Settings(data_dir=record)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = await _run(elsewhere, "What is here?", settings)
    session = await _run(project, "What does the till do?", settings)
    uri = f"workyard://sessions/{session}"
    server = served(workyard, project, WORKYARD_DATA_DIR=str(record))

    with anyio.fail_after(DEADLINE_S):
        async with Client(server) as client:
            listed = [str(each.uri) for each in (await client.list_resources()).resources]
            first = await _text(client, uri)
            async with client.listen(resource_subscriptions=[uri]) as heard:
                await _run(project, "And rounding?", settings, session)
                assert await anext(heard) == ResourceUpdated(uri)
            second = await _text(client, uri)
            with pytest.raises(MCPError, match="There is no session"):
                await client.read_resource(f"workyard://sessions/{other}")

    assert [each for each in listed if "sessions" in each] == [uri]
    assert "> What does the till do?" in first
    assert str(project) not in first
    assert "> And rounding?" in second


async def test_record_is_not_made_by_looking_for_transcripts(
    workyard: Workyard, project: Path
) -> None:
    async with Client(served(workyard, project)) as client:
        resources = (await client.list_resources()).resources
        with pytest.raises(MCPError, match="There is no session 'any'"):
            await client.read_resource("workyard://sessions/any")

    assert "workyard://agents/repo_guide" in [str(each.uri) for each in resources]
    assert not list(workyard.home.rglob("*.db"))


async def test_database_url_that_cannot_be_used_hides_no_agents(
    workyard: Workyard, project: Path
) -> None:
    """Files and agents are there without a record; who wants a run is told what is wrong."""
    server = served(workyard, project, WORKYARD_DATABASE_URL="sqlite:///~nobody-of-this-name/x.db")

    async with Client(server) as client:
        prompts = [each.name for each in (await client.list_prompts()).prompts]
        resources = [str(each.uri) for each in (await client.list_resources()).resources]
        agents = await client.call_tool("list_agents", {})
        run = await client.call_tool("run_agent", {"agent": "repo_guide", "task": "What is this?"})

    assert "repo_guide" in prompts
    assert "workyard://agents/repo_guide" in resources
    assert not agents.is_error
    assert run.is_error
    assert "The database URL cannot be used" in str(run.content)


async def test_no_agent_library_is_loaded_for_the_listings(
    workyard: Workyard, project: Path, tmp_path: Path
) -> None:
    """A host starts the server at every launch, and waits for it."""
    loaded = tmp_path / "loaded.json"
    code = (
        "import atexit, json, pathlib, sys\n"
        f"loaded = pathlib.Path({str(loaded)!r})\n"
        "atexit.register(lambda: loaded.write_text(json.dumps(sorted(sys.modules))))\n"
        f"sys.argv = ['workyard', 'serve', '--root', {str(project)!r}]\n"
        "from orchestrator.cli import main\n"
        "main()\n"
    )
    server = StdioServerParameters(
        command=sys.executable, args=["-c", code], env=workyard.environment()
    )
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        prompts = (await client.list_prompts()).prompts

    modules = set(json.loads(loaded.read_text()))
    assert len(tools) > 10
    assert len(prompts) > 5
    assert "mcp_server.server" in modules
    assert modules.isdisjoint(LATE)


async def test_specs_below_the_root_are_out_of_reach(workyard: Workyard, project: Path) -> None:
    specs = project / "my-agents"
    specs.mkdir()
    (specs / "poet.yaml").write_text(SPEC)
    async with Client(served(workyard, project, "--specs", str(specs))) as client:
        arguments = {"path": "my-agents/poet.yaml", "content": "x"}
        refused = await client.call_tool("write_file", arguments)
        prompts = [each.name for each in (await client.list_prompts()).prompts]

    assert refused.is_error
    assert "poet" in prompts
    assert (specs / "poet.yaml").read_text() == SPEC


def test_specs_that_are_no_directory_are_refused_in_one_line(
    workyard: Workyard, project: Path
) -> None:
    done = workyard("serve", "--root", str(project), "--specs", str(project / "nope"))

    assert done.returncode == 2
    assert done.stderr == (
        "workyard serve: Spec 'nope' cannot be used: this is not a directory of specs.\n"
    )


async def test_server_without_an_orchestrator_has_tools_and_files_alone(project: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_server", "--root", str(project)]
    )
    async with Client(server) as client:
        capabilities = client.server_capabilities
        readme = await _text(client, "workspace:///README.md")

    assert capabilities.prompts is None
    assert capabilities.resources is not None
    assert not capabilities.resources.subscribe
    assert readme.startswith("# Sample")


def test_end_of_stdin_ends_a_server_that_somebody_listens_to(
    workyard: Workyard, project: Path
) -> None:
    envelope = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "probe", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"notifications": {"promptsListChanged": True}, "_meta": envelope}
    request = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    with subprocess.Popen(
        [COMMAND, "serve", "--root", str(project)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=workyard.environment(),
    ) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(request).encode() + b"\n")
        server.stdin.flush()
        acknowledged = json.loads(server.stdout.readline())
        server.stdin.close()

        assert server.wait(DEADLINE_S) == 0
    assert acknowledged["method"] == "notifications/subscriptions/acknowledged"


async def _run(root: Path, prompt: str, settings: Settings, session: str | None = None) -> str:
    model = TestModel(call_tools=[], custom_output_text="So it is.")
    async with Orchestrator.open(root, settings=settings, connect=InProcessConnection) as yard:
        run = await yard.run("repo_guide", prompt, model=model, session_id=session)
    return run.session_id


async def _text(client: Client, uri: str) -> str:
    (found,) = (await client.read_resource(uri)).contents
    assert isinstance(found, TextResourceContents)
    return found.text


async def _until(holds: Callable[[], bool]) -> None:
    while not holds():
        await anyio.sleep(0.05)
