"""Who answers for models, and what has to be set to reach them."""

from collections.abc import Mapping
from dataclasses import dataclass

OFFLINE = "offline"
"""The name of the model that is no language model (`orchestrator/offline/`)."""

GATEWAY = "gateway"
"""It answers for models of others alone: `gateway/openai:…`."""


@dataclass(frozen=True, kw_only=True)
class Provider:
    """Somebody who answers for models, and what has to be set to reach them."""

    name: str
    """What stands before the colon in a model's name, or before a slash there."""
    title: str
    variables: tuple[str, ...]
    """Environment variables, any one of which makes the provider usable; none are needed if none
    are named."""
    example: str
    is_default: bool = True
    """Whether `example` is what a run uses when this is the first provider with a key."""
    note: str = ""

    def is_usable(self, environ: Mapping[str, str]) -> bool:
        """Say whether what the provider needs is set."""
        return not self.variables or any(environ.get(variable) for variable in self.variables)

    @property
    def advice(self) -> str:
        """What to do to make it usable."""
        *others, last = self.variables or ("nothing",)
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
        name=GATEWAY,
        title="Pydantic AI Gateway",
        variables=("PYDANTIC_AI_GATEWAY_API_KEY", "PAIG_API_KEY"),
        example="gateway/anthropic:claude-sonnet-5-5",
        note="one key for the models of several providers",
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


def provider_name(model: str) -> str:
    """Return the name of a model's provider.

    >>> provider_name("google:gemini-3.8-flash"), provider_name("gateway/openai:gpt-6-luna")
    ('google', 'gateway')
    """
    return model.partition(":")[0].partition("/")[0]
