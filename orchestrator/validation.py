"""All that is wrong with a spec, before anything runs."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from mcp_server.fence.grant import Grant
from orchestrator.agents import capability_problems, check_spec
from orchestrator.capabilities import CAPABILITIES
from orchestrator.catalogue import name_problems
from orchestrator.errors import ModelNotConfiguredError, ServerUnavailableError, SpecError
from orchestrator.formats.reading import read_agent
from orchestrator.harness import harness_types
from orchestrator.models.choice import require_key
from orchestrator.models.naming import check_model_name
from orchestrator.models.providers import OFFLINE
from orchestrator.models.user_settings import ModelSettings, load_model_settings
from orchestrator.reach import excesses
from orchestrator.servers.asking import tools_of
from orchestrator.servers.checking import Naming, server_problems, servers_of
from orchestrator.servers.client import NamedServer
from orchestrator.servers.names import no_such_tool
from orchestrator.servers.registry import FILE, load_servers
from orchestrator.settings import load_settings
from orchestrator.specs import Spec, examine, examine_file
from orchestrator.teams.members import team_problems
from orchestrator.trust import trust_problems


@dataclass(frozen=True)
class Finding:
    """What is to be said of a spec."""

    problem: str
    file: str
    line: int | None = None
    field: str | None = None
    is_fault: bool = True
    """Whether no run is possible, or none with all that it is granted; else it is good to know."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        field = f"{self.field}: " if self.field else ""
        return f"{where}: {field}{'' if self.is_fault else 'note: '}{self.problem}"


def fault(error: SpecError) -> Finding:
    """Return what is wrong with a spec as a finding."""
    return Finding(error.problem, str(error.file), error.line, error.field)


def examined(file: Path) -> tuple[Spec | None, list[Finding]]:
    """Return the spec in a file of any format, if there is one, and what is wrong with the file.

    Args:
        file: A spec, or what can be imported.
    """
    try:
        if file.suffix in (".yaml", ".yml"):
            spec, problems = examine_file(file)
            problems += name_problems(spec) if spec else []
            notes = []
        else:
            read = read_agent(file)
            spec, problems = examine(read.values, read.lines, file)
            notes = [Finding(note, str(file), is_fault=False) for note in read.notes]
    except SpecError as error:  # there is nothing to look at
        return None, [fault(error)]
    return spec, [*map(fault, problems), *notes]


def findings_of(
    spec: Spec, get: Callable[[str], Spec], operator: Grant | None = None
) -> list[Finding]:
    """Return all that is to be said of a spec that can be read.

    The MCP servers of the operator's that it names are started, and asked for their tools.

    Args:
        spec: The spec.
        get: Finds the spec of an agent that it may ask.
        operator: What the operator grants where it is to run: to grant more is a fault then. When
            nobody says, all but what is denied by default, and a note.

    Raises:
        InvalidInputError: If the settings of this process, its models or servers cannot be used.
    """
    faults = [
        *trust_problems(spec),
        *_of_capabilities(spec),
        *team_problems(spec, get),
    ]
    if not faults:
        try:
            check_spec(spec)
        except SpecError as error:  # what only the whole of it shows
            faults = [error]
    config_dir = load_settings().config_dir
    return [
        *map(fault, faults),
        *_of_grant(spec, operator),
        *(_of_servers(spec, config_dir) if any(servers_of(spec)) else ()),
        *_of_model(spec, load_model_settings(config_dir)),
    ]


def _of_grant(spec: Spec, operator: Grant | None) -> Iterator[Finding]:
    """Yield what a spec grants and the operator does not."""
    said = _note if operator is None else fault
    for excess in excesses(spec, operator or Grant.full()):
        yield said(spec.error(excess.problem, excess.place))


def _of_capabilities(spec: Spec) -> Iterator[SpecError]:
    try:
        types = [*CAPABILITIES, *harness_types(spec, CAPABILITIES)]
    except SpecError as error:
        yield error
    else:
        yield from capability_problems(spec, types)


def _of_servers(spec: Spec, config_dir: Path) -> Iterator[Finding]:
    """Yield what is wrong with the servers that a spec names, and with the tools it wants."""
    registry = load_servers(config_dir)
    yield from map(fault, server_problems(spec, registry))
    for naming in servers_of(spec):
        if naming.server in registry.servers:
            yield from _of_server(spec, naming, NamedServer.of(registry, naming.server))


def _of_server(spec: Spec, naming: Naming, server: NamedServer) -> Iterator[Finding]:
    for tool in naming.tools:
        if not server.settings.allows(tool):
            problem = f"{FILE} does not allow {tool!r}; the agent is not given it."
            yield _note(spec.error(problem, naming.of_tool(tool)))
    try:
        # In a thread of its own: whoever validates may have an event loop here or not.
        with start_blocking_portal() as portal:
            there = {tool.name for tool in portal.call(tools_of, server)}
    except ServerUnavailableError as error:
        problem = f"{error} Its tools are looked for when a run opens it."
        yield _note(spec.error(problem, (*naming.place, "name")))
        return
    for tool in naming.tools:
        if server.settings.allows(tool) and tool not in there:
            problem = str(no_such_tool(server.name, tool, there))
            yield fault(spec.error(problem, naming.of_tool(tool)))


def _of_model(spec: Spec, known: ModelSettings) -> Iterator[Finding]:
    """Yield why the model that a spec names would not be used."""
    name = known.resolved(spec.document.model or OFFLINE)
    if name == OFFLINE:
        return
    try:
        check_model_name(name, known)
    except ModelNotConfiguredError as error:
        yield fault(spec.error(str(error), ("model",)))
        return
    if known.provider_of(name) is None:
        yield _note(spec.error(f"{name!r} is used only by who asks for it by name.", ("model",)))
    try:
        require_key(name, known, os.environ)
    except ModelNotConfiguredError as error:
        problem = f"{error} Runs take another model until then."
        yield _note(spec.error(problem, ("model",)))


def _note(error: SpecError) -> Finding:
    return Finding(error.problem, str(error.file), error.line, error.field, is_fault=False)
