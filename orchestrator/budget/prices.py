"""Whether it is known what a model costs, before anybody has asked it."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.usage import RequestUsage

_NO_BILL = frozenset({"workyard", "function", "test", "mcp"})
"""Systems that send none: answers made or played in this process, and the model of an MCP host,
whose user has agreed to each request and pays for it elsewhere."""

_ONE_TOKEN = RequestUsage(input_tokens=1, output_tokens=1)


def is_priced(model: Model) -> bool:
    """Say whether the cost of a model's answers can be told, 0 being a cost.

    A server on this machine costs nothing, unless its model has a name that has a price: it may be
    a proxy. Of models that stand in for one another, all must be priced.
    """
    if isinstance(model, FallbackModel):
        return all(map(is_priced, model.models))
    if isinstance(model, WrapperModel):
        return is_priced(model.wrapped)
    return is_free(model) or _has_price(model)


def is_free(model: Model) -> bool:
    """Say whether nobody sends a bill for a model's answers."""
    if isinstance(model, FallbackModel):
        return all(map(is_free, model.models))
    if isinstance(model, WrapperModel):
        return is_free(model.wrapped)
    return model.system in _NO_BILL or _is_this_machine(_url_of(model))


def _url_of(model: Model) -> str | None:
    try:
        return model.base_url
    except (AttributeError, UserError):  # of models that have none, as Pydantic AI itself says
        return None


def _is_this_machine(url: str | None) -> bool:
    host = urlsplit(url or "").hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _has_price(model: Model) -> bool:
    answer = ModelResponse(
        parts=[],
        usage=_ONE_TOKEN,
        model_name=model.model_name,
        provider_name=model.system,
        provider_url=_url_of(model),
    )
    try:
        answer.cost()
    except (LookupError, ValueError):  # what Pydantic AI says of models without a price
        return False
    return True
