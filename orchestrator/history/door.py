"""The door to a workspace of `mcp_server` in this process: opened, and its errors made ours."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from mcp_server import errors as theirs
from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings
from orchestrator.errors import (
    ChangeNotFoundError,
    ConflictError,
    InvalidInputError,
    LimitError,
    OrchestratorError,
    WorkspaceUnavailableError,
)


def journal_in(state_dir: Path) -> JournalSettings:
    """Return what there is to know of the journals in a state directory.

    Raises:
        InvalidInputError: If a `WORKYARD_JOURNAL_…` variable holds what it cannot.
    """
    with translated():
        return JournalSettings.load({**os.environ, "WORKYARD_STATE_DIR": str(state_dir)})


@asynccontextmanager
async def opened(root: Path, grant: Grant, journal: JournalSettings) -> AsyncGenerator[Workspace]:
    """Open a workspace; what it raises becomes an error of ours."""
    with translated():
        async with Workspace.open(root, grant, journal=journal) as workspace:
            yield workspace


@contextmanager
def translated() -> Iterator[None]:
    """Raise the errors of `mcp_server` as those of the same branch here."""
    try:
        yield
    except theirs.ServerError as error:
        raise _ours(error) from error


def _ours(error: theirs.ServerError) -> OrchestratorError:
    match error:
        case theirs.InvalidInputError():
            return InvalidInputError(str(error))
        case theirs.NotFoundError():
            return ChangeNotFoundError(str(error))
        case theirs.ConflictError():
            return ConflictError(str(error))
        case theirs.LimitError(limit=limit, actual=actual, unit=unit):
            return LimitError(str(error), limit=limit, actual=actual, unit=unit)
        case _:
            return WorkspaceUnavailableError(str(error))
