"""What `workyard serve` offers beside files: the composition root of the served process.

It stands beside `bootstrap.py` because that one loads `pydantic_ai` and the record, which no host
should wait for at every start.
"""

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from mcp_server.ports import Offers
from orchestrator.adapter import SpecCatalog, server_errors_raised
from orchestrator.catalogue import open_catalogue
from orchestrator.roots import as_globs, own_places, resolve_root
from orchestrator.settings import Settings, load_settings
from orchestrator.transcripts import Record, RecordedTranscripts


class Yard:
    """The agents and the record, for `mcp_server`; it is its `Embedder`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add `--specs`, as `workyard run` has it."""
        parser.add_argument(
            "--specs",
            metavar="DIR",
            type=os.path.expanduser,
            help="a directory of agent specs to look in before your own and the shipped ones",
        )

    def denied(self, arguments: argparse.Namespace) -> tuple[str, ...]:
        """Return what of ours lies below the root: who writes a spec says what an agent may."""
        with server_errors_raised():
            root, settings = resolve_root(arguments.root), load_settings()
            own = own_places(
                root, settings, specs=_specs(arguments), database=_database_file(settings)
            )
            return as_globs(own, root)

    @asynccontextmanager
    async def open(self, arguments: argparse.Namespace) -> AsyncGenerator[Offers]:
        """Open the catalogue; the record is opened by who first asks for a transcript."""
        with server_errors_raised():
            root, settings = resolve_root(arguments.root), load_settings()
            catalogue = open_catalogue(settings, _specs(arguments))
        async with anyio.create_task_group() as tasks:
            record = Record(settings, tasks)
            yield Offers(
                catalog=SpecCatalog(catalogue), transcripts=RecordedTranscripts(record, root)
            )
            tasks.cancel_scope.cancel()


def _specs(arguments: argparse.Namespace) -> Path | None:
    return None if arguments.specs is None else Path(arguments.specs)


def _database_file(settings: Settings) -> Path | None:
    """Return the file of an SQLite record, found without SQLAlchemy, which takes long to load."""
    scheme, _, place = settings.effective_database_url.partition(":///")
    name = place.partition("?")[0]
    if not scheme.startswith("sqlite") or name in ("", ":memory:"):
        return None
    return Path(name).expanduser().resolve()
