"""The agents there are, in the words of the MCP server; no agent library is needed for that."""

import sqlite3
from collections.abc import Container, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mcp_server.errors import UnavailableError
from mcp_server.fence.grant import Grant
from mcp_server.ports import Operator, RunnableAgent
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.definition import Definition
from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.reach import excesses
from orchestrator.servers.checking import servers_of
from orchestrator.settings import load_settings
from orchestrator.specs import Spec

_ANY = "SELECT 1 FROM definition WHERE deleted_at IS NULL LIMIT 1"


def runnable_agents(
    operator: Operator, grant: Grant, *, has_servers: bool = True
) -> list[RunnableAgent]:
    """Return every agent, by name; one whose spec is broken says so.

    Args:
        operator: Whose agents they are.
        grant: What they may do here.
        has_servers: Whether the operator's MCP servers can be reached from here.

    Raises:
        UnavailableError: The agents cannot be looked for.
    """
    try:
        specs = None if operator.specs is None else Path(operator.specs)
        catalogue = open_catalogue(load_settings(), specs)
        return [_runnable(catalogue, name, grant, has_servers) for name in catalogue.names()]
    except OrchestratorError as error:
        raise UnavailableError(f"The agents cannot be listed: {error}") from error


def may_have_definitions() -> bool:
    """Say whether there may be agents on record too; looking costs a millisecond.

    Raises:
        UnavailableError: The settings cannot be used.
    """
    try:
        settings = load_settings()
    except OrchestratorError as error:
        raise UnavailableError(f"The agents cannot be listed: {error}") from error
    if settings.record_file is None or not settings.record_file.exists():
        return settings.may_have_record
    place = f"file:{quote(str(settings.record_file))}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True)) as record:
            return record.execute(_ANY).fetchone() is not None
    except sqlite3.Error:  # a record of before there were any, or one that cannot be read
        return False


def _runnable(catalogue: Catalogue, name: str, grant: Grant, has_servers: bool) -> RunnableAgent:
    try:
        return _as_told(name, catalogue.get(name), grant, has_servers)
    except SpecError as error:
        return RunnableAgent(name=name, description="", problem=without_place(error))


def runnable_definitions(
    definitions: Iterable[Definition],
    owner: str,
    files: Container[str],
    grant: Grant,
    *,
    has_servers: bool = True,
) -> Iterator[RunnableAgent]:
    """Yield definitions as an owner asks for them: by name, or by owner and name.

    Args:
        definitions: What the owner may see.
        owner: Who asks.
        files: The names that mean files.
        grant: What they may do here.
        has_servers: Whether the operator's MCP servers can be reached from here.
    """
    for each in definitions:
        is_plain = each.owner == owner and each.name not in files
        name = each.name if is_plain else each.reference
        if each.spec is None:
            yield RunnableAgent(name=name, description="", problem=each.problem)
        else:
            yield _as_told(name, each.spec, grant, has_servers)


def _as_told(name: str, spec: Spec, grant: Grant, has_servers: bool) -> RunnableAgent:
    servers = () if has_servers else (f"MCP server {each.server}" for each in servers_of(spec))
    return RunnableAgent(
        name=name,
        description=spec.document.description,
        inputs=spec.inputs,
        required=spec.required_inputs,
        lacks=(*(excess.named for excess in excesses(spec, grant)), *servers),
    )


def without_place(error: SpecError) -> str:
    """Return what is wrong with a spec, naming the file without its directory."""
    where = f"{error.file.name}:{error.line}" if error.line else error.file.name
    return (
        f"{where}: {error.field}: {error.problem}" if error.field else f"{where}: {error.problem}"
    )
