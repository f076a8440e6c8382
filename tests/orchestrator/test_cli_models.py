"""`workyard models`: what can be used, what it costs, and what comes back when it is asked."""

import json
from collections.abc import Callable, Iterator
from typing import Any  # what JSON holds

import pytest
from pydantic_ai import models
from typer.testing import CliRunner, Result

from orchestrator.cli.app import app
from orchestrator.models.prices import facts_of, models_of
from orchestrator.models.user_settings import FILE
from orchestrator.settings import load_settings
from tests.wire.environment import environment
from tests.wire.script import Answer, Fail, Received, Say
from tests.wire.server import Wire, serving


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def write(text: str) -> None:
    directory = load_settings().config_dir
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).write_text(text, encoding="utf-8")


def line_of(shown: str, beginning: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith(beginning))


def from_json(done: Result) -> Any:
    return json.loads(done.stdout)


def test_models_of_usable_providers_are_listed_with_price_and_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    shown = workyard("models").stdout

    assert line_of(shown, "anthropic:claude-sonnet-5-5").split()[1:] == ["2", "10", "1,000,000"]
    assert "\nopenai:" not in shown
    assert "US dollars for a million tokens" in shown


def test_aliases_are_shown_with_what_they_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[aliases]\nfast = 'google:gemini-3.8-flash'\nhome = 'ollama:qwen3'\n")

    shown = workyard("models").stdout

    fast = line_of(shown, "fast").split()
    assert fast == ["fast", "google:gemini-3.8-flash", "0.75", "3.75", "1,000,000"]
    assert line_of(shown, "home").split()[2:] == ["unknown"] * 3


def test_named_models_alone_are_shown() -> None:
    write("[aliases]\nfast = 'google:gemini-3.8-flash'\n")

    done = workyard("models", "fast", "gateway/openai:gpt-6-luna", "ollama:qwen3")

    assert [line.split()[0] for line in done.stdout.splitlines()[:4]] == [
        "model",
        "google:gemini-3.8-flash",
        "gateway/openai:gpt-6-luna",
        "ollama:qwen3",
    ]
    assert workyard("models", "fasst").exit_code == 2


def test_own_server_and_stand_ins_are_shown() -> None:
    write(
        "[providers.lab]\nkind = 'openai-chat'\nbase_url = 'http://lab.example/v1'\n"
        "api_key_env = 'LAB_KEY'\n[fallback]\n'openai:gpt-6-luna' = ['lab:qwen3']\n"
    )

    shown = workyard("models").stdout

    assert "set LAB_KEY (http://lab.example/v1)" in line_of(shown, "lab (your own)")
    assert "Where openai:gpt-6-luna fails, lab:qwen3 is asked." in shown


def test_default_of_the_user_is_said_to_be_it(monkeypatch: pytest.MonkeyPatch) -> None:
    write("default = 'google:gemini-3.8-flash'")
    without_key = workyard("models").stdout
    monkeypatch.setenv("GOOGLE_API_KEY", "k")
    with_key = workyard("models").stdout

    assert "(It is the default in models.toml.)" in without_key
    assert "runs on google:gemini-3.8-flash: it is the default in models.toml." in with_key


def test_settings_that_cannot_be_used_are_named_with_file_and_key() -> None:
    write("[aliases]\nfast = 1\n")

    for command in (["models"], ["ask", "x"], ["run", "repo_guide", "x", "--model", "offline"]):
        done = workyard(*command)
        assert done.exit_code == 2
        assert f"{load_settings().config_dir / FILE}:2: aliases.fast: " in done.stderr


def test_json_says_null_where_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    write("[aliases]\nhome = 'ollama:qwen3'\n")
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    found = from_json(workyard("models", "--json"))

    assert found["default"] == "openai:gpt-6-luna"
    assert found["aliases"]["home"] == {
        "model": "ollama:qwen3",
        "input_usd": None,
        "output_usd": None,
        "rises": False,
        "context_tokens": None,
    }
    usable = {its["name"] for its in found["providers"] if its["usable"]}
    assert usable == {"openai", "openai-chat"}
    luna = next(its for its in found["models"] if its["model"] == "openai:gpt-6-luna")
    assert (luna["input_usd"], luna["rises"]) == ("0.1", True)


def test_what_two_providers_have_is_listed_once() -> None:
    listed = [its.model for its in models_of(["google", "google-cloud", "openai"])]

    assert listed
    assert len(listed) == len(set(listed))
    assert not [model for model in listed if model.startswith("google-cloud:")]
    assert models_of(["google-cloud"])[0].model.startswith("google-cloud:gem")


