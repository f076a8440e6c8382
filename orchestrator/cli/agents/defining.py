"""`workyard agents create`, `edit`, `import`, `rollback` and `delete`: what is kept on record."""

import getpass
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.catalogue import open_catalogue
from orchestrator.cli.agents.opened import (
    NameArgument,
    NoteOption,
    OwnerOption,
    with_definitions,
)
from orchestrator.cli.exits import reported
from orchestrator.cli.terminal import stderr
from orchestrator.definition import Visibility
from orchestrator.errors import InvalidInputError, NotFoundError, OrchestratorError
from orchestrator.formats.converted import Conversion
from orchestrator.formats.reading import read_agent
from orchestrator.formats.writing import as_yaml
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import load_settings
from orchestrator.specs import Spec, examine

FileArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FILE",
        help="A spec (YAML, JSON), an agent of Claude Code or VS Code (.md), or the older JSON.",
    ),
]
SharedOption = Annotated[
    bool | None,
    typer.Option("--shared/--private", help="Who may run it: everybody, or its owner alone."),
]


def create(
    file: FileArgument,
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
) -> None:
    """Put an agent on record, as version 1; what of the file cannot be taken along is said."""
    with reported():
        read = _read(file)

    async def created(definitions: "orchestrator.Definitions") -> Spec:
        visibility = _visibility(shared) or Visibility.PRIVATE
        return await definitions.create(
            read.values, visibility=visibility, by=getpass.getuser(), note=note
        )

    _tell(with_definitions(owner, created))


def import_agent(
    file: FileArgument,
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
) -> None:
    """Put an agent on record; one that is there already gets another version."""
    with reported():
        read = _read(file)

    async def imported(definitions: "orchestrator.Definitions") -> Spec:
        by, visibility = getpass.getuser(), _visibility(shared)
        name = str(read.values["name"])
        try:
            last = (await definitions.versions(name, limit=1))[0].number
        except NotFoundError:
            seen_by = visibility or Visibility.PRIVATE
            return await definitions.create(read.values, visibility=seen_by, by=by, note=note)
        return await definitions.edit(
            name, read.values, made_from=last, visibility=visibility, by=by, note=note
        )

    _tell(with_definitions(owner, imported))


def edit(  # noqa: PLR0913 - each is an option of the command
    name: NameArgument,
    file: Annotated[
        Path | None, typer.Option("--file", help="What it is to say; else $EDITOR is opened.")
    ] = None,
    made_from: Annotated[
        int | None,
        typer.Option(
            "--made-from", metavar="N", help="Refuse if version N is not the current one any more."
        ),
    ] = None,
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
) -> None:
    """Add a version to a definition. What somebody else has edited meanwhile is not lost."""
    last = with_definitions(owner, lambda found: found.versions(name, limit=1))[0].number
    written = None
    if file is not None:
        with reported():
            values = _read(file).values
    else:
        now = with_definitions(owner, lambda found: found.get(name, version=last))
        values = dict(now.values)
        if shared is None:
            with reported():
                written = _edited(now)
                values = _read(written).values

    async def changed(definitions: "orchestrator.Definitions") -> Spec:
        return await definitions.edit(
            name,
            values,
            made_from=made_from or last,
            visibility=_visibility(shared),
            by=getpass.getuser(),
            note=note,
        )

    try:
        spec = with_definitions(owner, changed)
    except typer.Exit:
        if written is not None:
            stderr.print(f"What you have written is in {written}.", markup=False)
        raise
    _tell(spec)
    if written is not None:
        written.unlink()
        written.parent.rmdir()


def rollback(
    name: NameArgument,
    version: Annotated[int, typer.Argument(metavar="N", help="The version that was right.")],
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
) -> None:
    """Add a version that says what an earlier one has said."""

    async def rolled_back(definitions: "orchestrator.Definitions") -> Spec:
        return await definitions.rollback(name, version, by=getpass.getuser(), note=note)

    _tell(with_definitions(owner, rolled_back))


def delete(name: NameArgument, owner: OwnerOption = LOCAL_OWNER) -> None:
    """Delete a definition. What its runs have run stays on record."""
    with_definitions(owner, lambda definitions: definitions.delete(name))
    stderr.print(f"Deleted {name}.", markup=False)


def _read(file: Path) -> Conversion:
    """Return what a file says, and print what could not be taken along.

    Raises:
        SpecError: It is no agent: the first fault, with its line if the file is a spec.
    """
    read = read_agent(file)
    for problem in examine(read.values, read.lines, file)[1]:
        raise problem
    for note in read.notes:
        stderr.print(f"{file}: {note}", markup=False)
    return read


def _edited(now: Spec) -> Path:
    """Return a file with what the user makes of a spec in an editor.

    Raises:
        InvalidInputError: There is no editor, or it has failed.
    """
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    file = Path(tempfile.mkdtemp(prefix="workyard-")) / f"{now.name}.yaml"
    file.write_text(as_yaml(now.values), encoding="utf-8")
    try:
        done = subprocess.run([*command, str(file)], check=False)
    except OSError as error:
        problem = f"The editor {command[0]!r} cannot be started: {error.strerror}. "
        raise InvalidInputError(problem + "Set EDITOR, or name a file with --file.") from None
    if done.returncode != 0:
        raise InvalidInputError(
            f"The editor {command[0]!r} ended with {done.returncode}; {file} is as it left it, "
            "and nothing has been changed."
        )
    return file


def _visibility(shared: bool | None) -> Visibility | None:
    if shared is None:
        return None
    return Visibility.SHARED if shared else Visibility.PRIVATE


def _tell(spec: Spec) -> None:
    typer.echo(f"{spec.origin.owner}/{spec.file} {spec.sha256}")
    try:
        file = open_catalogue(load_settings()).find(spec.name)
    except OrchestratorError:  # of a file that has nothing to do with it
        return
    if file is not None:
        stderr.print(
            f"{spec.name!r} alone means {file}; this one is run as "
            f"'{spec.origin.owner}/{spec.name}'.",
            markup=False,
        )
