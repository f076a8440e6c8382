"""`workyard agents create`, `edit`, `rollback` and `delete`: what is kept on record."""

import getpass
import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.cli.agents.opened import (
    NameArgument,
    NoteOption,
    OwnerOption,
    with_definitions,
)
from orchestrator.cli.agents.written import FORMATS, SharedOption, read, tell, visibility_of
from orchestrator.cli.exits import reported
from orchestrator.cli.run import SpecsOption
from orchestrator.cli.terminal import stderr
from orchestrator.definition import Visibility
from orchestrator.errors import InvalidInputError
from orchestrator.formats.writing import as_yaml
from orchestrator.session import LOCAL_OWNER
from orchestrator.specs import Spec


def create(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=FORMATS)],
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
    specs: SpecsOption = None,
) -> None:
    """Put an agent on record, as version 1; what of the file cannot be taken along is said."""
    with reported():
        values = read(file).values

    async def created(definitions: "orchestrator.Definitions") -> Spec:
        visibility = visibility_of(shared) or Visibility.PRIVATE
        return await definitions.create(
            values, visibility=visibility, by=getpass.getuser(), note=note
        )

    tell(with_definitions(owner, created, specs))


def edit(  # noqa: PLR0913 - each is an option of the command
    name: NameArgument,
    file: Annotated[
        Path | None, typer.Option("--file", help="What it is to say; else $EDITOR is opened.")
    ] = None,
    made_from: Annotated[
        int | None,
        typer.Option(
            "--made-from",
            metavar="N",
            min=1,
            help="Refuse if version N is not the current one any more.",
        ),
    ] = None,
    shared: SharedOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
    specs: SpecsOption = None,
) -> None:
    """Add a version to a definition. What somebody else has edited meanwhile is not lost."""
    last = with_definitions(owner, lambda found: found.number_of_own(name))
    written = None
    if file is not None:
        with reported():
            values = read(file).values
    else:
        now = with_definitions(owner, lambda found: found.get(name, version=last))
        values = dict(now.values)
        if shared is None:
            with reported():
                written = _edited(now)
                values = read(written).values

    async def changed(definitions: "orchestrator.Definitions") -> Spec:
        return await definitions.edit(
            name,
            values,
            made_from=made_from or last,
            visibility=visibility_of(shared),
            by=getpass.getuser(),
            note=note,
        )

    try:
        spec = with_definitions(owner, changed, specs)
    except typer.Exit:
        if written is not None:
            stderr.print(f"What you have written is in {written}.", markup=False)
        raise
    tell(spec)
    if written is not None:
        written.unlink()
        written.parent.rmdir()


def rollback(
    name: NameArgument,
    version: Annotated[int, typer.Argument(metavar="N", min=1, help="The version that was right.")],
    owner: OwnerOption = LOCAL_OWNER,
    note: NoteOption = "",
    specs: SpecsOption = None,
) -> None:
    """Add a version that says what an earlier one has said."""

    async def rolled_back(definitions: "orchestrator.Definitions") -> Spec:
        return await definitions.rollback(name, version, by=getpass.getuser(), note=note)

    tell(with_definitions(owner, rolled_back, specs))


def delete(name: NameArgument, owner: OwnerOption = LOCAL_OWNER) -> None:
    """Delete a definition. What its runs have run stays on record."""
    with_definitions(owner, lambda definitions: definitions.delete(name))
    stderr.print(f"Deleted {name}.", markup=False)


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
