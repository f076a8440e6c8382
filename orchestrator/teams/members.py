"""Which agents a spec lets its agent ask, and whether that can be."""

from collections.abc import Callable, Iterator

from orchestrator.errors import LimitError, NotFoundError, SpecError
from orchestrator.spec_source import Place, Trust
from orchestrator.specs import Spec
from orchestrator.trust import check_trust

SUB_AGENTS = "SubAgents"
"""The name of the capability in a spec."""

_CREATE = "Create it, name the directory of its file (--specs), or leave it out here."

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
    yield from _problems((spec,), get, spec.origin.trust)


def check_below(path: tuple[str, ...], reference: str) -> None:
    """Refuse to let an agent work below others; `check_team` has said so, if specs are as then.

    Args:
        path: What each of the others is told by (`Spec.reference`).
        reference: What the agent is told by.

    Raises:
        LimitError: If it is one of them, or there are too many.
    """
    if reference in path or len(path) >= MAX_DEPTH:
        way = " → ".join((*path, reference))
        raise LimitError(
            f"Agents would ask each other in a circle, or more than {MAX_DEPTH} deep: {way}.",
            limit=MAX_DEPTH,
            actual=len(path) + 1,
            unit="agents",
        )


def _problems(
    path: tuple[Spec, ...], get: Callable[[str], Spec], trust: Trust
) -> Iterator[SpecError]:
    """Yield what is wrong below the last one of a path, which works for those before it."""
    spec = path[-1]
    for name, place in delegates_of(spec):
        way = " → ".join((*(above.name for above in path), name))
        if len(path) > MAX_DEPTH:
            yield spec.error(f"more than {MAX_DEPTH} agents below the first one: {way}.", place)
            continue
        try:
            member = get(name)
            # Who may not do a thing does not get it done by another either.
            check_trust(member, trust)
        except NotFoundError as error:
            yield spec.error(f"{error} {_CREATE}", place)
        except SpecError as error:
            yield spec.error(f"agent {name!r} cannot be used: {error}", place)
        else:
            # By name alone, `ada/notes` would be `notes`, and `local/notes` would not.
            if member.reference in (above.reference for above in path):
                problem = f"agents would ask each other in a circle: {way}. Leave one of them out."
                yield spec.error(problem, place)
            else:
                yield from _problems((*path, member), get, min(trust, member.origin.trust))
