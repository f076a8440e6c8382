"""Whether a model's name is one that somebody could answer for."""

from pydantic_ai.providers import infer_provider_class

from orchestrator.errors import ModelNotConfiguredError
from orchestrator.models.providers import GATEWAY
from orchestrator.models.user_settings import ModelSettings


def check_model_name(name: str, known: ModelSettings) -> None:
    """Refuse a name of a model that has no provider.

    Whether a provider has a model of that name, it alone knows.

    Args:
        name: No alias.
        known: The providers of the user's own.

    Raises:
        ModelNotConfiguredError: There is no such provider, or no name behind it.
    """
    prefix, _, own_name = name.partition(":")
    if not own_name:
        raise ModelNotConfiguredError(f"{name!r} names no model; write provider:model.")
    if not (known.has_provider(name) or _is_of_pydantic_ai(prefix)):
        providers = ", ".join(provider.name for provider in known.all_providers)
        raise ModelNotConfiguredError(
            f"There is no provider {prefix!r}; write provider:model, with one of {providers}."
        )


def _is_of_pydantic_ai(prefix: str) -> bool:
    try:
        infer_provider_class(prefix.removeprefix(f"{GATEWAY}/"))
    except ValueError:
        return False
    except ImportError:  # it is one, and its package is not installed
        return True
    return True
