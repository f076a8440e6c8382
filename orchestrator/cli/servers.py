"""`workyard servers`: the MCP servers that agents may name, and what of each they may use."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import EXIT_CODES, reported
from orchestrator.cli.run import JsonOption
from orchestrator.cli.terminal import print_table, write
from orchestrator.errors import UnavailableError
from orchestrator.servers.registry import FILE, Registry, Server, load_servers
from orchestrator.settings import load_settings
from orchestrator.words import one_line

if TYPE_CHECKING:
    from orchestrator.servers.asking import OfferedTool


def servers(
    named: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Only these.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Start or reach each, and show the tools it has.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show the MCP servers that the operator has registered, and what agents may use of them.

    A spec names one with McpServer. What they are given in secret is not shown.
    """
    with reported():
        registry = load_servers(load_settings().config_dir)
        names = named or sorted(registry.servers)
        found = {name: registry.get(name) for name in names}
        if check:
            _check(registry, names, as_json=as_json)
        elif as_json:
            typer.echo(json.dumps({"servers": [_as_json(*each) for each in found.items()]}))
        elif found:
            columns = ("server", "kind", "where", "tools", "asks for", "needs")
            print_table(columns, (_row(*each) for each in found.items()))
        else:
            write(f"None is registered; {registry.directory / FILE} would name them.\n")


def _row(name: str, server: Server) -> Sequence[str]:
    return (
        name,
        _kind(server),
        _where(server),
        "those that a spec names" if server.tools is None else ", ".join(server.tools) or "none",
        "all" if "*" in server.ask else ", ".join(server.ask),
        ", ".join(server.variables),
    )


def _kind(server: Server) -> str:
    return "command" if server.command is not None else "address"


def _where(server: Server) -> str:
    """Return a program or a host: arguments and paths may hold what is for nobody else."""
    if server.command is not None:
        return server.command[0]
    return urlsplit(server.url or "").netloc


def _as_json(name: str, server: Server) -> dict[str, object]:
    return {
        "name": name,
        "kind": _kind(server),
        "where": _where(server),
        "tools": server.tools,
        "ask": server.ask,
        "shared": server.shared,
        "variables": server.variables,
    }


def _check(registry: Registry, names: Iterable[str], *, as_json: bool) -> None:
    answers = anyio.run(orchestrator.ask_servers, registry, names)
    if as_json:
        told = [
            {"name": name, "error": found}
            if isinstance(found, str)
            else {"name": name, "tools": [asdict(tool) for tool in found]}
            for name, found in answers.items()
        ]
        typer.echo(json.dumps({"servers": told}))
    else:
        rows = [row for name, found in answers.items() for row in _told(name, found)]
        print_table(("server", "tool", "may be used", "what it does"), rows)
    if any(isinstance(found, str) for found in answers.values()):
        raise typer.Exit(EXIT_CODES[UnavailableError])


def _told(name: str, found: "Sequence[OfferedTool] | str") -> Iterable[Sequence[str]]:
    if isinstance(found, str):
        return [(name, "", "", f"✗ {found}")]
    return [(name, tool.name, _use(tool), one_line(tool.description)) for tool in found]


def _use(tool: "OfferedTool") -> str:
    if not tool.may_be_used:
        return "no"
    return "with a yes" if tool.is_asked_about else "yes"
