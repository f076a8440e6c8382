"""Specs that are kept on record: made, edited by adding versions, and read."""

import difflib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Self

from pydantic import JsonValue

import orchestrator
from orchestrator.catalogue import Catalogue, load_agent_file
from orchestrator.definition import Definition, Edit, Text, Version, Visibility, numbered, referred
from orchestrator.definitions.cast import cast_of
from orchestrator.errors import InvalidInputError, NotFoundError, SpecError
from orchestrator.formats.writing import as_yaml
from orchestrator.session import LOCAL_OWNER, named
from orchestrator.spec_source import Origin, Trust, parse_json
from orchestrator.specs import MAX_SPEC_BYTES, Spec, read_spec
from orchestrator.store import definitions as stored
from orchestrator.store.access import Access
from orchestrator.store.completion import uninterrupted
from orchestrator.store.store import open_store
from orchestrator.teams.members import check_team

MAX_PAGE = 1000


@dataclass(frozen=True)
class DefinitionPage:
    """Some definitions, in the order of their owners and names; one's own come first."""

    definitions: tuple[Definition, ...]
    cursor: str | None
    """What leads to the next page; None when there is none."""


@dataclass(frozen=True)
class Definitions:
    """The definitions of one owner, and those that others share.

    A definition is asked for by its name, or as `owner/name`; what others share is found by the
    latter alone, so that nobody gets a stranger's agent for a name that was mistyped. Where one of
    its versions is to be read, `@version` may stand behind either.
    """

    _access: Access
    files: Catalogue
    """Agents that come before a definition of their name; those of either kind ask each other."""
    owner: str = LOCAL_OWNER

    def of(self, owner: str) -> Self:
        """Return the definitions as an owner sees them.

        Raises:
            InvalidInputError: If no owner can have this name.
        """
        return replace(self, owner=named("owner", owner))

    async def list(
        self, *, limit: int = 100, cursor: str | None = None, search: str = ""
    ) -> DefinitionPage:
        """Return what there is; the owner's own come first.

        Args:
            limit: How many at most, up to 1000.
            cursor: That of the page before.
            search: What the name must contain.

        Raises:
            InvalidInputError: If the limit is out of its range.
        """
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInputError(f"A page has 1 to {MAX_PAGE} definitions, not {limit}.")
        after = None if cursor is None else referred(cursor, self.owner)
        read = partial(
            stored.list_texts, reader=self.owner, limit=limit + 1, after=after, search=search
        )
        found = [_definition(*row) for row in await self._access.read(read)]
        more = found[limit - 1].reference if len(found) > limit else None
        return DefinitionPage(tuple(found[:limit]), more)

    async def own(self) -> Sequence[Definition]:
        """Return all that are the owner's, by name."""
        found: list[Definition] = []
        cursor: str | None = None
        while True:
            page = await self.list(limit=MAX_PAGE, cursor=cursor)
            found += [each for each in page.definitions if each.owner == self.owner]
            if page.cursor is None or page.definitions[-1].owner != self.owner:
                return found
            cursor = page.cursor

    async def get(self, reference: str, *, version: int | None = None) -> Spec:
        """Return the spec of a definition, of its current version or of another.

        Raises:
            NotFoundError: If the owner may see none of this name, or it has no such version.
            SpecError: If it is no spec for this program any more.
        """
        bare, asked = numbered(reference)
        if asked is not None and version not in (None, asked):
            raise InvalidInputError(f"{reference!r} is no version {version}; name one of them.")
        owner, name = referred(bare, self.owner)
        number = asked if version is None else version
        read = partial(stored.text_of, owner=owner, name=name, reader=self.owner, number=number)
        return spec_of(await self._access.read(read))

    async def agent(self, reference: str) -> Spec:
        """Return the spec of an agent: that of the file of a name, or else a definition's.

        Raises:
            NotFoundError: If there is none; files and definitions of near names are named.
            SpecError: If it cannot be used.
        """
        file = None if "/" in reference else self.files.find(reference)
        if file is not None:
            return load_agent_file(file)
        try:
            return await self.get(reference)
        except NotFoundError as error:
            if error.kind != "definition":  # it is there, and a version of it is not
                raise
            known = (*self.files.names(), *error.known)
            raise NotFoundError("agent", reference, known=known) from None

    async def versions(self, reference: str, *, limit: int = 100) -> Sequence[Version]:
        """Return a definition's versions, the latest first.

        Raises:
            NotFoundError: If the owner may see none of this name.
        """
        owner, name = referred(reference, self.owner)
        read = partial(stored.versions_of, owner=owner, name=name, reader=self.owner, limit=limit)
        return await self._access.read(read)

    async def number_of_own(self, name: str) -> int:
        """Return the number of the current version of a definition that this owner may edit.

        Raises:
            NotFoundError: If the owner has none of this name.
        """
        return (await self._own(name)).number

    async def diff(self, reference: str, before: int, after: int) -> str:
        """Return what has changed from one version to another, as a diff of their YAML.

        Raises:
            NotFoundError: If there is no such definition or version.
        """
        texts = [
            (f"{spec.file}", as_yaml(spec.values).splitlines(keepends=True))
            for spec in [await self.get(reference, version=n) for n in (before, after)]
        ]
        (old, was), (new, now) = texts
        return "".join(difflib.unified_diff(was, now, old, new))

    async def with_hash(self, sha256: str) -> Sequence[str]:
        """Return the versions that a run with this `spec_sha256` may have run: `owner/name@N`."""
        read = partial(stored.names_of_hash, sha256=sha256, reader=self.owner)
        return [f"{owner}/{name}@{number}" for owner, name, number in await self._access.read(read)]

    async def find_again(self, name: str, sha256: str, owners: Sequence[str]) -> Spec | None:
        """Return the definition of a name that has once had a hash, as it is now.

        Args:
            name: The agent's.
            sha256: What one of its versions has.
            owners: Whose it may be, the one first who comes first; or anybody's that is shared.
        """
        read = partial(stored.find_texts, sha256=sha256, name=name, owners=owners)
        found = await self._access.read(read)
        return spec_of(found[0]) if found else None

    @uninterrupted
    async def create(
        self,
        values: Mapping[str, JsonValue],
        *,
        visibility: Visibility = Visibility.PRIVATE,
        by: str | None = None,
        note: str = "",
    ) -> Spec:
        """Put a spec on record. One of the name of a deleted one goes on with its numbers.

        Args:
            values: The spec, as its file would have it.
            visibility: Who may run it.
            by: Who says so; the owner by default.
            note: Why.

        Raises:
            SpecError: If it is no spec, says more than a definition may, or asks agents that there
                are not, or that ask it.
            LimitError: If there are more agents below it than a run loads.
            DefinitionTakenError: If the owner has one of this name.
        """
        edit = await self._edit(values, visibility, by, note)
        work = partial(stored.create, self.owner, edit, visibility)
        number = await self._access.write(work)
        return await self.get(edit.name, version=number)

    @uninterrupted
    async def edit(  # noqa: PLR0913 - all but two by their names
        self,
        name: str,
        values: Mapping[str, JsonValue],
        *,
        made_from: int,
        visibility: Visibility | None = None,
        by: str | None = None,
        note: str = "",
    ) -> Spec:
        """Add a version to a definition; none if it says so already.

        Args:
            name: The definition; only its owner edits it.
            values: The spec as it is to be, of the same name.
            made_from: The version that the edit was made from.
            visibility: Who may run it from now on; None leaves it.
            by: Who says so; the owner by default.
            note: Why.

        Raises:
            NotFoundError: If the owner has none of this name.
            SpecError: If it is no spec, says more than a definition may, or asks agents that there
                are not, or that ask it.
            LimitError: If there are more agents below it than a run loads.
            DefinitionEditedError: If somebody else has edited it since.
        """
        now = await self._own(name)
        if values.get("name") != now.name:
            problem = f"the name stays {now.name!r}; create another definition for another name."
            raise SpecError(problem, file=_file_of(now), field="name")
        seen_by = visibility or now.visibility
        edit = await self._edit(values, seen_by, by, note)
        # What was checked is what is written, also if somebody shares it at this moment.
        work = partial(stored.add_version, self.owner, edit, seen_by, made_from)
        number = await self._access.write(work)
        return await self.get(now.name, version=number)

    async def rollback(
        self, name: str, version: int, *, by: str | None = None, note: str = ""
    ) -> Spec:
        """Add a version that says what an earlier one has said.

        Raises:
            NotFoundError: If the owner has no such definition or version.
            SpecError: If it says more than a definition may by now.
            DefinitionEditedError: If somebody else edits it at this moment.
        """
        now, then = await self._own(name), await self.get(name, version=version)
        return await self.edit(
            name,
            then.values,
            made_from=now.number,
            by=by,
            note=note or f"As version {version}.",
        )

    @uninterrupted
    async def delete(self, name: str) -> None:
        """Let nobody find a definition any more. What runs of it ran stays on record.

        Raises:
            NotFoundError: If the owner has none of this name.
        """
        now = await self._own(name)
        await self._access.write(partial(stored.delete, self.owner, now.name))

    async def _own(self, reference: str) -> Text:
        """Return what a definition of this owner says, sound or not; nobody else changes it.

        Raises:
            NotFoundError: If the owner has none of this name.
        """
        owner, name = referred(reference, self.owner)
        if owner != self.owner:
            raise NotFoundError(f"definition of {self.owner!r} called", reference)
        read = partial(stored.text_of, owner=owner, name=name, reader=owner)
        return await self._access.read(read)

    async def _edit(
        self, values: Mapping[str, JsonValue], visibility: Visibility, by: str | None, note: str
    ) -> Edit:
        """Return what can be put on record; raises as `create` does."""
        file = Path(str(values.get("name"))[:64] or "definition")
        try:
            text = json.dumps(values, default=str, allow_nan=False)
        except (ValueError, RecursionError) as error:
            raise SpecError(f"it is not JSON: {error}.", file=file) from None
        if len(text) > MAX_SPEC_BYTES:
            raise SpecError(f"it is larger than {MAX_SPEC_BYTES} bytes as JSON.", file=file)
        plain = parse_json(text, file)
        spec = read_spec(plain, file, Origin(_trust(visibility), self.owner))
        orchestrator.check_spec(spec)  # loads the agent libraries: who only reads does without
        await self._check_team(spec)
        author = named("author", by or self.owner)
        return Edit(name=spec.name, sha256=spec.sha256, spec=text, by=author, note=note)

    async def _check_team(self, spec: Spec) -> None:
        """Refuse a spec that asks agents which there are not, or which ask it; see `create`.

        Who edits or deletes one of them at this moment is not waited for: before a run begins, all
        of this is checked again.
        """

        async def get(reference: str) -> Spec:
            is_itself = self.files.find(reference) is None and spec.reference == "/".join(
                referred(reference, self.owner)
            )
            return spec if is_itself else await self.agent(reference)

        check_team(spec, (await cast_of(spec, get)).member)


