"""`workyard install` and `uninstall`: the entry in a host's settings."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.history.door import journal_in, translated
from orchestrator.install.entry import Entry, make_entry
from orchestrator.install.hosts import HOSTS, Scope, find_host
from orchestrator.install.installing import Change, Target, plan_install, plan_uninstall
from orchestrator.install.machine import Machine
from orchestrator.roots import resolve_root
from orchestrator.settings import load_settings
from orchestrator.words import printable

HostArgument = Annotated[
    str, typer.Argument(metavar="HOST", help=", ".join(host.name for host in HOSTS))
]
ScopeOption = Annotated[
    Scope, typer.Option(help="Your own settings of the host, or those of the project at the root.")
]
NameOption = Annotated[str, typer.Option(help="What the host calls the server.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show it, and write nothing.")]


def install(  # noqa: PLR0913 - each is an option of the command
    host: HostArgument,
    root: Annotated[str, typer.Option(help="The directory that the host works in.")],
    read_only: Annotated[
        bool, typer.Option("--read-only", help="No tool that changes files.")
    ] = False,
    scope: ScopeOption = "user",
    name: NameOption = "workyard",
    dry_run: DryRunOption = False,
) -> None:
    """Put `workyard serve` into the settings of an MCP host.

    All else in the file stays as it is, and what was there before is kept beside it.
    """
    with reported():
        target = Target(find_host(host), name, scope, resolve_root(root))
        flags = ["--read-only"] if read_only else []
        if scope == "project":
            # Who writes this file says what the host starts: no agent that works here does. What
            # is kept beside it goes with it.
            flags += ["--deny", f"{target.host.project_file}*"]
        entry = _entry(target.project, flags)
        change = plan_install(target, entry, Machine.here())
        _carry_out(change, dry_run=dry_run, done=target.host.then)


def uninstall(
    host: HostArgument,
    root: Annotated[str, typer.Option(help="The project, with --scope project.")] = ".",
    scope: ScopeOption = "user",
    name: NameOption = "workyard",
    dry_run: DryRunOption = False,
) -> None:
    """Take `workyard serve` out of the settings of an MCP host."""
    with reported():
        target = Target(find_host(host), name, scope, resolve_root(root))
        change = plan_uninstall(target, Machine.here())
        done = f"{target.host.title} no longer starts it."
        _carry_out(change, dry_run=dry_run, done=done)


def _entry(root: Path, flags: list[str]) -> Entry:
    settings = load_settings()
    if "--read-only" not in flags:
        with translated():  # the server would refuse such a root, where nobody reads why
            journal_in(settings.state_dir).directory_for(str(root))
    entry = make_entry(root, flags, settings, os.environ)
    if settings.database_url is None:
        return entry
    url = orchestrator.shareable_url(settings.database_url)
    if url is not None:
        return replace(entry, env={**entry.env, "WORKYARD_DATABASE_URL": url})
    typer.echo(
        "workyard: WORKYARD_DATABASE_URL has, or may have, a password, and is not written down: "
        "what this host does goes on record in the default database. For your own, keep the "
        "password in ~/.pgpass, leave it out of the URL, and install again.",
        err=True,
    )
    return entry


def _carry_out(change: Change, *, dry_run: bool, done: str) -> None:
    if not change.is_needed:
        typer.echo(printable(f"{change.file.path} is so already; nothing is changed."))
        return
    typer.echo(printable(change.diff()))
    if dry_run:
        typer.echo("Nothing is written (--dry-run).")
        return
    change.apply()
    if change.file.raw is not None:
        typer.echo(printable(f"What was there before is in {change.file.backup}."))
    typer.echo(done)
