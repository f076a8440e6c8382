"""`workyard agents versions`, `diff` and `export`: what a definition says, and has said."""

from enum import StrEnum
from functools import partial
from typing import Annotated

import typer

import orchestrator
from orchestrator.catalogue import load_agent_file, open_catalogue
from orchestrator.cli.agents.opened import NameArgument, OwnerOption, with_definitions
from orchestrator.cli.exits import reported
from orchestrator.cli.run import SpecsOption
from orchestrator.cli.terminal import ago, print_table, stderr, write
from orchestrator.errors import InvalidInputError
from orchestrator.formats.claude import write_claude
from orchestrator.formats.vscode import write_vscode
from orchestrator.formats.writing import as_yaml
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import load_settings
from orchestrator.specs import Spec


class Format(StrEnum):
    """In which form an agent leaves."""

    YAML = "yaml"
    CLAUDE = "claude"
    VSCODE = "vscode"


def versions(name: NameArgument, owner: OwnerOption = LOCAL_OWNER) -> None:
    """List the versions of a definition, the latest first."""
    found = with_definitions(owner, lambda definitions: definitions.versions(name, limit=1000))
    rows = (
        (str(each.number), ago(each.created_at), each.by, each.sha256[:12], each.note)
        for each in found
    )
    print_table(("version", "when", "by", "sha256", "note"), rows)


def diff(
    name: NameArgument,
    before: Annotated[
        int | None,
        typer.Argument(metavar="[A]", min=1, help="A version; the one before B by default."),
    ] = None,
    after: Annotated[
        int | None,
        typer.Argument(metavar="[B]", min=1, help="A version; the current one by default."),
    ] = None,
    owner: OwnerOption = LOCAL_OWNER,
) -> None:
    """Show what has changed from one version of a definition to another."""

    async def compared(definitions: "orchestrator.Definitions") -> str:
        last = after or (await definitions.get(name)).origin.version or 1
        first = before or last - 1
        if first < 1:
            raise InvalidInputError(f"Definition {name!r} has one version; nothing was before it.")
        return await definitions.diff(name, first, last)

    write(with_definitions(owner, compared))


def export(
    name: NameArgument,
    form: Annotated[Format, typer.Option("--format", help="In which form.")] = Format.YAML,
    specs: SpecsOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    version: Annotated[
        int | None, typer.Option("--version", min=1, help="Of a definition.")
    ] = None,
) -> None:
    """Print an agent as a file of Workyard, Claude Code or VS Code; what is lost goes to stderr."""
    with reported():
        file = open_catalogue(load_settings(), specs).find(name) if version is None else None
        spec = load_agent_file(file) if file else None
    if spec is None:
        spec = with_definitions(owner, partial(_get, name=name, version=version))
    text, notes = _written(spec, form)
    for note in notes:
        stderr.print(note, markup=False)
    write(text)


async def _get(definitions: "orchestrator.Definitions", name: str, version: int | None) -> Spec:
    return await definitions.get(name, version=version)


def _written(spec: Spec, form: Format) -> tuple[str, list[str]]:
    match form:
        case Format.CLAUDE:
            return write_claude(spec)
        case Format.VSCODE:
            return write_vscode(spec)
        case Format.YAML:
            return as_yaml(spec.values), []
