"""What `workyard serve` offers beside files: the composition root of the served process.

It stands beside `bootstrap.py` because that one loads `pydantic_ai` and the record, which no host
should wait for at every start.
"""

import argparse
import os
import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio

from mcp_server import command
from mcp_server.errors import ServerError
from mcp_server.fence.grant import Grant
from mcp_server.ports import Offers, Operator
from orchestrator.adapter import SpecCatalog, server_errors_raised
from orchestrator.catalogue import open_catalogue
from orchestrator.errors import InvalidInputError
from orchestrator.late import LINGER_S, open_late
from orchestrator.owners import owner_of
from orchestrator.roots import as_globs, own_places, resolve_root
from orchestrator.settings import load_settings
from orchestrator.transcripts import Record, RecordedTranscripts


class Yard:
    """The agents and the record, for `mcp_server`; it is its `Embedder`."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what concerns agents; `--specs` and `--model` are as `workyard run` has them."""
        flags = parser.add_argument_group(
            "agents",
            "An agent has what its spec grants, within what callers may do. The tools that run it "
            "are there unless --tools or --grant is given; 'run_agent' in --tools keeps them.",
        )
        flags.add_argument(
            "--specs",
            metavar="DIR",
            type=os.path.expanduser,
            help="a directory of agent specs to look in before your own and the shipped ones",
        )
        flags.add_argument(
            "--model",
            metavar="NAME",
            help="the model of every run: provider:model, 'offline', or 'client', the host's own",
        )
        flags.add_argument(
            "--patience",
            metavar="SECONDS",
            type=_positive,
            default=45,
            help="how long a call waits for a run before it gives back its handle; default: 45",
        )

    def denied(self, arguments: argparse.Namespace) -> tuple[str, ...]:
        """Return what of ours lies below the root: who writes a spec says what an agent may."""
        with server_errors_raised():
            root, settings = resolve_root(arguments.root), load_settings()
            own = own_places(root, settings, specs=_specs(arguments), database=settings.record_file)
            return as_globs(own, root)

    @asynccontextmanager
    async def open(
        self, arguments: argparse.Namespace, grant: Grant, *, runs_agents: bool
    ) -> AsyncGenerator[Offers]:
        """Open the catalogue; the record is opened by who first asks for it."""
        with server_errors_raised():
            root, settings = resolve_root(arguments.root), load_settings()
            catalogue = open_catalogue(settings, _specs(arguments))
        async with anyio.create_task_group() as tasks:
            record = Record(settings, tasks)
            offers = Offers(
                catalog=SpecCatalog(catalogue),
                transcripts=RecordedTranscripts(record, root, owner_of("", grant)),
                patience_s=arguments.patience,
            )
            if runs_agents:
                # Over HTTP a signal ends the server, and whoever sent it waits for that: what still
                # runs then is cancelled, on record.
                linger_s = LINGER_S if arguments.http is None else 0
                async with open_late(_operator(arguments, grant), linger_s=linger_s) as runner:
                    yield replace(offers, runner=runner)
            else:
                yield offers
            tasks.cancel_scope.cancel()


def granted_by(flags: str) -> Grant:
    """Return what callers may do where `workyard serve` is started with these flags.

    Raises:
        InvalidInputError: They are none, or what they name cannot be used.
    """
    try:
        return command.granted_by(shlex.split(flags), program="workyard serve", embedder=Yard())
    except (ServerError, ValueError) as error:  # the latter for a quotation without an end
        raise InvalidInputError(f"{flags!r}: {error}") from error


def _operator(arguments: argparse.Namespace, grant: Grant) -> Operator:
    return Operator(root=arguments.root, grant=grant, model=arguments.model, specs=arguments.specs)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _specs(arguments: argparse.Namespace) -> Path | None:
    return None if arguments.specs is None else Path(arguments.specs)
