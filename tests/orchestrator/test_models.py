"""Which model a run uses: the caller's, the operator's, the spec's, else who has a key."""

import pytest

from orchestrator.errors import ModelNotConfiguredError
from orchestrator.models.choice import choose_model
from orchestrator.models.providers import PROVIDERS
from orchestrator.models.user_settings import ModelSettings

EVERY_KEY = {variable: "k" for provider in PROVIDERS for variable in provider.variables}
SPEC = "anthropic:claude-sonnet-5-5"


def choice(
    requested: str | None = None,
    configured: str | None = None,
    spec_model: str | None = None,
    **environ: str,
) -> str:
    return choose_model(
        requested,
        configured=configured,
        spec_model=spec_model,
        known=ModelSettings(),
        environ=environ,
    ).name


def test_the_callers_model_comes_first() -> None:
    assert choice("google:a", "openai:b", SPEC, **EVERY_KEY) == "google:a"


def test_the_operators_model_comes_second() -> None:
    assert choice(None, "openai:b", SPEC, **EVERY_KEY) == "openai:b"


def test_the_specs_model_comes_third_when_its_key_is_set() -> None:
    assert choice(spec_model=SPEC, **EVERY_KEY) == SPEC
    assert choice(spec_model=SPEC, GOOGLE_API_KEY="k").startswith("google:")


@pytest.mark.parametrize(
    ("variable", "prefix"),
    [
        ("ANTHROPIC_API_KEY", "anthropic:"),
        ("GOOGLE_API_KEY", "google:"),
        ("GEMINI_API_KEY", "google:"),
        ("GOOGLE_CLOUD_PROJECT", "google-cloud:"),
        ("OPENAI_API_KEY", "openai:"),
        ("PYDANTIC_AI_GATEWAY_API_KEY", "gateway/"),
    ],
)
def test_else_the_first_provider_with_a_key(variable: str, prefix: str) -> None:
    assert choice(**{variable: "k"}).startswith(prefix)


def test_empty_key_is_no_key() -> None:
    with pytest.raises(ModelNotConfiguredError):
        choice(ANTHROPIC_API_KEY="")


def test_without_any_key_it_is_said_what_to_set() -> None:
    with pytest.raises(ModelNotConfiguredError) as caught:
        choice(spec_model=SPEC)

    for part in (SPEC, "ANTHROPIC_API_KEY", "GOOGLE_API_KEY", "--model offline", "WORKYARD_MODEL"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic:x", "ANTHROPIC_API_KEY"),
        ("google:x", "GOOGLE_API_KEY"),
        ("google-cloud:x", "GOOGLE_CLOUD_PROJECT"),
        ("openai:x", "OPENAI_API_KEY"),
        ("openai-chat:x", "OPENAI_BASE_URL"),
        ("ollama:x", "OLLAMA_BASE_URL"),
        ("gateway/anthropic:x", "PYDANTIC_AI_GATEWAY_API_KEY"),
    ],
)
def test_model_without_its_key_is_refused_by_the_variables_name(name: str, variable: str) -> None:
    with pytest.raises(ModelNotConfiguredError, match=variable):
        choice(name)


def test_offline_needs_nothing() -> None:
    assert choice("offline") == "offline"
