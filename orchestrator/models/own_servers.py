"""Servers of the user's own, which speak as OpenAI's or Ollama's does; named in `models.toml`."""

import os
from typing import Any, Literal  # Any: a provider's client is of any class

from pydantic_ai.models import Model
from pydantic_ai.models.ollama import OllamaModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers import Provider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

from orchestrator.models.user_settings import ProviderSettings

_NO_KEY = "no-key"
"""What a server of the user's own is sent that wants none: OpenAI's client insists on a key, and
would otherwise take the one for OpenAI."""


def own_model(
    kind: Literal["openai-chat", "openai", "ollama"], name: str, provider: Provider[Any]
) -> Model:
    """Return a model of such a server."""
    match kind:
        case "openai-chat":
            return OpenAIChatModel(name, provider=provider)
        case "openai":
            return OpenAIResponsesModel(name, provider=provider)
        case "ollama":
            return OllamaModel(name, provider=provider)


def own_server(name: str, limits: ProviderSettings) -> Provider[Any]:
    """Return the provider of such a server; it is sent no key but the one that is named for it."""
    key = os.environ.get(limits.api_key_env or "") or _NO_KEY
    if limits.kind == "ollama":
        provider: OllamaProvider | OpenAICompatibleProvider = OllamaProvider(
            limits.base_url, api_key=key
        )
    else:
        provider = OpenAICompatibleProvider(name, base_url=limits.base_url or "", api_key=key)
    # OpenAI's client takes these from the environment, for whichever server, where they are None.
    provider.client.organization = provider.client.project = ""
    return provider
