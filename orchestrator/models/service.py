"""Models by name, built once and shared: one HTTP client for each provider, one limit on requests.

All of it belongs to who has opened it, and to that event loop: connections cannot go from one loop
to another, so nothing here outlives `open_models`.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from types import ModuleType
from typing import Any, Self  # `Any`: a provider's client is of any class

import anyio
from pydantic_ai import ConcurrencyLimiter
from pydantic_ai.exceptions import ModelAPIError, ModelContextWindowExceededError, UserError
from pydantic_ai.models import Model, infer_model, known_model_names
from pydantic_ai.models.concurrency import ConcurrencyLimitedModel
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.providers import Provider, infer_provider

from orchestrator.errors import ModelNotConfiguredError
from orchestrator.models.choice import choose_model
from orchestrator.models.patience import PatientModel
from orchestrator.models.providers import OFFLINE, provider_name
from orchestrator.models.user_settings import (
    ModelSettings,
    ProviderSettings,
    load_model_settings,
)
from orchestrator.offline import OfflineModel
from orchestrator.settings import Settings


@asynccontextmanager
async def open_models(settings: Settings) -> AsyncGenerator["Models"]:
    """Keep models and their connections, until it is left."""
    stack = AsyncExitStack()
    try:
        yield Models(settings, stack)
    finally:
        with anyio.CancelScope(shield=True):
            await stack.aclose()


class _SharedModel(ConcurrencyLimitedModel):
    """A model whose connections its owner closes, and no agent that enters and leaves it.

    Pydantic AI counts who has entered, and loses count when one is cancelled on its way out.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None


class Models:
    """Turns names and settings into models."""

    def __init__(self, settings: Settings, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._models: dict[str, Model] = {}
        self._providers: dict[str, Provider[Any]] = {}
        self._limiters: dict[str, ConcurrencyLimiter] = {}

    @cached_property
    def known(self) -> ModelSettings:
        """What `models.toml` says; it is read once.

        Raises:
            ModelSettingsError: If it cannot be used.
        """
        return load_model_settings(self._settings.config_dir)

    def choose(self, requested: str | Model | None, spec_model: str | None) -> tuple[str, Model]:
        """Return the model for a run, and its name for the record.

        Args:
            requested: What the caller has named or built.
            spec_model: What the agent's spec names.

        Raises:
            ModelNotConfiguredError: If it cannot be used, or there is none.
            ModelSettingsError: If `models.toml` cannot be used.
        """
        if isinstance(requested, Model):
            return requested.model_id, requested
        choice = choose_model(
            requested,
            configured=self._settings.model,
            spec_model=spec_model,
            known=self.known,
            environ=os.environ,
        )
        return choice.name, self.model(choice.name)

    def model(self, name: str) -> Model:
        """Return the model of a name, with those that stand in for it when its provider fails.

        Raises:
            ModelNotConfiguredError: If the name is unknown, a key is missing, or the provider's
                package is not installed.
        """
        chain = self.known.chain(self.known.resolved(name))
        first, *others = [self.alone(model) for model in chain]
        return FallbackModel(first, *others, fallback_on=[_is_the_providers]) if others else first

    def alone(self, name: str) -> Model:
        """Return the model of a name without stand-ins, within its provider's limits."""
        if name == OFFLINE:
            return OfflineModel()
        if name not in self._models:
            self._models[name] = self._built(name)
        return self._models[name]

    def _built(self, name: str) -> Model:
        limits = self.known.limits_of(name)
        try:
            bare = self._bare(name, limits)
        except (UserError, ImportError, ValueError) as error:
            raise ModelNotConfiguredError(f"Model {name!r} cannot be used: {error}") from error
        patient = PatientModel(
            bare,
            timeout_s=limits.timeout_s or self._settings.model_timeout_s,
            retries=limits.retries,
        )
        # One that waits to try again keeps its place: its provider has asked for less.
        return _SharedModel(patient, self._limiter(provider_name(name), limits))

    def _bare(self, name: str, limits: ProviderSettings) -> Model:
        prefix, colon, own_name = name.partition(":")
        if not (prefix and colon and own_name):
            raise ValueError(f"Unknown model: {name}.{_suggestion(name)}")
        provider = self._provider(name, prefix, limits)
        if limits.kind is None:
            return infer_model(name, lambda prefix: provider)
        own: Model = _own_servers().own_model(limits.kind, own_name, provider)
        return own

    def _provider(self, name: str, prefix: str, limits: ProviderSettings) -> Provider[Any]:
        """Return a provider whose HTTP client is closed with all others."""
        if prefix not in self._providers:
            if limits.kind is not None:
                provider = _own_servers().own_server(prefix, limits)
            else:
                try:
                    provider = infer_provider(prefix)
                except ValueError as error:
                    text = f"Unknown model: {name}.{_suggestion(name)}"
                    raise ValueError(text) from error
            self._providers[prefix] = provider
            self._stack.push_async_callback(_close, provider)
        return self._providers[prefix]

    def _limiter(self, provider: str, limits: ProviderSettings) -> ConcurrencyLimiter:
        if provider not in self._limiters:
            self._limiters[provider] = ConcurrencyLimiter(limits.concurrency, name=provider)
        return self._limiters[provider]


def has_timeout(model: Model) -> bool:
    """Say whether a model brings its own limit on how long a request goes without an answer."""
    if isinstance(model, FallbackModel):
        return all(map(has_timeout, model.models))
    return "timeout" in (model.settings or {})


async def _close(provider: Provider[Any]) -> None:
    async with provider:
        pass  # whoever is the last to leave it closes its client


def _is_the_providers(error: Exception) -> bool:
    """Say whether a failure is one that another provider may not have.

    What is too long for one model is made shorter by `Compaction`, not sent to the next.
    """
    return isinstance(error, ModelAPIError) and not isinstance(
        error, ModelContextWindowExceededError
    )


def _suggestion(name: str) -> str:
    near = get_close_matches(name, known_model_names(), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _own_servers() -> ModuleType:
    # The lazy seam: OpenAI's client takes as long to import as half of Pydantic AI, and few runs
    # go to a server of the user's own.
    return import_module("orchestrator.models.own_servers")
