"""What the orchestrator raises → the error of the server that its hosts are told."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server import errors as theirs
from orchestrator.errors import (
    ConflictError,
    InvalidInputError,
    LimitError,
    ModelNotConfiguredError,
    NotFoundError,
    OrchestratorError,
    SessionBusyError,
    SettingsFileError,
    SpecError,
    WrongRootError,
)
from orchestrator.runnable import without_place

_IN_A_HOST = (
    'In an MCP host, variables are set in the "env" block of this server\'s entry, and --model in '
    'its "args"; the host has to start the server again after that.'
)

_log = logging.getLogger(__name__)


@contextmanager
def translated() -> Iterator[None]:
    """Raise what the orchestrator raises as the server's error of the same branch."""
    try:
        yield
    except OrchestratorError as error:
        raise _as_theirs(error) from error


def _as_theirs(error: OrchestratorError) -> theirs.ServerError:
    match error:
        case SettingsFileError():
            return theirs.InvalidInputError(f"{error.file.name}: {error.without_place}")
        case ModelNotConfiguredError():
            return theirs.InvalidInputError(f"{error} {_IN_A_HOST}")
        case SpecError():
            return theirs.InvalidInputError(f"The agent cannot be run: {without_place(error)}")
        case WrongRootError():  # where else the user works is nobody's business here
            return theirs.NotFoundError(f"There is no session {error.session_id!r} of this root.")
        case InvalidInputError():
            return theirs.InvalidInputError(str(error))
        case NotFoundError():
            return theirs.NotFoundError(str(error))
        case SessionBusyError():
            return theirs.ConflictError(
                f"Session {error.session_id!r} is busy with run {error.run_id!r}. Wait for it with "
                "get_run, stop it with cancel_run, or leave session_id out for a new session."
            )
        case ConflictError():
            return theirs.ConflictError(str(error))
        case LimitError(limit=limit, actual=actual, unit=unit):
            return theirs.LimitError(str(error), limit=limit, actual=actual, unit=unit)
        case _:  # it names places of this machine, which are for its log
            _log.error("agents cannot be run: %s", error)
            return theirs.UnavailableError(
                "The record of runs cannot be used; the server's log has the details."
            )
