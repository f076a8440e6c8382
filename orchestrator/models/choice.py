"""Which model a run uses, and whether it can be used right now.

A model's name is Pydantic AI's, `provider:model`, or an alias of the user's. This module only reads
names and the environment: it does not import `pydantic_ai`, and it asks nobody.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.errors import ModelNotConfiguredError
from orchestrator.models.providers import PROVIDERS
from orchestrator.models.user_settings import FILE, ModelSettings


@dataclass(frozen=True)
class ModelChoice:
    """The model that a run uses, and who said so."""

    name: str
    """Its own, where an alias was given."""
    reason: str


def choose_model(
    requested: str | None,
    *,
    configured: str | None,
    spec_model: str | None,
    known: ModelSettings,
    environ: Mapping[str, str],
) -> ModelChoice:
    """Return the model for a run: the caller's, the operator's, the spec's, the user's default.

    If none of these is there, it is that of the first provider with a key.

    Args:
        requested: What the caller named, with `--model` or in the API.
        configured: `WORKYARD_MODEL`.
        spec_model: The spec's own, taken only when its provider can be used.
        known: `models.toml`.
        environ: The environment that keys are looked up in.

    Raises:
        ModelNotConfiguredError: If there is no model, or the one asked for lacks its key, or one
            that is to stand in for it.
    """
    for name, reason in ((requested, "it was asked for"), (configured, "WORKYARD_MODEL names it")):
        if name:
            return _chosen(name, reason, known, environ)
    if spec_model and _is_reachable(spec_model, known, environ):
        return _chosen(spec_model, "the agent's spec names it", known, environ)
    if known.default:
        return _chosen(known.default, f"it is the default in {FILE}", known, environ)
    for provider in PROVIDERS:
        if provider.is_default and provider.is_usable(environ):
            reason = f"{provider.title} is the first with a key"
            return _chosen(provider.example, reason, known, environ)
    wanted = f" The agent's spec asks for {spec_model!r}." if spec_model else ""
    keys = ", ".join(p.variables[0] for p in PROVIDERS if p.is_default)
    raise ModelNotConfiguredError(
        f"No language model can be used: no key is set.{wanted} Set one of {keys}, or name a model "
        "with --model or WORKYARD_MODEL; '--model offline' works without any. "
        "'workyard models' shows each provider."
    )


def _chosen(
    name: str, reason: str, known: ModelSettings, environ: Mapping[str, str]
) -> ModelChoice:
    model, *stand_ins = known.chain(known.resolved(name))
    require_key(model, known, environ)
    for stand_in in stand_ins:
        require_key(stand_in, known, environ, role=f", which stands in for {model!r} in {FILE},")
    return ModelChoice(model, reason if model == name else f"{reason}, as {name!r}")


def require_key(
    model: str, known: ModelSettings, environ: Mapping[str, str], *, role: str = ""
) -> None:
    """Refuse a model whose provider lacks what it needs.

    Raises:
        ModelNotConfiguredError: With the name of the variable to set.
    """
    provider = known.provider_of(model)
    if provider and not provider.is_usable(environ):
        raise ModelNotConfiguredError(
            f"Model {model!r}{role} needs a key for {provider.title}: {provider.advice}."
        )


def _is_reachable(name: str, known: ModelSettings, environ: Mapping[str, str]) -> bool:
    provider = known.provider_of(known.resolved(name))
    return provider is not None and provider.is_usable(environ)
