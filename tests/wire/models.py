"""Pydantic AI's own models, pointed at a served `Wire`: one for each way to reach a provider."""

from collections.abc import Callable

from google.oauth2.credentials import Credentials
from pydantic_ai.models import Model
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.google_cloud import GoogleCloudProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider

KEY = "pretend-key"


def openai_chat(base_url: str) -> Model:
    return OpenAIChatModel("gpt-4o", provider=_openai(base_url))


def openai_responses(base_url: str) -> Model:
    return OpenAIResponsesModel("gpt-5", provider=_openai(base_url))


def ollama(base_url: str) -> Model:
    provider = OllamaProvider(base_url=f"{base_url}/v1", api_key=KEY)
    return OllamaModel("qwen3:8b", provider=provider)


def anthropic(base_url: str) -> Model:
    provider = AnthropicProvider(base_url=base_url, api_key=KEY)
    return AnthropicModel("claude-sonnet-4-6", provider=provider)


def google(base_url: str) -> Model:
    provider = GoogleProvider(base_url=base_url, api_key=KEY)
    return GoogleModel("gemini-2.5-flash", provider=provider)


def google_cloud_key(base_url: str) -> Model:
    """Vertex AI with an API key ("express mode")."""
    provider = GoogleCloudProvider(base_url=base_url, api_key=KEY)
    return GoogleModel("gemini-2.5-flash", provider=provider)


def google_cloud(base_url: str) -> Model:
    """Vertex AI with a token that needs no refresh, hence no token endpoint."""
    credentials = Credentials(KEY)  # type: ignore[no-untyped-call] # google-auth has no types
    provider = GoogleCloudProvider(
        base_url=base_url,
        credentials=credentials,
        project="pretend-project",
        location="europe-west1",
    )
    return GoogleModel("gemini-2.5-flash", provider=provider)


def _openai(base_url: str) -> OpenAIProvider:
    return OpenAIProvider(base_url=f"{base_url}/v1", api_key=KEY)


MODELS: dict[str, Callable[[str], Model]] = {
    "openai-chat": openai_chat,
    "openai-responses": openai_responses,
    "ollama": ollama,
    "anthropic": anthropic,
    "google": google,
    "google-cloud-key": google_cloud_key,
    "google-cloud": google_cloud,
}
"""From a name for test ids to a builder that takes the base URL of a served `Wire`."""
