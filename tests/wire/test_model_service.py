"""Models by name: built once, within their provider's limits, with those that stand in for them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from pathlib import Path

import anyio
import httpx2
import mcp_types
import pytest
from pydantic_ai import Agent
from pydantic_ai.models import Model

from mcp_server.errors import InvalidInputError
from mcp_server.fence.grant import Grant
from mcp_server.ports import Operator, Order
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    ModelNotConfiguredError,
    ModelSettingsError,
    ModelUnavailableError,
)
from orchestrator.events import ModelStoodIn
from orchestrator.models.service import Models, open_models
from orchestrator.models.user_settings import FILE
from orchestrator.running import Running
from orchestrator.settings import load_settings
from orchestrator.words import told
from tests.wire.conftest import Served
from tests.wire.environment import environment
from tests.wire.models import KEY
from tests.wire.script import Answer, Call, Fail, Hang, Received, Say, always

ANTHROPIC, OPENAI = "anthropic:claude-sonnet-5-5", "openai:gpt-6-luna"
CHAIN = f'[fallback]\n"{ANTHROPIC}" = ["{OPENAI}", "google:gemini-3.8-flash"]\n'
PROVIDERS = ("anthropic", "google", "google-cloud", "openai", "openai-chat", "ollama")

Write = Callable[[str], None]


@pytest.fixture
def write() -> Write:
    """Return how to write the user's `models.toml`."""

    def written(text: str) -> None:
        directory = load_settings().config_dir
        directory.mkdir(parents=True, exist_ok=True)
        (directory / FILE).write_text(text, encoding="utf-8")

    return written


