"""`workyard models`: which providers can be used right now, and what is missing."""

import os

from orchestrator.cli.exits import reported
from orchestrator.cli.terminal import print_table, write
from orchestrator.errors import ModelNotConfiguredError
from orchestrator.models import OFFLINE, PROVIDERS, Provider, choose_model
from orchestrator.settings import Settings, load_settings


def models() -> None:
    """Say for each provider whether it can be used now and, if not, what to set."""
    with reported():
        default = _default(load_settings())
        rows = [(provider.title, _now(provider), provider.example) for provider in PROVIDERS]
        rows.append(("Offline", "can be used; it searches, and is no language model", OFFLINE))
        print_table(("provider", "now", "example"), rows)
        write(f"{default}\n")


def _now(provider: Provider) -> str:
    if provider.is_usable(os.environ):
        return "can be used"
    return f"{provider.advice} ({provider.note})" if provider.note else provider.advice


def _default(settings: Settings) -> str:
    try:
        choice = choose_model(None, configured=settings.model, spec_model=None, environ=os.environ)
    except ModelNotConfiguredError as error:
        if settings.model is not None:
            return f"\n{error} (WORKYARD_MODEL names it.)"
        return "\nNo key is set: name a model with --model; '--model offline' works without any."
    return f"\nAn agent whose own model cannot be used runs on {choice.name}: {choice.reason}."
