"""Errors as clients hear of them: one table for tools, one for all other requests."""

import logging

import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from mcp_server.errors import (
    ConflictError,
    EditConflictError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    ServerError,
    StaleFileError,
    UnavailableError,
)
from mcp_server.fence.workspace import Workspace
from mcp_server.text import outgoing, without_host_paths

logger = logging.getLogger(__name__)

RESOURCE_NOT_FOUND = -32002
"""Before 2026-07-28; since then it is -32602, as for other wrong parameters."""

_FOR_THE_CALLER: tuple[type[ServerError], ...] = (
    InvalidInputError,
    NotFoundError,
    ConflictError,
    LimitError,
)
"""Errors that a model can act on: they are answers. All others are failures of the request."""

_QUOTING = (EditConflictError, StaleFileError)
"""Errors that quote the caller's own file to the letter: it is sent back as text to replace."""


def translate(error: Exception, workspace: Workspace) -> types.CallToolResult:
    """Return the result that tells a caller of `error`, or raise what tells the host.

    Raises:
        MCPError: something outside failed, or this is a bug.
    """
    if isinstance(error, _FOR_THE_CALLER):
        text = types.TextContent(type="text", text=_message(error, workspace))
        return types.CallToolResult(content=[text], is_error=True)
    raise _failure(error, workspace) from error


def refusal(
    error: Exception, workspace: Workspace, *, uri: str | None = None, version: str = ""
) -> MCPError:
    """Return the error that answers a request other than a call of a tool.

    Args:
        error: what went wrong.
        workspace: whose paths are no secret.
        uri: the resource that was asked for, if it was one.
        version: the protocol's.
    """
    if not isinstance(error, _FOR_THE_CALLER):
        return _failure(error, workspace)
    is_missing = uri is not None and isinstance(error, NotFoundError)
    is_older = version not in MODERN_PROTOCOL_VERSIONS
    code = RESOURCE_NOT_FOUND if is_missing and is_older else types.INVALID_PARAMS
    told = None if uri is None else {"uri": outgoing(uri)}
    return MCPError(code=code, message=_message(error, workspace), data=told)


def _message(error: Exception, workspace: Workspace) -> str:
    message = outgoing(str(error))
    if isinstance(error, _QUOTING):
        return message
    return without_host_paths(message, workspace.root_names)


def _failure(error: Exception, workspace: Workspace) -> MCPError:
    if isinstance(error, UnavailableError):
        logger.error("unavailable: %s", error, exc_info=error.__cause__)
        return MCPError(code=types.INTERNAL_ERROR, message=_message(error, workspace))
    logger.error("bug: a request failed", exc_info=error)
    return MCPError(
        code=types.INTERNAL_ERROR, message="The server failed; its log has the details."
    )
