"""`workyard db`: the database that holds the record."""

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.cli.terminal import stdout
from orchestrator.settings import load_settings

app = typer.Typer(help="The database that holds the record.", no_args_is_help=True)


@app.command()
def status() -> None:
    """Show which database is used, and its revision."""
    with reported():
        url = load_settings().effective_database_url
        at = anyio.run(orchestrator.database_revisions, url)
        _print(f"database {orchestrator.database_address(url)}")
        if at.found is None:
            _print("It holds no record yet; `workyard db upgrade` makes one.")
        elif at.found == at.known:
            _print(f"revision {at.found}, as this Workyard knows it")
        elif at.found > at.known:
            _print(f"revision {at.found}; this Workyard knows {at.known}. Upgrade Workyard.")
        else:
            _print(f"revision {at.found}; `workyard db upgrade` makes it {at.known}.")


@app.command()
def upgrade() -> None:
    """Bring the database to the revision of this Workyard.

    An SQLite file is upgraded by whatever opens it; PostgreSQL waits for this command.
    """
    with reported():
        before = anyio.run(orchestrator.upgrade_database, load_settings().effective_database_url)
        if before.found is None:
            _print(f"Made the record, at revision {before.known}.")
        elif before.found == before.known:
            _print(f"The record is at revision {before.known} already.")
        else:
            _print(f"Upgraded the record from revision {before.found} to {before.known}.")


def _print(line: str) -> None:
    stdout.print(line, soft_wrap=True)
