"""`workyard models`: which models can be used right now, what they cost, and what is missing."""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from pydantic import JsonValue

import orchestrator
from orchestrator.cli.exits import EXIT_CODES, reported
from orchestrator.cli.run import JsonOption
from orchestrator.cli.terminal import print_table, write
from orchestrator.errors import InvalidInputError, ModelNotConfiguredError, UnavailableError
from orchestrator.models.choice import ModelChoice, choose_model
from orchestrator.models.providers import OFFLINE, Provider
from orchestrator.models.user_settings import ModelSettings, load_model_settings
from orchestrator.settings import Settings, load_settings
from orchestrator.words import one_line

if TYPE_CHECKING:
    from orchestrator.models.prices import ModelFacts
    from orchestrator.probing import Probe

_FACTS = ("$ in", "$ out", "context")
_PER = "\nPrices are US dollars for a million tokens; + rises with the length of a request.\n"


@dataclass(frozen=True)
class _View:
    settings: Settings
    known: ModelSettings

    @property
    def usable(self) -> list[Provider]:
        return [p for p in self.known.all_providers if p.is_usable(os.environ)]

    @property
    def named(self) -> list[str]:
        """The models that somebody has named, and one of each usable provider."""
        names = [
            *filter(None, [self.settings.model, self.known.default]),
            *self.known.aliases,
            *(name for model, others in self.known.fallback.items() for name in [model, *others]),
        ]
        examples = [provider.example for provider in self.usable if provider.is_default]
        models = dict.fromkeys([*map(self.known.resolved, names), *examples])
        return [model for model in models if model != OFFLINE]

    def listed(self) -> list["ModelFacts"]:
        """Return the models of usable providers; what else a server has, it alone knows."""
        return orchestrator.models_of(p.name for p in self.usable if p.is_default)

    def default(self) -> ModelChoice:
        return choose_model(
            None,
            configured=self.settings.model,
            spec_model=None,
            known=self.known,
            environ=os.environ,
        )


def models(
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME]...", help="Only these: provider:model, or aliases."),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Ask each usable one for a word, which costs some tokens."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show which models can be used now, what they cost and how much they take.

    Any other model that a provider has can be used as well.
    """
    with reported():
        settings = load_settings()
        view = _View(settings, load_model_settings(settings.config_dir))
        names = [_model(name, view.known) for name in named or ()]
        if check:
            _check(view, names, as_json=as_json)
        elif as_json:
            typer.echo(json.dumps(_as_json(view, names), default=_plain))
        elif names:
            _show_facts(_facts_of(names))
        else:
            _show(view)


def _model(name: str, known: ModelSettings) -> str:
    model = known.resolved(name)
    if ":" not in model:
        there = f" Aliases: {', '.join(sorted(known.aliases))}." if known.aliases else ""
        raise InvalidInputError(f"{name!r} is neither provider:model nor an alias.{there}")
    if not known.has_provider(model):  # Pydantic AI may know it, which takes a second to ask
        orchestrator.check_model_name(model, known)
    return model


def _show(view: _View) -> None:
    rows = [
        (provider.title, _now(provider), provider.example) for provider in view.known.all_providers
    ]
    rows.append(("Offline", "can be used; it searches, and is no language model", OFFLINE))
    print_table(("provider", "now", "example"), rows)
    aliases = sorted(view.known.aliases)
    if aliases:
        means = _facts_of(map(view.known.resolved, aliases))
        typer.echo()
        print_table(
            ("alias", "model", *_FACTS),
            [(name, its.model, *_cells(its)) for name, its in zip(aliases, means, strict=True)],
        )
    listed = view.listed()
    if listed:
        typer.echo()
        _show_facts(listed)
    for model, stand_ins in view.known.fallback.items():
        write(f"\nWhere {model} fails, {' and then '.join(stand_ins)} is asked.")
    write(f"\n{_default(view)}\n")


def _now(provider: Provider) -> str:
    if provider.is_usable(os.environ):
        return "can be used"
    return f"{provider.advice} ({provider.note})" if provider.note else provider.advice


def _default(view: _View) -> str:
    try:
        choice = view.default()
    except ModelNotConfiguredError as error:
        if view.settings.model is not None:
            return f"{error} (WORKYARD_MODEL names it.)"
        if view.known.default is not None:
            return f"{error} (It is the default in models.toml.)"
        return "No key is set: name a model with --model; '--model offline' works without any."
    return f"An agent whose own model cannot be used runs on {choice.name}: {choice.reason}."


def _facts_of(names: Iterable[str]) -> list["ModelFacts"]:
    return [orchestrator.facts_of(name) for name in names]


def _show_facts(facts: list["ModelFacts"]) -> None:
    print_table(("model", *_FACTS), [(its.model, *_cells(its)) for its in facts])
    write(_PER)


def _cells(facts: "ModelFacts") -> tuple[str, str, str]:
    more = "+" if facts.rises else ""
    context = "unknown" if facts.context_tokens is None else f"{facts.context_tokens:,}"
    return _price(facts.input_usd, more), _price(facts.output_usd, more), context


def _price(usd: Decimal | None, more: str) -> str:
    """Return a price, which is never said to be nothing because nobody knows it.

    >>> _price(Decimal("0.750"), ""), _price(Decimal("20"), "+"), _price(None, "")
    ('0.75', '20+', 'unknown')
    """
    return "unknown" if usd is None else f"{usd.normalize():f}{more}"


def _as_json(view: _View, names: list[str]) -> dict[str, JsonValue | object]:
    if names:
        return {"models": [asdict(facts) for facts in _facts_of(names)]}
    try:
        default: JsonValue = view.default().name
    except ModelNotConfiguredError:
        default = None
    return {
        "providers": [
            {
                "name": provider.name,
                "title": provider.title,
                "usable": provider.is_usable(os.environ),
                "variables": provider.variables,
                "example": provider.example,
            }
            for provider in view.known.all_providers
        ],
        "aliases": {
            alias: asdict(orchestrator.facts_of(view.known.resolved(alias)))
            for alias in sorted(view.known.aliases)
        },
        "fallback": dict(view.known.fallback),
        "models": [asdict(facts) for facts in view.listed()],
        "default": default,
    }


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} is not expected here")


def _check(view: _View, names: list[str], *, as_json: bool) -> None:
    asked = names or view.named
    probes = anyio.run(orchestrator.ask_models, asked, view.settings)
    if as_json:
        typer.echo(json.dumps({"checks": [asdict(probe) for probe in probes]}))
    else:
        print_table(("model", "seconds", "what came back"), map(_came_back, probes))
        if not names:
            _say_who_is_not_asked(view, asked)
    if any(probe.error for probe in probes):
        raise typer.Exit(EXIT_CODES[UnavailableError])


def _came_back(probe: "Probe") -> tuple[str, str, str]:
    if probe.error is not None:
        return probe.model, f"{probe.took_s:g}", f"✗ {probe.error}"
    return probe.model, f"{probe.took_s:g}", f"{probe.answered_by}: {one_line(probe.text, 60)}"


def _say_who_is_not_asked(view: _View, asked: list[str]) -> None:
    answering = {provider.name for provider in map(view.known.provider_of, asked) if provider}
    for provider in view.usable:
        if provider.name not in answering:
            write(f"\n{provider.title}: name a model to check it, as {provider.example}.\n")
