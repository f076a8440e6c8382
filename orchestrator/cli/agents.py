"""`workyard agents`: which there are, what they may do, whether a spec is sound."""

from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.catalogue import Catalogue, load_agent_file, open_catalogue
from orchestrator.cli.exits import reported
from orchestrator.cli.run import SpecsOption
from orchestrator.cli.terminal import print_table, write
from orchestrator.errors import SpecError
from orchestrator.settings import load_settings
from orchestrator.specs import Spec
from orchestrator.teams.members import check_team
from orchestrator.words import in_line, printable

app = typer.Typer(help="The agents there are.", no_args_is_help=True)


@app.command("list")
def list_agents(specs: SpecsOption = None) -> None:
    """List the agents, with what each takes."""
    with reported():
        catalogue = open_catalogue(load_settings(), specs)
        rows = ((name, *_columns(catalogue, name)) for name in catalogue.names())
        print_table(("agent", "what it does", "inputs"), rows)


@app.command()
def show(name: str, specs: SpecsOption = None) -> None:
    """Print an agent's spec file."""
    with reported():
        spec = open_catalogue(load_settings(), specs).get(name)
        write(f"# {in_line(str(spec.file))}\n# sha256 {spec.sha256}\n")
        write(spec.file.read_text(encoding="utf-8"))


@app.command()
def validate(
    named: Annotated[
        list[str] | None, typer.Argument(help="Agents or spec files; all agents if none is named.")
    ] = None,
    specs: SpecsOption = None,
) -> None:
    """Check specs whole, and report each fault with file, line and field."""
    with reported():
        catalogue = open_catalogue(load_settings(), specs)
        faults = 0
        for name in named or catalogue.names():
            try:
                spec = load_agent_file(Path(name)) if "." in name else catalogue.get(name)
                orchestrator.check_spec(spec)
                check_team(spec, catalogue.get)
            except SpecError as error:
                faults += 1
                typer.echo(printable(str(error)), err=True)
            else:
                write(f"{in_line(str(spec.file))}: ok\n")
        if faults:
            raise typer.Exit(2)


def _columns(catalogue: Catalogue, name: str) -> tuple[str, str]:
    try:
        spec = catalogue.get(name)
    except SpecError as error:
        return f"cannot be used: {printable(str(error))}", ""
    return printable(spec.document.description), ", ".join(_input(spec, i) for i in spec.inputs)


def _input(spec: Spec, name: str) -> str:
    return name if name in spec.required_inputs else f"[{name}]"
