"""Which model a run uses, and which providers can be used right now.

A model's name is Pydantic AI's, `provider:model`; any name that it knows can be given. This module
only reads names and the environment: it does not import `pydantic_ai`, and it asks nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import ModelNotConfiguredError

OFFLINE = "offline"
"""The name of the model that is no language model (`offline/`)."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Somebody who answers for models, and what has to be set to reach them."""

    name: str
    """What stands before the colon in a model's name."""
    title: str
    variables: tuple[str, ...]
    """Environment variables, any one of which makes the provider usable."""
    example: str
    is_default: bool = True
    """Whether `example` is what a run uses when this is the first provider with a key."""
    note: str = ""

    def is_usable(self, environ: Mapping[str, str]) -> bool:
        """Say whether what the provider needs is set."""
        return any(environ.get(variable) for variable in self.variables)

    @property
    def advice(self) -> str:
        """What to do to make it usable."""
        *others, last = self.variables
        return f"set {', '.join(others)} or {last}" if others else f"set {last}"


PROVIDERS = (
    Provider(
        name="anthropic",
        title="Anthropic",
        variables=("ANTHROPIC_API_KEY",),
        example="anthropic:claude-sonnet-5-5",
    ),
    Provider(
        name="google",
        title="Google Gemini API",
        variables=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
        example="google:gemini-3.8-flash",
    ),
    Provider(
        name="google-cloud",
        title="Google Vertex AI",
        variables=("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GOOGLE_API_KEY"),
        example="google-cloud:gemini-3.8-flash",
        note="a project alone uses Application Default Credentials",
    ),
    Provider(
        name="openai",
        title="OpenAI",
        variables=("OPENAI_API_KEY",),
        example="openai:gpt-6-luna",
    ),
    Provider(
        name="openai-chat",
        title="OpenAI-compatible servers",
        variables=("OPENAI_BASE_URL", "OPENAI_API_KEY"),
        example="openai-chat:NAME",
        is_default=False,
        note="the URL of llama.cpp, vLLM, LM Studio and others",
    ),
    Provider(
        name="ollama",
        title="Ollama",
        variables=("OLLAMA_BASE_URL",),
        example="ollama:NAME",
        is_default=False,
        note="usually http://localhost:11434/v1",
    ),
)
"""In the order in which a run looks for a key."""


@dataclass(frozen=True)
class ModelChoice:
    """The model that a run uses, and who said so."""

    name: str
    reason: str


def choose_model(
    requested: str | None,
    *,
    configured: str | None,
    spec_model: str | None,
    environ: Mapping[str, str],
) -> ModelChoice:
    """Return the model for a run: the caller's, the operator's, the spec's, else who has a key.

    Args:
        requested: What the caller named, with `--model` or in the API.
        configured: `WORKYARD_MODEL`.
        spec_model: The spec's own, taken only when its provider can be used.
        environ: The environment that keys are looked up in.

    Raises:
        ModelNotConfiguredError: If there is no model, or the one asked for lacks its key.
    """
    for name, reason in ((requested, "it was asked for"), (configured, "WORKYARD_MODEL names it")):
        if name:
            require_key(name, environ)
            return ModelChoice(name, reason)
    if spec_model and _is_reachable(spec_model, environ):
        return ModelChoice(spec_model, "the agent's spec names it")
    for provider in PROVIDERS:
        if provider.is_default and provider.is_usable(environ):
            return ModelChoice(provider.example, f"{provider.title} is the first with a key")
    wanted = f" The agent's spec asks for {spec_model!r}." if spec_model else ""
    keys = ", ".join(p.variables[0] for p in PROVIDERS if p.is_default)
    raise ModelNotConfiguredError(
        f"No language model can be used: no key is set.{wanted} Set one of {keys}, or name a model "
        "with --model or WORKYARD_MODEL; '--model offline' works without any. "
        "'workyard models' shows each provider."
    )


def require_key(name: str, environ: Mapping[str, str]) -> None:
    """Refuse a model whose provider lacks what it needs.

    Raises:
        ModelNotConfiguredError: With the name of the variable to set.
    """
    provider = _provider_of(name)
    if provider and not provider.is_usable(environ):
        raise ModelNotConfiguredError(
            f"Model {name!r} needs a key for {provider.title}: {provider.advice}."
        )


def _provider_of(name: str) -> Provider | None:
    prefix = name.partition(":")[0]
    return next((p for p in PROVIDERS if p.name == prefix), None)


def _is_reachable(name: str, environ: Mapping[str, str]) -> bool:
    provider = _provider_of(name)
    return provider is not None and provider.is_usable(environ)
