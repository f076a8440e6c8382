"""`models.toml` in the user's config directory: names and limits for models, and never a key.

It is read strictly. What is misspelt would otherwise be left out in silence, and a request would go
to a model, or at a cost, that nobody wanted.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from orchestrator.errors import ModelSettingsError
from orchestrator.models.providers import GATEWAY, OFFLINE, PROVIDERS, Provider, provider_name
from orchestrator.settings_file import known_names, plain_url, read_settings
from orchestrator.spec_source import Place

FILE = "models.toml"

CONCURRENCY = 16
"""Requests that one provider is sent at the same time, by all runs of a process."""

RETRIES = 2
"""How often a request is tried again."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_TAKEN = (OFFLINE, "client", "test")
"""Names of models that are no `provider:model`."""


class ProviderSettings(BaseModel):
    """How requests to one provider are made, and where a server of the user's own is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["openai-chat", "openai", "ollama"] | None = None
    """What a server of the user's own speaks: chat completions, responses, or Ollama's variant."""
    base_url: Annotated[str, AfterValidator(plain_url)] | None = None
    api_key_env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = (
        None
    )
    """The environment variable with the key; a server that wants none needs none."""
    concurrency: int = Field(default=CONCURRENCY, ge=1, le=1000)
    timeout_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """How long one attempt may go without an answer; by default `WORKYARD_MODEL_TIMEOUT_S`."""
    retries: int = Field(default=RETRIES, ge=0, le=10)

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.kind is None and (self.base_url is not None or self.api_key_env is not None):
            raise ValueError(
                "base_url and api_key_env are for servers of your own, which also have a kind"
            )
        if self.kind is not None and self.base_url is None:
            raise ValueError("a server of your own needs its base_url")
        return self


class ModelSettings(BaseModel):
    """What the user has said about models; without a file, nothing."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    default: str | None = None
    """What a run uses when nobody names a model and its agent's own cannot be used."""
    aliases: Mapping[str, str] = {}
    fallback: Mapping[str, Annotated[list[str], Field(min_length=1)]] = {}
    """A model → those that stand in for it, in this order, when its provider fails."""
    providers: Mapping[str, ProviderSettings] = {}

    def resolved(self, name: str) -> str:
        """Return the model that a name means: itself, unless it is an alias.

        Raises:
            ValueError: If aliases lead round in a circle.
        """
        passed: list[str] = []
        while name in self.aliases:
            if name in passed:
                raise ValueError(f"the aliases go round in a circle: {' → '.join([*passed, name])}")
            passed.append(name)
            name = self.aliases[name]
        return name

    def chain(self, model: str) -> tuple[str, ...]:
        """Return a model and those that stand in for it, all by their own names."""
        stand_ins = [
            self.resolved(stand_in)
            for name, names in self.fallback.items()
            if self.resolved(name) == model
            for stand_in in names
        ]
        return tuple(dict.fromkeys([model, *stand_ins]))

    def provider_of(self, model: str) -> Provider | None:
        """Return who answers for a model, or None if only Pydantic AI may know."""
        name = provider_name(model)
        return next((p for p in self.all_providers if p.name == name), None)

    def has_provider(self, model: str) -> bool:
        """Say whether one of `all_providers` answers for a model by itself, behind no gateway."""
        prefix, _, own_name = model.partition(":")
        names = {provider.name for provider in self.all_providers} - {GATEWAY}
        return prefix in names and bool(own_name)

    def limits_of(self, model: str) -> ProviderSettings:
        """Return how requests to a model's provider are made."""
        return self.providers.get(provider_name(model), ProviderSettings())

    @property
    def all_providers(self) -> tuple[Provider, ...]:
        """Those that everybody has, and the user's own servers."""
        own = ((name, its) for name, its in self.providers.items() if its.kind is not None)
        return (*PROVIDERS, *(_own_server(name, its) for name, its in own))


def load_model_settings(config_dir: Path) -> ModelSettings:
    """Read `models.toml`, if there is one.

    Raises:
        ModelSettingsError: With file, line and key, if it cannot be used.
    """
    written = read_settings(config_dir / FILE, ModelSettingsError)
    if written is None:
        return ModelSettings()
    settings = written.read_as(ModelSettings, _problem)
    for place, problem in _faults(settings):
        raise written.error(problem, place)
    return settings


def _faults(settings: ModelSettings) -> list[tuple[Place, str]]:
    """Return what no single value shows: places, each with what is wrong there."""
    faults: list[tuple[Place, str]] = []
    builtin = {provider.name for provider in PROVIDERS}
    for name, its in settings.providers.items():
        key = ("providers", name)
        if its.kind is not None and name in builtin:
            faults.append((key, "a server of your own needs a name of its own"))
        elif its.kind is not None and not _NAME.fullmatch(name):
            faults.append((key, "a name has small letters, digits and . _ - only"))
        elif its.kind is None and name not in builtin:
            faults.append((key, f"there is no such provider; {_known(name, builtin)}"))
    for alias in settings.aliases:
        if not _NAME.fullmatch(alias) or alias in _TAKEN:
            what = "an alias has small letters, digits and . _ - only"
            faults.append((("aliases", alias), f"{what}, and is none of {', '.join(_TAKEN)}"))
    named: dict[Place, list[str]] = {
        ("default",): [settings.default] if settings.default is not None else [],
        **{("aliases", alias): [alias] for alias in settings.aliases},
        **{("fallback", name): [name, *names] for name, names in settings.fallback.items()},
    }
    faults += [
        (key, problem)
        for key, names in named.items()
        for name in names
        for problem in [_fault_of(name, settings)]
        if problem is not None
    ]
    return faults or _fallback_faults(settings)


def _fault_of(name: str, settings: ModelSettings) -> str | None:
    try:
        model = settings.resolved(name)
    except ValueError as error:
        return str(error)
    provider, colon, own_name = model.partition(":")
    if model == OFFLINE or (provider and colon and own_name):
        return None
    return f"{model!r} is neither provider:model nor an alias; {_known(model, settings.aliases)}"


def _fallback_faults(settings: ModelSettings) -> list[tuple[Place, str]]:
    faults: list[tuple[Place, str]] = []
    seen: dict[str, str] = {}
    for name, names in settings.fallback.items():
        model, key = settings.resolved(name), ("fallback", name)
        if model in seen:
            faults.append((key, f"{seen[model]!r} means the same model; it has its own list"))
        if model in map(settings.resolved, names):
            faults.append((key, "a model does not stand in for itself"))
        seen[model] = name
    return faults


def _own_server(name: str, its: ProviderSettings) -> Provider:
    return Provider(
        name=name,
        title=f"{name} (your own)",
        variables=(its.api_key_env,) if its.api_key_env else (),
        example=f"{name}:NAME",
        is_default=False,
        note=its.base_url or "",
    )


def _problem(kind: str, message: str, place: Place) -> str:
    """Return what is wrong in a user's words."""
    if kind != "extra_forbidden":
        return message
    name, of_provider = str(place[-1]), len(place) > 1
    if of_provider and "key" in name.lower():
        return "a key is never kept here; name the variable that holds it in api_key_env"
    known = ProviderSettings.model_fields if of_provider else ModelSettings.model_fields
    return f"there is no such setting; {_known(name, known)}"


def _known(name: str, known: Collection[str]) -> str:
    return known_names(name, known, "no alias is set")
