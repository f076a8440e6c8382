"""The one catalogue: spec files first, then the definitions on record."""

from dataclasses import dataclass

from orchestrator.catalogue import Catalogue, load_agent_file
from orchestrator.definitions.cast import Cast, cast_of
from orchestrator.definitions.definitions import Definitions
from orchestrator.errors import NotFoundError, SpecError
from orchestrator.session import LOCAL_OWNER
from orchestrator.specs import Spec


@dataclass(frozen=True)
class Agents:
    """Every agent that can be run: by name, a file before a definition; or as `owner/name`."""

    definitions: Definitions

    @property
    def files(self) -> Catalogue:
        """The agents that are files."""
        return self.definitions.files

    async def get(self, reference: str, *, owner: str | None = None) -> Spec:
        """Return the spec of an agent.

        Args:
            reference: Its name, `owner/name` of a definition that is the owner's or shared, or
                either with `@version` behind it.
            owner: Whose definitions are meant by their names; the local owner's when None.

        Raises:
            NotFoundError: If there is none of that name; it names the near ones.
            SpecError: If it cannot be used.
        """
        return await self.definitions.of(owner or LOCAL_OWNER).agent(reference)

    async def cast(self, reference: str, *, owner: str | None = None) -> Cast:
        """Return an agent with all whom it may ask, and whom these may ask.

        Raises:
            NotFoundError: If there is none of that name.
            SpecError: If it cannot be used. Those below say so when they are asked for.
            LimitError: If there are more below it than a run loads.
        """
        definitions = self.definitions.of(owner or LOCAL_OWNER)
        return await cast_of(await definitions.agent(reference), definitions.agent)

    async def cast_again(self, name: str, sha256: str, *, owner: str) -> Cast:
        """Return the agent of a run on record, as it is now, with those below it.

        Args:
            name: Its name.
            sha256: The hash of what was run: it leads to a definition that a file of its name
                hides, or that somebody shares.
            owner: Who had it run.

        Raises:
            NotFoundError: If it is not there any more.
            SpecError: If it cannot be used.
        """
        owners = (owner, LOCAL_OWNER)
        definition = await self.definitions.find_again(name, sha256, owners)
        is_own = definition is not None and definition.origin.owner in owners
        if definition is not None and is_own and not self._is_of_file(name, sha256):
            return await self._cast_of(definition)
        try:
            return await self.cast(name, owner=owner)
        except NotFoundError:
            if definition is None:
                raise
            return await self._cast_of(definition)

    async def _cast_of(self, definition: Spec) -> Cast:
        return await cast_of(definition, self.definitions.of(definition.origin.owner or "").agent)

    def _is_of_file(self, name: str, sha256: str) -> bool:
        file = self.files.find(name)
        try:
            return file is not None and load_agent_file(file).sha256 == sha256
        except SpecError:
            return False
