"""`workyard agents import`: files of any format become definitions, or versions of these."""

import getpass
from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.cli.agents.opened import NoteOption, OwnerOption, with_definitions
from orchestrator.cli.agents.written import FORMATS, SharedOption, read, tell, visibility_of
from orchestrator.cli.exits import reported
from orchestrator.cli.run import SpecsOption
from orchestrator.definition import Visibility
from orchestrator.errors import InvalidInputError, NotFoundError
from orchestrator.session import LOCAL_OWNER
from orchestrator.specs import Spec
from orchestrator.teams.members import delegates_of


def import_agents(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=FORMATS)],
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
    specs: SpecsOption = None,
) -> None:
    """Put agents on record; one that is there already gets another version.

    Of several, those come first that others ask.
    """
    with reported():
        ordered = _in_order([read(file) for file in files])

    async def imported(definitions: "orchestrator.Definitions", spec: Spec) -> Spec:
        by, visibility = getpass.getuser(), visibility_of(shared)
        try:
            last = (await definitions.versions(spec.name, limit=1))[0].number
        except NotFoundError:
            seen_by = visibility or Visibility.PRIVATE
            return await definitions.create(spec.values, visibility=seen_by, by=by, note=note)
        return await definitions.edit(
            spec.name, spec.values, made_from=last, visibility=visibility, by=by, note=note
        )

    async def all_imported(definitions: "orchestrator.Definitions") -> None:
        for spec in ordered:
            tell(await imported(definitions, spec))

    with_definitions(owner, all_imported, specs)


def _in_order(specs: Sequence[Spec]) -> list[Spec]:
    """Return agents so that those come first whom others ask.

    Raises:
        InvalidInputError: Two are of one name, or they ask each other in a circle.
    """
    by_name: dict[str, Spec] = {}
    for spec in specs:
        other = by_name.setdefault(spec.name, spec)
        if other is not spec:
            both = f"{str(other.file)!r} and {str(spec.file)!r} are both called {spec.name!r}"
            raise InvalidInputError(f"{both}; import one of them.")
    asked = {spec.name: [name for name, _ in delegates_of(spec)] for spec in specs}
    try:
        order = [*TopologicalSorter(asked).static_order()]
    except CycleError as error:
        way = " → ".join(reversed(error.args[1]))
        problem = f"The agents would ask each other in a circle: {way}. Leave one of them out."
        raise InvalidInputError(problem) from None
    return [by_name[name] for name in order if name in by_name]
