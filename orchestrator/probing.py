"""Models asked for a word, each once: what can be used right now, and what it says otherwise."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from pydantic_ai import direct
from pydantic_ai.messages import ModelRequest, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from orchestrator.errors import ModelSettingsError, OrchestratorError
from orchestrator.failures import explain
from orchestrator.models.choice import require_key
from orchestrator.models.service import Models, open_models
from orchestrator.settings import Settings

ASK_S = 30.0
"""How long a model may take for its word."""

_PROMPT = "Reply with the single word: ready"
_ONCE = ModelSettings(max_tokens=256, max_retries=0)
"""A model that thinks needs some tokens before its first word."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What came back."""

    model: str
    took_s: float
    answered_by: str | None = None
    """The model's name in its answer; None if there was none."""
    text: str = ""
    error: str | None = None


async def ask_models(
    names: Sequence[str], settings: Settings, *, within_s: float = ASK_S
) -> list[Probe]:
    """Ask each model once, all at the same time, and return what came back in the same order.

    Stand-ins are not asked in a model's place, and nothing is tried again.
    """
    probes: dict[str, Probe] = {}

    async def ask(name: str, models: Models) -> None:
        probes[name] = await _ask(name, models, within_s)

    async with open_models(settings) as models, anyio.create_task_group() as tasks:
        for name in names:
            tasks.start_soon(ask, name, models)
    return [probes[name] for name in names]


async def _ask(name: str, models: Models, within_s: float) -> Probe:
    began_at = anyio.current_time()

    def took_s() -> float:
        return round(anyio.current_time() - began_at, 1)

    try:
        require_key(name, models.known, os.environ)
        with anyio.fail_after(within_s):
            response = await _answer(models.alone(name))
    except TimeoutError:
        return Probe(model=name, took_s=took_s(), error=f"It has not answered in {within_s:g} s.")
    except ModelSettingsError:
        raise
    except Exception as error:  # whatever it is, it is what came back; bugs of ours are raised
        known = error if isinstance(error, OrchestratorError) else explain(error, name)
        if known is None:
            raise
        return Probe(model=name, took_s=took_s(), error=str(known))
    return Probe(
        model=name,
        took_s=took_s(),
        answered_by=response.model_name or name,
        text=" ".join((response.text or "").split()),
    )


async def _answer(model: Model) -> ModelResponse:
    return await direct.model_request(
        model, [ModelRequest.user_text_prompt(_PROMPT)], model_settings=_ONCE
    )
