"""Which agents a spec lets its agent ask, and whether that can be."""

from collections.abc import Callable, Iterator

from orchestrator.errors import LimitError, NotFoundError, SpecError
from orchestrator.spec_source import Place, Trust
from orchestrator.specs import Spec
from orchestrator.trust import check_trust

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
    """Refuse a spec whose agents do not exist, go round in a circle, lead too deep, or do more.

    Args:
        spec: Of the agent at the top.
        get: Finds the spec of an agent.

    Raises:
        SpecError: With file, line and field of the spec that names the agent in question: the first
            fault.
    """
    for problem in team_problems(spec, get):
        raise problem


def team_problems(spec: Spec, get: Callable[[str], Spec]) -> Iterator[SpecError]:
    """Yield what is wrong with the agents that a spec's agent may ask, and those below."""
    yield from _problems(spec, get, (spec.name,), spec.origin.trust)


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


def _problems(
    spec: Spec, get: Callable[[str], Spec], path: tuple[str, ...], trust: Trust
) -> Iterator[SpecError]:
    for name, place in delegates_of(spec):
        way = " → ".join((*path, name))
        if name in path:
            yield spec.error(f"agents would ask each other in a circle: {way}.", place)
            continue
        if len(path) > MAX_DEPTH:
            yield spec.error(f"more than {MAX_DEPTH} agents below the first one: {way}.", place)
            continue
        try:
            member = get(name)
            # Who may not do a thing does not get it done by another either.
            check_trust(member, trust)
        except NotFoundError as error:
            yield spec.error(str(error), place)
        except SpecError as error:
            yield spec.error(f"agent {name!r} cannot be used: {error}", place)
        else:
            yield from _problems(member, get, (*path, name), min(trust, member.origin.trust))
