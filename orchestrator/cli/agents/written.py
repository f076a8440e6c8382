"""Files that become definitions, and what is said of these."""

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.catalogue import open_catalogue
from orchestrator.cli.terminal import stderr
from orchestrator.definition import Visibility
from orchestrator.errors import OrchestratorError
from orchestrator.formats.reading import read_agent
from orchestrator.settings import load_settings
from orchestrator.specs import Spec, examine
from orchestrator.words import in_line

FORMATS = "A spec (YAML, JSON), an agent of Claude Code or VS Code (.md), or the older JSON."
SharedOption = Annotated[
    bool | None,
    typer.Option("--shared/--private", help="Who may run it: everybody, or its owner alone."),
]


def read(file: Path) -> Spec:
    """Return what a file says, and print what could not be taken along.

    Raises:
        SpecError: It is no agent: the first fault, with its line if the file is a spec.
    """
    found = read_agent(file)
    spec, problems = examine(found.values, found.lines, file)
    for problem in problems:
        raise problem
    assert spec is not None, "what is none has a problem"
    for note in found.notes:
        stderr.print(f"{file}: {note}", markup=False)
    return spec


def visibility_of(shared: bool | None) -> Visibility | None:
    """Return who may run a definition; None if nobody has said so."""
    if shared is None:
        return None
    return Visibility.SHARED if shared else Visibility.PRIVATE


def tell(spec: Spec) -> None:
    """Print which version there is now; say so if its name alone means a file."""
    typer.echo(f"{in_line(spec.pinned)} {spec.sha256}")
    try:
        file = open_catalogue(load_settings()).find(spec.name)
    except OrchestratorError:  # of a file that has nothing to do with it
        return
    if file is not None:
        stderr.print(
            f"{spec.name!r} alone means {file}; this one is run as {spec.reference!r}.",
            markup=False,
        )