def spec_of(text: Text) -> Spec:
    """Return the spec that a definition holds.

    Raises:
        SpecError: If it is not what was put on record, or no spec for this program any more.
    """
    file = _file_of(text)
    values = parse_json(text.spec, file)
    spec = read_spec(values, file, Origin(_trust(text.visibility), text.owner, text.number))
    if (spec.sha256, spec.name) != (text.sha256, text.name):
        raise SpecError("it is not what was put on record: its hash is another.", file=file)
    return spec


def _file_of(text: Text) -> Path:
    return Path(f"{text.name}@{text.number}")


def _trust(visibility: Visibility) -> Trust:
    return Trust.SHARED if visibility is Visibility.SHARED else Trust.STORED


def _definition(text: Text, updated_at: datetime) -> Definition:
    spec, problem = None, ""
    try:
        spec = spec_of(text)
    except SpecError as error:  # the others are listed all the same
        problem = str(error)
    return Definition(
        owner=text.owner,
        name=text.name,
        visibility=text.visibility,
        version=text.number,
        sha256=text.sha256,
        updated_at=updated_at,
        spec=spec,
        problem=problem,
    )


@asynccontextmanager
async def open_definitions(url: str, files: Catalogue) -> AsyncGenerator[Definitions]:
    """Open the record for what is defined on it.

    Args:
        url: The record's.
        files: The agents that are files.

    Raises:
        StoreUnavailableError: If the record cannot be opened.
    """
    async with open_store(url) as store:
        yield Definitions(store.access, files)
