"""The catalogue, as commands open it that run no agent."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypeVar

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.session import LOCAL_OWNER
from orchestrator.settings import load_settings

T = TypeVar("T")

OwnerOption = Annotated[str, typer.Option("--owner", help="Whose definitions are meant.")]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="A definition; 'owner/name' if another shares it.")
]
NoteOption = Annotated[str, typer.Option("--note", help="Why; it stays with the version.")]


@asynccontextmanager
async def opened_definitions(
    owner: str = LOCAL_OWNER,
) -> AsyncGenerator["orchestrator.Definitions"]:
    """Open the record for the definitions of an owner: who may read its database may edit them."""
    async with orchestrator.open_definitions(load_settings().effective_database_url) as found:
        yield found.of(owner)


def with_definitions(owner: str, work: Callable[["orchestrator.Definitions"], Awaitable[T]]) -> T:
    """Return what `work` does with the definitions of an owner; what goes wrong is reported."""

    async def done() -> T:
        async with opened_definitions(owner) as definitions:
            return await work(definitions)

    with reported():
        return anyio.run(done)