@pytest.fixture
def keys(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Point every provider that has a model of its own at the served wire."""
    for provider in ("anthropic", "openai", "google"):
        for name, value in environment(provider, served.base_url).items():
            monkeypatch.setenv(name, value)


@pytest.fixture
async def models(keys: None) -> AsyncIterator[Models]:
    async with open_models(load_settings()) as opened:
        yield opened


@pytest.fixture
async def yard(keys: None, project: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, connect=InProcessConnection) as opened:
        yield opened


def by_model(**answers: Answer) -> Callable[[Received], Answer]:
    """Return a script in which each model, by the beginning of its name, has an answer."""
    return lambda got: next(a for name, a in answers.items() if got.model.startswith(name))


async def answer_of(model: Model) -> str:
    async with Agent(model) as agent:
        return (await agent.run("hello")).output


@pytest.mark.parametrize("name", ["antropic:x", "gpt-5", "groq:x", ":", "", "openai:"])
async def test_model_that_cannot_be_used_is_refused_by_name(models: Models, name: str) -> None:
    with pytest.raises(ModelNotConfiguredError, match="cannot be used"):
        models.model(name)


async def test_misspelt_provider_is_told_what_it_may_be(models: Models) -> None:
    with pytest.raises(ModelNotConfiguredError, match="Did you mean 'anthropic:claude-"):
        models.model("antropic:claude-sonnet-5-5")


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_model_of_a_provider_answers(
    served: Served, provider: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = served.play([Say("Hello.")])
    for name, value in environment(provider, served.base_url).items():
        monkeypatch.setenv(name, value)

    async with open_models(load_settings()) as models:
        assert await answer_of(models.model(f"{provider}:pretend")) == "Hello."

    assert (wire.requests[0].model, wire.requests[0].key) == ("pretend", KEY)


@pytest.mark.parametrize(
    ("behind", "path"),
    [
        ("anthropic", "/gateway/anthropic/v1/messages"),
        ("openai", "/gateway/openai/responses"),
        ("openai-chat", "/gateway/openai/chat/completions"),
        ("google", "/gateway/google-vertex/v1beta1/"),
    ],
)
async def test_gateway_speaks_as_who_is_behind_it(
    served: Served, behind: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire = served.play([Say("Hello.")])
    for name, value in environment("gateway", served.base_url).items():
        monkeypatch.setenv(name, value)

    async with open_models(load_settings()) as models:
        assert await answer_of(models.model(f"gateway/{behind}:pretend")) == "Hello."

    assert wire.requests[0].path.startswith(path)
    assert wire.requests[0].key == KEY


async def test_model_is_built_once_and_keeps_its_connection_between_runs(
    served: Served, models: Models
) -> None:
    wire = served.play(always(Say("Hello.")))
    first, other = models.model(ANTHROPIC), models.model("anthropic:other")

    for _ in range(2):
        await answer_of(first)
    await answer_of(other)

    assert models.model(ANTHROPIC) is first
    assert len({request.port for request in wire.requests}) == 1


async def test_connections_are_closed_with_their_owner(served: Served, keys: None) -> None:
    """Pydantic AI's own count of who uses a client is wrong once a request was cancelled."""
    wire = served.play(lambda got: Hang() if got.number == 1 else Say("Hello."))

    async with open_models(load_settings()) as models:
        model = models.model(ANTHROPIC)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(answer_of, model)
            await _until(lambda: len(wire.requests) == 1)
            tasks.cancel_scope.cancel()
        await answer_of(model)
        assert model.provider is not None
        client = model.provider.client
        assert not client.is_closed()

    assert client.is_closed()


def test_second_event_loop_gets_no_connection_of_the_first(
    served: Served, keys: None, project: Path
) -> None:
    wire = served.play(always(Say("Hello.")))

    async def run_twice() -> None:
        async with Orchestrator.open(project, connect=InProcessConnection) as yard:
            for _ in range(2):
                await yard.run("repo_guide", "hello", model=ANTHROPIC)

    anyio.run(run_twice)
    anyio.run(run_twice)

    first, again, second, once_more = (request.port for request in wire.requests)
    assert first == again != second == once_more


async def test_provider_gets_no_more_requests_at_once_than_its_limit(
    served: Served, write: Write, models: Models
) -> None:
    write("[providers.anthropic]\nconcurrency = 1\n")
    wire = served.play(lambda got: Hang() if got.model == "slow" else Say("Hello."))
    answers: list[str] = []

    async def ask(name: str) -> None:
        answers.append(await answer_of(models.model(name)))

    async with anyio.create_task_group() as tasks:
        slow = anyio.CancelScope()
        with anyio.fail_after(30):
            tasks.start_soon(_within, slow, ask, "anthropic:slow")
            await _until(lambda: len(wire.requests) == 1)
            tasks.start_soon(ask, "anthropic:a")
            tasks.start_soon(ask, "anthropic:b")
            await ask("openai:c")  # another provider is not concerned
            await anyio.wait_all_tasks_blocked()
            await _round_trips(served.base_url)
            assert [request.model for request in wire.requests] == ["slow", "c"]
            slow.cancel()

    assert answers == ["Hello."] * 3


async def _within(scope: anyio.CancelScope, ask: Callable[[str], Awaitable[None]], it: str) -> None:
    with scope:
        await ask(it)


async def _until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await anyio.sleep(0.01)


async def _round_trips(base_url: str) -> None:
    """Give the server time to read what has been sent to it before."""
    for _ in range(3):
        async with httpx2.AsyncClient(base_url=base_url) as client:
            await client.get("/v1/models")


async def test_provider_that_fails_is_stood_in_for_and_the_record_says_by_whom(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(CHAIN)
    served.play(by_model(claude=Fail(529, "Busy."), gpt=Fail(503, "Down."), gemini=Say("Hello.")))

    run = await yard.run("repo_guide", "hello", model=ANTHROPIC)
    events = [e.event async for e in yard.sessions.all_events(run.session_id)]
    (step,) = (await yard.sessions.recorded_run(run.run_id)).steps
    by_model_used = await yard.usage(by="model")

    assert (run.output, run.model) == ("Hello.", ANTHROPIC)
    assert run.usage.cost is not None
    assert step.answer.model_name == "gemini-3.8-flash"
    assert [a.model_name for a in step.answer.failed_attempts or ()] == [
        "claude-sonnet-5-5",
        "gpt-6-luna",
    ]
    (stood_in,) = [event for event in events if isinstance(event, ModelStoodIn)]
    assert told(stood_in) == (
        "⇄ google:gemini-3.8-flash in place of anthropic:claude-sonnet-5-5, openai:gpt-6-luna"
    )
    stand_in, own = by_model_used
    assert (stand_in.of, own.of) == ("google:gemini-3.8-flash", ANTHROPIC)
    assert (stand_in.cost, own.cost) == (run.usage.cost, Decimal(0))
    assert (stand_in.requests, own.requests, own.runs) == (1, 0, 1)


async def test_run_goes_on_with_the_stand_in_where_the_model_had_left_off(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(CHAIN)
    wire = served.play(
        lambda got: (
            Fail(529, "Busy.")
            if got.model.startswith("claude") and got.tool_results
            else Say("It is a till.")
            if got.tool_results
            else Call("read_file", {"path": "README.md"})
        )
    )

    run = await yard.run("repo_guide", "What is it?", model=ANTHROPIC)

    assert run.output == "It is a till."
    assert [request.model for request in wire.requests] == [
        "claude-sonnet-5-5",
        "claude-sonnet-5-5",
        "gpt-6-luna",
    ]
    assert "A till that adds prices." in wire.requests[-1].tool_results[0]


async def test_where_nobody_answers_each_is_named_with_its_own_words(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(CHAIN)
    served.play(by_model(claude=Fail(529, "Busy."), gpt=Fail(401, "No."), gemini=Fail(500, "Oh.")))

    with pytest.raises(ModelUnavailableError) as caught:
        await yard.run("repo_guide", "hello", model=ANTHROPIC)

    said = str(caught.value)
    assert said.startswith("None of 3 models answered. Model 'anthropic:claude-sonnet-5-5' ")
    assert "(529): Busy." in said
    assert "Model 'openai:gpt-6-luna' refused the key (401): No." in said
    assert "Model 'google:gemini-3.8-flash' answered with an error (500): Oh." in said
    assert "\n" not in said


async def test_error_of_a_stand_in_is_told_under_its_own_name(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(CHAIN)
    too_long = Fail(400, "Too long.", code="context_length_exceeded")
    served.play(by_model(claude=Fail(529, "Busy."), gpt=too_long))

    with pytest.raises(ModelUnavailableError, match="Model 'gpt-6-luna' got more than it can take"):
        await yard.run("repo_guide", "hello", model=ANTHROPIC)


async def test_what_is_too_long_for_a_model_is_not_sent_to_the_next(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    """`Compaction` makes it shorter, and asks again."""
    write(CHAIN)
    wire = served.play(by_model(claude=Fail(400, "prompt is too long: 250000 tokens")))

    with pytest.raises(ModelUnavailableError, match="got more than it can take"):
        await yard.run("repo_guide", "hello", model=ANTHROPIC)

    assert {request.model for request in wire.requests} == {"claude-sonnet-5-5"}


async def test_key_that_a_failing_provider_repeats_is_not_in_the_record(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(CHAIN)
    served.play(by_model(claude=Fail(529, f"Busy, {KEY}."), gpt=Say("Hello.")))

    run = await yard.run("repo_guide", "hello", model=ANTHROPIC)
    (step,) = (await yard.sessions.recorded_run(run.run_id)).steps

    assert "Busy, ***." in str((step.answer.failed_attempts or [])[0].error)
    for file in load_settings().data_dir.glob("workyard.db*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()


async def test_alias_runs_and_is_on_record_as_the_model_it_means(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write(f'[aliases]\nfast = "{OPENAI}"\n')
    served.play([Say("Hello.")])

    run = await yard.run("repo_guide", "hello", model="fast")

    assert (run.output, run.model) == ("Hello.", OPENAI)


async def test_settings_that_cannot_be_used_leave_nothing_on_record(
    write: Write, yard: Orchestrator
) -> None:
    write("defalt = 'x'\n")

    with pytest.raises(ModelSettingsError):
        await yard.run("repo_guide", "hello", model=OPENAI)

    assert await yard.sessions.latest() == []


class Unasked:
    """The model of a host, which no test here asks."""

    has_tools = False

    def check(self) -> None:
        raise AssertionError

    async def ask(
        self, params: mcp_types.CreateMessageRequestParams
    ) -> mcp_types.CreateMessageResultWithTools:
        raise AssertionError


async def test_host_is_told_what_is_wrong_with_the_settings_and_not_where_they_are(
    write: Write, project: Path
) -> None:
    write("defalt = 'x'\n")
    operator = Operator(root=str(project), grant=Grant.full(), model="offline")

    async with Running.open(operator) as running:
        with pytest.raises(InvalidInputError) as caught:
            await running.start(Order(agent="repo_guide", task="hello"), Unasked())

    assert str(caught.value).startswith("models.toml: defalt: there is no such setting; did you")


async def test_provider_has_the_time_that_the_user_gives_it(
    served: Served, write: Write, yard: Orchestrator
) -> None:
    write("[providers.openai]\ntimeout_s = 0.2\nretries = 0\n")
    wire = served.play([Hang()])

    with anyio.fail_after(60), pytest.raises(ModelUnavailableError, match="not answer in time"):
        await yard.run("repo_guide", "hello", model=OPENAI)

    assert len(wire.requests) == 1


async def test_time_that_a_spec_gives_its_model_counts_before_that_of_the_provider(
    served: Served, write: Write, keys: None, project: Path, tmp_path: Path
) -> None:
    write("[providers.openai]\ntimeout_s = 600\nretries = 0\n")
    spec = "name: hasty\ndescription: d\ninstructions: x\nmodel_settings: {timeout: 0.2}\n"
    (tmp_path / "hasty.yaml").write_text(spec)
    served.play([Hang()])

    opening = Orchestrator.open(project, specs=tmp_path, connect=InProcessConnection)
    with anyio.fail_after(60):
        async with opening as yard:
            with pytest.raises(ModelUnavailableError, match="not answer in time"):
                await yard.run("hasty", "hello", model=OPENAI)


SERVERS = {"openai-chat": "chat/completions", "openai": "responses", "ollama": "chat/completions"}


@pytest.mark.parametrize("kind", SERVERS)
async def test_server_of_ones_own_is_sent_no_key_that_is_not_for_it(
    served: Served, write: Write, yard: Orchestrator, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f'[providers.lab]\nkind = "{kind}"\nbase_url = "{served.base_url}/v1"\n')
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "not-for-others")
    monkeypatch.setenv("OLLAMA_API_KEY", "not-for-others")
    wire = served.play([Say("Hello.")])

    run = await yard.run("repo_guide", "hello", model="lab:gpt-4o")

    (request,) = wire.requests
    assert (run.output, run.model, request.model) == ("Hello.", "lab:gpt-4o", "gpt-4o")
    assert request.path == f"/v1/{SERVERS[kind]}"
    assert "not-for-others" not in str(request.headers)
    assert run.usage.cost is None


async def test_server_of_ones_own_is_sent_the_key_that_is_for_it(
    served: Served, write: Write, yard: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = f'kind = "openai-chat"\nbase_url = "{served.base_url}/v1"\napi_key_env = "LAB_KEY"\n'
    write(f"[providers.lab]\n{server}")
    monkeypatch.setenv("LAB_KEY", "for-the-lab")
    wire = served.play([Say("Hello.")])

    await yard.run("repo_guide", "hello", model="lab:qwen3")

    assert wire.requests[0].key == "for-the-lab"
