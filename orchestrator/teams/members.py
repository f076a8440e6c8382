"""Which agents a spec lets its agent ask, and whether that can be."""

from collections.abc import Callable, Iterator

from orchestrator.errors import LimitError, NotFoundError, SpecError
from orchestrator.spec_source import Place
from orchestrator.specs import Spec

SUB_AGENTS = "SubAgents"
"""The name of the capability in a spec."""

MAX_DEPTH = 3
"""Agents below the first one: who asks somebody who asks somebody who asks somebody is lost."""


def delegates_of(spec: Spec) -> Iterator[tuple[str, Place]]:
    """Yield the names of the agents that a spec's agent may ask, each with its place in it."""
    for index, entry in enumerate(spec.document.capabilities):
        given = entry.get(SUB_AGENTS) if isinstance(entry, dict) else None
        place: Place = ("capabilities", index, SUB_AGENTS)
        names = given.get("agents") if isinstance(given, dict) else given
        if isinstance(given, dict):
            place = (*place, "agents")
        if isinstance(names, list):
            yield from ((str(name), (*place, number)) for number, name in enumerate(names))


def check_team(spec: Spec, get: Callable[[str], Spec]) -> None:
    """Refuse a spec whose agents do not exist, go round in a circle, or lead too deep.

    Args:
        spec: Of the agent at the top.
        get: Finds the spec of an agent.

    Raises:
        SpecError: With file, line and field of the spec that names the agent in question.
    """
    _check(spec, get, (spec.name,))


def check_below(path: tuple[str, ...], name: str) -> None:
    """Refuse to let an agent work below others; `check_team` has said so, if specs are as then.

    Raises:
        LimitError: If it is one of them, or there are too many.
    """
    if name in path or len(path) >= MAX_DEPTH:
        way = " → ".join((*path, name))
        raise LimitError(
            f"Agents would ask each other in a circle, or more than {MAX_DEPTH} deep: {way}.",
            limit=MAX_DEPTH,
            actual=len(path) + 1,
            unit="agents",
        )


def _check(spec: Spec, get: Callable[[str], Spec], path: tuple[str, ...]) -> None:
    for name, place in delegates_of(spec):
        way = " → ".join((*path, name))
        if name in path:
            raise spec.error(f"agents would ask each other in a circle: {way}.", place)
        if len(path) > MAX_DEPTH:
            raise spec.error(f"more than {MAX_DEPTH} agents below the first one: {way}.", place)
        try:
            member = get(name)
        except NotFoundError as error:
            raise spec.error(str(error), place) from error
        except SpecError as error:
            raise spec.error(f"agent {name!r} cannot be used: {error}", place) from error
        _check(member, get, (*path, name))
