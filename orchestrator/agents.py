"""A spec and a model → a Pydantic AI agent with its workspace at a given place."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from difflib import get_close_matches
from typing import (
    Any,
)  # the deps of a spec's agent are a plain mapping or None; its output too

from pydantic import JsonValue
from pydantic_ai import Agent, AgentRetries, AgentSpec, ModelRetry
from pydantic_ai.capabilities import CAPABILITY_TYPES, AbstractCapability
from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model
from pydantic_ai.models.test import TestModel
from pydantic_ai.settings import ModelSettings
from pydantic_handlebars import HandlebarsError

from orchestrator.budget.budget import Budget
from orchestrator.budget.errors import PriceUnknownError
from orchestrator.capabilities import CAPABILITIES
from orchestrator.compaction.capability import Compaction
from orchestrator.errors import InvalidInputError, SpecError
from orchestrator.harness import harness_types
from orchestrator.models.service import has_timeout
from orchestrator.schemas import misfit
from orchestrator.spec_source import Place, dotted
from orchestrator.specs import Spec
from orchestrator.trust import check_trust

WorkyardAgent = Agent[Any, JsonValue]
CapabilityTypes = Sequence[type[AbstractCapability[Any]]]

RETRIES = 3
"""How often a model may name a tool that is not there, or give no answer, in one go. Pydantic AI's
1 ends a run at the second slip."""

REPAIRS = 1
"""How often an answer that does not fit its schema is asked for again."""


def build_agent(
    spec: Spec, model: Model, types: CapabilityTypes, *, model_timeout_s: float
) -> WorkyardAgent:
    """Return the agent that a spec describes.

    Args:
        spec: The spec.
        model: What it runs on.
        types: What its capabilities are: those of `capabilities_at` a workspace.
        model_timeout_s: How long a request to the model may go without an answer, if neither the
            spec nor the model says.

    Raises:
        SpecError: If a capability is unknown or its arguments do not fit, or a definition says more
            than it may.
        InvalidInputError: If the spec limits the cost, and the model has no known price.
    """
    check_trust(spec)
    types = [*types, *harness_types(spec, types)]
    check_capabilities(spec, types)
    # Every agent has them: a run that never ends, or a session that grows beyond its model, is
    # nothing to opt out of.
    always = [kind() for kind in (Budget, Compaction) if not _has(spec, kind)]
    has_own = "timeout" in (spec.document.model_settings or {}) or has_timeout(model)
    try:
        parsed = AgentSpec.from_dict(dict(spec.values))
        agent: WorkyardAgent = Agent.from_spec(
            parsed,
            custom_capability_types=types,
            model=model,
            model_settings=None if has_own else ModelSettings(timeout=model_timeout_s),
            retries=_retries(spec),
            capabilities=always,
        )
        if spec.document.output_schema is not None:
            _enforce(agent, spec.document.output_schema)
    except (UserError, ValueError, KeyError, TypeError, HandlebarsError) as error:
        raise spec.error(" ".join(str(error).split()), ()) from error
    _check_price(spec, agent, model)
    return agent


def check_spec(spec: Spec) -> None:
    """Refuse a spec that no agent can be built from; no model and no workspace is needed.

    Raises:
        SpecError: With file, line and field.
    """
    build_agent(spec, TestModel(), CAPABILITIES, model_timeout_s=1)


def check_capabilities(spec: Spec, types: CapabilityTypes) -> None:
    """Refuse a spec with a capability that cannot be made, and say on which line it stands.

    Raises:
        SpecError: If one is unknown or its arguments do not fit: the first fault.
    """
    for problem in capability_problems(spec, types):
        raise problem


def capability_problems(spec: Spec, types: CapabilityTypes) -> Iterator[SpecError]:
    """Yield what is wrong with the capabilities of a spec.

    Each is built alone, by Pydantic AI itself: its error for the whole spec names no place.
    """
    known = {**CAPABILITY_TYPES, **{kind.get_serialization_name() or "": kind for kind in types}}
    for index, entry in enumerate(spec.document.capabilities):
        place = ("capabilities", index)
        if not isinstance(entry, str) and len(entry) != 1:
            yield spec.error("an entry is one name, or one name with its arguments.", place)
            continue
        name, arguments = (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))
        if name not in known:
            yield spec.error(f"there is no capability {name!r}{_hint(name, known)}", place)
            continue
        unknown = list(_unknown_arguments(spec, place, known[name], arguments))
        yield from unknown
        if not unknown:
            yield from _unbuildable(spec, place, types)


def _unbuildable(spec: Spec, place: tuple[str, int], types: CapabilityTypes) -> Iterator[SpecError]:
    alone = {"name": spec.name, "capabilities": [spec.document.capabilities[place[1]]]}
    try:
        Agent.from_spec(alone, model=TestModel(), custom_capability_types=types)
    except (ValueError, TypeError, UserError) as error:
        problem = str(error.__cause__ or error).splitlines()
        yield spec.error(" ".join(problem[:4]), place)


def _unknown_arguments(
    spec: Spec, place: Place, kind: type[AbstractCapability[Any]], given: JsonValue
) -> Iterator[SpecError]:
    """Yield the arguments that a capability does not have, in the words of a spec's author."""
    if "from_spec" in kind.__dict__ or not isinstance(given, dict):
        return
    known = [field.name for field in fields(kind) if field.init]
    for name in given:
        if name not in known:
            problem = f"{kind.get_serialization_name()} has no {name!r}{_hint(name, known)}"
            yield spec.error(problem, (*place, str(kind.get_serialization_name()), name))


def _hint(name: str, known: Iterable[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is: {', '.join(known)}."


def _has(spec: Spec, kind: type[AbstractCapability[Any]]) -> bool:
    names = (e if isinstance(e, str) else next(iter(e), "") for e in spec.document.capabilities)
    return kind.__name__ in names


def _retries(spec: Spec) -> AgentRetries | None:
    if spec.document.retries is not None:
        return None
    answers = RETRIES if spec.document.output_schema is None else REPAIRS
    return AgentRetries(tools=RETRIES, output=answers)


def _check_price(spec: Spec, agent: WorkyardAgent, model: Model) -> None:
    budgets: list[Budget] = []
    agent.root_capability.apply(
        lambda one: budgets.append(one) if isinstance(one, Budget) else None
    )
    try:
        for budget in budgets:
            budget.check_price(model)
    except PriceUnknownError as error:
        raise InvalidInputError(f"Agent {spec.name!r} cannot run: {error}") from error


def _enforce(agent: WorkyardAgent, schema: dict[str, JsonValue]) -> None:
    @agent.output_validator
    def fits_the_schema(output: JsonValue) -> JsonValue:
        found = misfit(schema, output)
        if found is not None:
            where = f" at {dotted(found[0])}" if found[0] else ""
            raise ModelRetry(f"The answer does not fit the output schema{where}: {found[1]}.")
        return output
