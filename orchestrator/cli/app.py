"""The commands of `workyard`."""

from importlib.metadata import version
from typing import Annotated

import typer

from orchestrator.cli import (
    agents,
    approvals,
    changes,
    db,
    doctor,
    evaluation,
    install,
    mapping,
    models,
    replay,
    run,
    servers,
    sessions,
    usage,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"workyard {version('workyard')}")
        raise typer.Exit


app = typer.Typer(
    name="workyard",
    help="A fenced yard where AI agents work: they use your files through a server that enforces "
    "what each may do, and every run is on record.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@app.callback()
def workyard(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command(add_help_option=False)
def serve() -> None:
    """Serve a directory to an MCP host over stdio (`workyard serve --help` for its options)."""
    # `main` answers it before this module is imported, unless something stands before the word.
    raise typer.BadParameter("'serve' must be the first word after 'workyard'.")


app.command("install")(install.install)
app.command("uninstall")(install.uninstall)
app.command("doctor")(doctor.doctor)
app.command("run")(run.run)
app.command("ask")(run.ask)
app.command("map")(mapping.map_tasks)
app.command("eval")(evaluation.evaluate)
app.command("replay")(replay.replay)
app.command("changes")(changes.changes)
app.command("diff")(changes.diff)
app.command("undo")(changes.undo)
app.command("usage")(usage.usage)
app.command("models")(models.models)
app.command("servers")(servers.servers)
app.add_typer(approvals.app, name="approvals")
app.add_typer(agents.app, name="agents")
app.add_typer(sessions.app, name="sessions")
app.add_typer(db.app, name="db")
