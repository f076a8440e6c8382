"""The one catalogue: spec files first, then the definitions on record."""

from collections.abc import Mapping
from dataclasses import dataclass

from orchestrator.catalogue import Catalogue, load_agent_file
from orchestrator.definitions.definitions import Definitions
from orchestrator.errors import LimitError, NotFoundError, OrchestratorError, SpecError
from orchestrator.session import LOCAL_OWNER
from orchestrator.specs import Spec
from orchestrator.teams.members import MAX_DEPTH, delegates_of

MAX_MEMBERS = 100
"""Agents below one; a run loads them all before it begins."""


@dataclass(frozen=True)
class Cast:
    """An agent, and those below it, as they were when they were looked for: for one run."""

    spec: Spec
    _members: Mapping[str, Spec | OrchestratorError]

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


@dataclass(frozen=True)
class Agents:
    """Every agent that can be run: by name, a file before a definition; or as `owner/name`."""

    files: Catalogue
    definitions: Definitions

    async def get(self, reference: str, *, owner: str | None = None) -> Spec:
        """Return the spec of an agent.

        Args:
            reference: Its name, or `owner/name` of a definition that is the owner's or shared.
            owner: Whose definitions are meant by their names; the local owner's when None.

        Raises:
            NotFoundError: If there is none of that name; it names the near ones.
            SpecError: If it cannot be used.
        """
        file = None if "/" in reference else self.files.find(reference)
        if file is not None:
            return load_agent_file(file)
        definitions = self.definitions.of(owner or LOCAL_OWNER)
        try:
            return await definitions.get(reference)
        except NotFoundError as error:
            known = (*self.files.names(), *error.known)
            raise NotFoundError("agent", reference, known=known) from None

    async def cast(self, reference: str, *, owner: str | None = None) -> Cast:
        """Return an agent with all whom it may ask, and whom these may ask.

        Raises:
            NotFoundError: If there is none of that name.
            SpecError: If it cannot be used. Those below say so when they are asked for.
            LimitError: If there are more below it than a run loads.
        """
        return await self.with_members(await self.get(reference, owner=owner), owner=owner)

    async def cast_again(self, name: str, sha256: str, *, owner: str) -> Cast:
        """Return the agent of a run on record, as it is now, with those below it.

        Args:
            name: Its name.
            sha256: The hash of what was run: it leads to a definition that somebody shares.
            owner: Who had it run.

        Raises:
            NotFoundError: If it is not there any more.
            SpecError: If it cannot be used.
        """
        try:
            return await self.cast(name, owner=owner)
        except NotFoundError:
            owners = (owner, LOCAL_OWNER)
            spec = await self.definitions.find_again(name, sha256, owners)
            if spec is None:
                raise
            return await self.with_members(spec, owner=spec.origin.owner)

    async def with_members(self, spec: Spec, *, owner: str | None = None) -> Cast:
        """Return an agent with all below it; see `cast`."""
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
                    member = await self.get(name, owner=owner)
                except (NotFoundError, SpecError) as error:
                    members[name] = error
                else:
                    members[name] = member
                    level.append(member)
        return Cast(spec, members)
