"""The record, as commands open it that run no agent."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated

import typer

import orchestrator
from orchestrator.settings import load_settings

if TYPE_CHECKING:
    from orchestrator.store.sessions import Sessions

SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


@asynccontextmanager
async def opened_sessions() -> AsyncGenerator["Sessions"]:
    """Open the record for everybody's sessions: who may read its database may see them."""
    async with orchestrator.open_store(load_settings().effective_database_url) as store:
        yield store.sessions
