"""`workyard agents list`, `show`, `validate` and `schema`."""

import json
import os
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

import orchestrator
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.cli.agents.opened import Lookup, OwnerOption, looking, with_definitions
from orchestrator.cli.exits import reported
from orchestrator.cli.run import JsonOption, SpecsOption
from orchestrator.cli.terminal import print_table, write
from orchestrator.definition import Definition, Visibility
from orchestrator.definitions.cast import cast_of
from orchestrator.errors import LimitError, SpecError
from orchestrator.formats.reading import SUFFIXES
from orchestrator.formats.writing import as_yaml
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import load_settings
from orchestrator.specs import Spec, read_text
from orchestrator.words import in_line, printable

Get = Callable[[str], Spec]


def list_agents(specs: SpecsOption = None, owner: OwnerOption = LOCAL_OWNER) -> None:
    """List the agents, with what each takes and where it comes from: a file, or the record."""
    with reported():
        settings = load_settings()
        catalogue = open_catalogue(settings, specs)
        names = catalogue.names()
        rows = [(name, *_of_file(catalogue, name)) for name in names]
        try:
            if settings.may_have_record:
                found = with_definitions(owner, _all_of)
                rows += [_of_definition(each, owner, names) for each in found]
        finally:  # a record that cannot be read hides no files
            print_table(("agent", "what it does", "inputs", "from", "trust"), rows)


async def _all_of(definitions: "orchestrator.Definitions") -> Sequence[Definition]:
    page = await definitions.list(limit=1000)
    found = [*page.definitions]
    while page.cursor is not None:
        page = await definitions.list(limit=1000, cursor=page.cursor)
        found += page.definitions
    return found


def _of_file(catalogue: Catalogue, name: str) -> tuple[str, str, str, str]:
    file = str(catalogue.find(name))
    try:
        spec = catalogue.get(name)
    except SpecError as error:
        return f"cannot be used: {printable(str(error))}", "", file, "file"
    inputs = ", ".join(spec.told_inputs)
    return printable(spec.document.description), inputs, file, "file"


def _of_definition(
    found: Definition, owner: str, files: Sequence[str]
) -> tuple[str, str, str, str, str]:
    """Return a row; its first column is by what the agent is run."""
    is_plain = found.owner == owner and found.name not in files
    name = found.name if is_plain else found.reference
    trust = "shared" if found.visibility is Visibility.SHARED else "stored"
    where = f"{found.owner}, version {found.version}"
    if found.spec is None:
        return name, f"cannot be used: {found.problem}", "", where, trust
    inputs = ", ".join(found.spec.told_inputs)
    return name, found.spec.document.description, inputs, where, trust


def show(
    name: str,
    specs: SpecsOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    version: Annotated[
        int | None,
        typer.Option("--version", min=1, help="Of a definition; the current one by default."),
    ] = None,
) -> None:
    """Print an agent's spec, and where it comes from."""

    async def found() -> Spec:
        async with looking(owner, specs) as lookup:
            return await lookup.get(name, version)

    with reported():
        spec = anyio.run(found)
        write(f"# {in_line(_told_of(spec))}\n# sha256 {spec.sha256}\n")
        is_file = spec.origin.owner is None
        write(read_text(spec.file) if is_file else as_yaml(spec.values))


def _told_of(spec: Spec) -> str:
    if spec.origin.owner is None:
        return str(spec.file)
    return f"{spec.file} of {spec.origin.owner}, {spec.origin.trust.name.lower()}"


def validate(
    named: Annotated[
        list[str] | None,
        typer.Argument(
            help="Agents, or files of any format; all files and your definitions if none is named."
        ),
    ] = None,
    specs: SpecsOption = None,
    owner: OwnerOption = LOCAL_OWNER,
    served: Annotated[
        str | None,
        typer.Option(
            "--serve",
            metavar="FLAGS",
            help="As 'workyard serve' is started, such as '--read-only --deny customers': what a "
            "spec grants beyond that is a fault.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check specs whole, and report every fault with file, line, field and the way out."""
    told: list[dict[str, object]] = []

    async def validated() -> int:
        faults = 0
        async with looking(owner, specs) as lookup:
            async for name in _names(lookup, named):
                where, findings = await _findings(lookup, name, judge)
                faults += sum(finding.is_fault for finding in findings)
                told.append({"agent": where, "findings": [asdict(each) for each in findings]})
                if not as_json:
                    _print(where, findings)
        return faults

    with reported():
        operator = None if served is None else orchestrator.granted_by(served)
        judge = partial(orchestrator.findings_of, operator=operator)
        faults = anyio.run(validated)
        if as_json:
            typer.echo(json.dumps(told))
        if faults:
            raise typer.Exit(2)


async def _names(lookup: Lookup, named: list[str] | None) -> AsyncIterator[str]:
    """Yield what is to be looked at: what is named, or all files and the owner's definitions."""
    for name in named or lookup.files.names():
        yield name
    definitions = None if named else await lookup.definitions()
    if definitions is not None:
        for each in await definitions.own():
            yield each.reference


async def _findings(
    lookup: Lookup, name: str, judge: "Callable[[Spec, Get], list[orchestrator.Finding]]"
) -> "tuple[str, Sequence[orchestrator.Finding]]":
    is_path = Path(name).suffix in SUFFIXES or os.path.isfile(name)
    file = Path(name) if is_path else lookup.files.find(name)
    if file is not None:
        where, (spec, findings) = str(file), orchestrator.examined(file)
    else:
        try:
            spec = await lookup.get(name)
        except SpecError as error:
            return name, [orchestrator.fault(error)]
        where, findings = spec.pinned, []
    if spec is None:
        return where, findings
    try:
        cast = await cast_of(spec, lookup.get)
    except LimitError as error:
        return where, [*findings, orchestrator.fault(spec.error(str(error), ("capabilities",)))]
    return where, [*findings, *judge(spec, cast.member)]


def _print(where: str, findings: "Sequence[orchestrator.Finding]") -> None:
    for finding in findings:
        typer.echo(printable(str(finding)), err=True)
    if not any(finding.is_fault for finding in findings):
        write(f"{in_line(where)}: ok\n")


def schema() -> None:
    """Print the JSON schema of spec files; `# yaml-language-server: $schema=FILE` names it."""
    with reported():
        typer.echo(json.dumps(orchestrator.editor_schema(), indent=2))
