"""The whole path over the real wire formats: provider class, agent, MCP server process, record."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic_ai import models

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import ModelUnavailableError
from orchestrator.events import AgentMessage, ToolReturned
from orchestrator.models.user_settings import FILE
from orchestrator.settings import Settings
from tests.wire.environment import environment, service_account_environment
from tests.wire.script import Answer, Call, Drop, Fail, Hang, Say, Stop, turn
from tests.wire.server import Wire, serve

PROVIDERS = ("anthropic", "google", "google-cloud", "openai", "openai-chat", "ollama")


@pytest.fixture(autouse=True)
def _real_models_on_this_machine() -> Iterator[None]:
    with models.override_allow_model_requests(True):
        yield


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_agent_works_over_the_wire_format_of(
    provider: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script: list[Answer] = [
        turn(Call("read_file", {"path": "README.md"}), Call("grep", {"pattern": "round"})),
        turn(Say("It adds prices, see README.md:3."), input_tokens=100, output_tokens=20),
    ]
    wire = Wire(script)
    async with serve(wire) as url:
        for name, value in environment(provider, url).items():
            monkeypatch.setenv(name, value)
        async with Orchestrator.open(project) as yard:
            run = await yard.run("repo_guide", "What is it?", model=f"{provider}:pretend")
            events = [e.event async for e in yard.sessions.all_events(run.session_id)]
            stored = (await yard.sessions.runs(run.session_id))[0]

    assert run.output == "It adds prices, see README.md:3."
    assert set(wire.requests[0].tools) == {"read_file", "list_directory", "grep"}
    assert all(request.streamed for request in wire.requests)
    assert "A till that adds prices." in "".join(wire.requests[1].tool_results)
    assert (stored.requests, stored.tool_calls) == (2, 2)
    assert (stored.input_tokens, stored.output_tokens) == (111, 27)
    assert [e.outcome for e in events if isinstance(e, ToolReturned)] == ["success", "success"]
    assert [e.content for e in events if isinstance(e, AgentMessage)] == [run.output]


async def test_vertex_ai_works_with_a_service_account(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = Wire([Say("Hello.")])
    async with serve(wire) as url:
        for name, value in service_account_environment(tmp_path, url).items():
            monkeypatch.setenv(name, value)
        async with Orchestrator.open(project) as yard:
            run = await yard.run("repo_guide", "Hi", model="google-cloud:pretend")

    assert run.output == "Hello."
    assert "/projects/pretend-project/locations/europe-west1/" in wire.requests[-1].path


async def test_key_selects_the_provider(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody named a model: the spec's own is used when its key is set."""
    wire = Wire([Say("Hello.")])
    async with serve(wire) as url:
        for name, value in environment("anthropic", url).items():
            monkeypatch.setenv(name, value)
        async with Orchestrator.open(project) as yard:
            run = await yard.run("repo_guide", "Hi")

    assert (
        run.model
        == (await yard.agents.get("repo_guide")).document.model
        == "anthropic:claude-sonnet-5-5"
    )
    assert run.usage.cost is not None


@pytest.mark.parametrize("provider", ["anthropic", "google", "openai-chat"])
@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (Fail(401, "that key is not valid"), "refused the key (401): that key is not valid"),
        (Fail(429, "slow down"), "429): slow down"),
        (Fail(500, "oh no"), "answered with an error (500): oh no"),
        (Hang(), "did not answer in time"),
        (Drop(), "broke off in the middle of its answer"),
        (Stop(), "without saying that it was complete"),
    ],
    ids=["401", "429", "500", "hang", "drop", "half"],
)
async def test_provider_that_fails_is_named_with_its_own_words(
    provider: str, answer: Answer, part: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the provider says has no part of the server's: here it needs no process."""
    wire = Wire(lambda received: answer)
    settings = Settings(model_timeout_s=0.5)
    settings.config_dir.mkdir(parents=True)
    (settings.config_dir / FILE).write_text(f"[providers.{provider}]\nretries = 0\n")
    async with serve(wire) as url:
        for name, value in environment(provider, url).items():
            monkeypatch.setenv(name, value)
        opening = Orchestrator.open(project, connect=InProcessConnection, settings=settings)
        async with opening as yard:
            with pytest.raises(ModelUnavailableError) as caught:
                await yard.run("repo_guide", "go", model=f"{provider}:pretend")
            run = (await yard.sessions.runs((await yard.sessions.latest())[0].id))[0]

    assert part in str(caught.value)
    assert f"{provider}:pretend" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert (run.status, run.error_code) == ("failed", "model_unavailable")
    assert run.error_text == str(caught.value)


async def test_provider_that_is_not_there_is_said_to_be_unreachable(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    for name, value in environment("ollama", url).items():
        monkeypatch.setenv(name, value)

    async with Orchestrator.open(project) as yard:
        with pytest.raises(ModelUnavailableError, match="cannot be reached"):
            await yard.run("repo_guide", "go", model="ollama:x")
