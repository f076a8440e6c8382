"""An agent with all below it, loaded before any of them runs."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import LimitError, NotFoundError, OrchestratorError, SpecError
from orchestrator.specs import Spec
from orchestrator.teams.members import MAX_DEPTH, delegates_of

MAX_MEMBERS = 100
"""Agents below one; a run loads them all before it begins."""


@dataclass(frozen=True)
class Cast:
    """An agent, and those below it, as they were when they were looked for: for one run."""

    spec: Spec
    _members: Mapping[str, Spec | OrchestratorError]

    @property
    def specs(self) -> Sequence[Spec]:
        """The agent's, and those below it that can be used."""
        return [self.spec, *(one for one in self._members.values() if isinstance(one, Spec))]

    def member(self, name: str) -> Spec:
        """Return the spec of an agent below.

        Raises:
            NotFoundError: There is none of that name.
            SpecError: It cannot be used.
        """
        found = self._members.get(name)
        if found is None:
            raise NotFoundError("agent", name, known=self._members)
        if isinstance(found, OrchestratorError):
            raise found
        return found


async def cast_of(spec: Spec, get: Callable[[str], Awaitable[Spec]]) -> Cast:
    """Return an agent with all whom it may ask, and whom these may ask.

    Args:
        spec: The agent.
        get: Finds the spec of another by its name.

    Raises:
        LimitError: If there are more below it than a run loads.
    """
    members: dict[str, Spec | OrchestratorError] = {}
    level = [spec]
    for _ in range(MAX_DEPTH + 1):  # whoever is deeper down is refused and not loaded
        names = {name for above in level for name, _ in delegates_of(above)}
        new = sorted(names - members.keys())
        if len(members) + len(new) > MAX_MEMBERS:
            raise LimitError(
                f"There are more than {MAX_MEMBERS} agents below {spec.name!r}.",
                limit=MAX_MEMBERS,
                actual=len(members) + len(new),
                unit="agents",
            )
        level = []
        for name in new:
            try:
                member = await get(name)
            except (NotFoundError, SpecError) as error:
                members[name] = error
            else:
                members[name] = member
                level.append(member)
    return Cast(spec, members)
