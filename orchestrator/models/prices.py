"""What models cost and how much they take, where that is known.

It is known by `genai-prices`, which Pydantic AI brings and prices answers with. What it does not
know is None here, never nothing: no price is not free of charge.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import ModelInfo, TieredPrices

MIN_CONTEXT = 100_000
"""Tokens. What takes less is rarely meant for agents: it embeds, speaks or draws, or is old."""

_SOURCES = {
    "anthropic": "anthropic",
    "google": "google",
    "google-cloud": "google",
    "openai": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
}
"""Providers by Pydantic AI's names, and as `genai-prices` calls them."""

_OTHERS = {"google": "claude-"}
"""Whose models these are said to have too, and which cannot be asked that way."""


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What is known of a model."""

    model: str
    input_usd: Decimal | None = None
    """US dollars for a million tokens; None when it is not known."""
    output_usd: Decimal | None = None
    rises: bool = False
    """Whether long requests cost more than that for each token."""
    context_tokens: int | None = None
    """How much one request can hold; None when it is not known."""


def facts_of(model: str) -> ModelFacts:
    """Return what is known of a model."""
    prefix, _, own_name = model.rpartition(":") if "/" in model else model.partition(":")
    source = _SOURCES.get(prefix.rpartition("/")[2])
    if source is None:
        return ModelFacts(model=model)
    try:
        _, found = get_snapshot().find_provider_model(own_name, None, source, None)
    except LookupError:
        return ModelFacts(model=model)
    return _facts(model, found)


def models_of(providers: Iterable[str]) -> list[ModelFacts]:
    """Return the models that agents can work with, as far as they are known.

    What two of the providers have is given once, under the name of the first.
    """
    sources = {_SOURCES[name]: name for name in reversed([*providers]) if name in _SOURCES}
    entries = {provider.id: provider.models for provider in get_snapshot().providers}
    return [
        _facts(f"{provider}:{entry.id}", entry)
        for source, provider in reversed(sources.items())
        for entry in entries[source]
        if (entry.context_window or 0) >= MIN_CONTEXT
        and not entry.deprecated
        and not entry.id.startswith(_OTHERS.get(source, " "))
    ]


def _facts(model: str, found: ModelInfo) -> ModelFacts:
    prices = found.get_prices(datetime.now(UTC))
    given, taken = prices.input_mtok, prices.output_mtok
    return ModelFacts(
        model=model,
        input_usd=_base(given),
        output_usd=_base(taken),
        rises=isinstance(given, TieredPrices) or isinstance(taken, TieredPrices),
        context_tokens=found.context_window,
    )


def _base(price: Decimal | TieredPrices | None) -> Decimal | None:
    return price.base if isinstance(price, TieredPrices) else price