@pytest.mark.parametrize("model", ["google:no-such-model", "nobody:x", "offline", "ollama:gpt-4o"])
def test_what_is_not_known_of_a_model_is_none(model: str) -> None:
    facts = facts_of(model)

    assert (facts.input_usd, facts.output_usd, facts.context_tokens) == (None, None, None)


class Asking:
    """A wire that plays what a test says, and what was asked of it."""

    def __init__(self, wire: Wire, base_url: str) -> None:
        self.wire = wire
        self.base_url = base_url

    def play(self, answer: Callable[[Received], Answer]) -> Wire:
        self.wire.script = answer
        self.wire.requests.clear()
        return self.wire


@pytest.fixture(scope="module")
def served() -> Iterator[Asking]:
    wire = Wire([])
    with serving(wire) as base_url:
        yield Asking(wire, base_url)


@pytest.fixture
def asking(served: Asking, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    for provider in ("anthropic", "google", "google-cloud"):  # the last two have one variable
        for name, value in environment(provider, served.base_url).items():
            monkeypatch.setenv(name, value)
    with models.override_allow_model_requests(True):
        yield served


def test_check_asks_each_usable_model_once_and_says_what_came_back(asking: Asking) -> None:
    write(
        "[aliases]\nfast = 'google:gemini-fast'\n"
        "[fallback]\n'google:gemini-fast' = ['anthropic:claude-other']\n"
        f"[providers.lab]\nkind = 'openai-chat'\nbase_url = '{asking.base_url}/v1'\n"
    )
    wire = asking.play(
        lambda got: Fail(529, "Busy.", client_retries=True) if "fast" in got.model else Say("ready")
    )

    done = workyard("models", "--check")

    assert done.exit_code == 6
    assert "anthropic:claude-sonnet-5-5: ready" not in done.stdout
    assert "claude-sonnet-5-5: ready" in line_of(done.stdout, "anthropic:claude-sonnet-5-5")
    assert "✗ Model 'google:gemini-fast' " in line_of(done.stdout, "google:gemini-fast")
    assert "Busy." in line_of(done.stdout, "google:gemini-fast")
    assert "lab (your own): name a model to check it, as lab:NAME." in done.stdout
    asked = sorted(request.model for request in wire.requests)
    assert asked == [
        "claude-other",
        "claude-sonnet-5-5",
        *["gemini-3.8-flash"] * 2,  # of both APIs
        "gemini-fast",
    ]


def test_check_of_named_models_is_ok_when_all_answer(asking: Asking) -> None:
    asking.play(lambda got: Say("ready"))

    done = workyard("models", "google:gemini-3.8-flash", "--check", "--json")

    (probe,) = from_json(done)["checks"]
    assert done.exit_code == 0
    assert probe["took_s"] >= 0
    assert {**probe, "took_s": 0} == {
        "model": "google:gemini-3.8-flash",
        "took_s": 0,
        "answered_by": "gemini-3.8-flash",
        "text": "ready",
        "error": None,
    }


def test_check_says_what_to_set_for_a_model_without_a_key(asking: Asking) -> None:
    done = workyard("models", "openai:gpt-6-luna", "--check", "--json")

    (without_key,) = from_json(done)["checks"]
    assert done.exit_code == 6
    assert "set OPENAI_API_KEY" in without_key["error"]


@pytest.mark.parametrize("option", [(), ("--json",), ("--check",)])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("nobody:x", "There is no provider 'nobody'; write provider:model, with one of anthropic,"),
        ("gateway/nobody:x", "There is no provider 'gateway/nobody'"),
        ("gateway:x", "There is no provider 'gateway'"),
        ("openai:", "'openai:' names no model"),
        ("lost", "There is no provider 'nobody'"),
    ],
)
def test_name_that_nobody_answers_for_is_an_error_and_nobody_is_asked(
    asking: Asking, name: str, problem: str, option: tuple[str, ...]
) -> None:
    write("[aliases]\nlost = 'nobody:x'\n")
    wire = asking.play(lambda got: Say("ready"))

    done = workyard("models", "google:gemini-3.8-flash", name, *option)

    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr
    assert not wire.requests


def test_model_that_a_provider_alone_can_know_is_shown() -> None:
    done = workyard("models", "google:no-such-model", "groq:llama")

    assert done.exit_code == 0
    assert line_of(done.stdout, "groq:llama").split() == ["groq:llama", *["unknown"] * 3]
