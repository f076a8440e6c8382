"""The MCP server: tools as granted, errors as one table, text through one sanitiser.

It stands on the SDK's low-level server: there, messages reach a model word for word and unknown
arguments can be refused. Results are plain text (docs/decisions/0003-plain-text-results.md).
"""

import itertools
import logging
import os
from base64 import b64encode
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote
from uuid import uuid4

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from opentelemetry import trace

from mcp_server.callers import caller_from
from mcp_server.errors import (
    ConflictError,
    EditConflictError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    StaleFileError,
    UnavailableError,
)
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.workspace import Workspace
from mcp_server.text import outgoing, printable_name, quoted, without_host_paths
from mcp_server.tools.registry import TOOLS
from mcp_server.tools.tool import Answer, Changed, Tool

logger = logging.getLogger(__name__)

NAME = "workyard"

INSTRUCTIONS = (
    "Files of one workspace. Paths are relative to its root, such as 'src/app.py'; nothing outside "
    "can be reached. Every error says what to do instead."
)

_FOR_THE_CALLER: tuple[type[ServerError], ...] = (
    InvalidInputError,
    NotFoundError,
    ConflictError,
    LimitError,
)
"""Errors that a model can act on: they are answers. All others are failures of the request."""

_QUOTING = (EditConflictError, StaleFileError)
"""Errors that quote the caller's own file to the letter: it is sent back as text to replace."""

# The SDK's lifespan object; ours is the workspace in the closure.
Context = ServerRequestContext[Any]


def create_server(workspace: Workspace) -> Server[Any]:
    """Return a server that offers what the workspace's grant allows, and enforces it."""
    granted = _granted(workspace)
    numbers = itertools.count(1)
    # What a host does through one server can be undone as a whole: no host names a session.
    session = str(uuid4())

    async def list_tools(
        _: Context, __: types.PaginatedRequestParams | None
    ) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in granted.values()])

    async def call_tool(
        context: Context, params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        try:
            _check_calls(next(numbers), workspace)
            tool = _chosen(params.name, workspace)
            arguments = tool.parse(params.arguments or {})
            return _answered(await arguments.call(workspace, _caller(context, session)))
        except Exception as error:  # the edge: `translate` logs what is not ours and hides it
            return translate(error, workspace)

    server: Server[Any] = Server(
        NAME,
        version=installed_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # The SDK's tracing, and nothing else. Nobody collects spans in this process, and to make
        # them for nobody takes a tenth of a call.
        server.middleware.clear()
    return server


def translate(error: Exception, workspace: Workspace) -> types.CallToolResult:
    """Return the result that tells a caller of `error`, or raise what tells the host.

    Raises:
        MCPError: something outside failed, or this is a bug.
    """
    message = outgoing(str(error))
    if not isinstance(error, _QUOTING):
        message = without_host_paths(message, workspace.root_names)
    if isinstance(error, _FOR_THE_CALLER):
        return types.CallToolResult(content=[_text(message)], is_error=True)
    if isinstance(error, UnavailableError):
        logger.error("unavailable: %s", error, exc_info=error.__cause__)
        raise MCPError(code=types.INTERNAL_ERROR, message=message) from error
    logger.error("bug: a tool call failed", exc_info=error)
    raise MCPError(
        code=types.INTERNAL_ERROR, message="The server failed; its log has the details."
    ) from error


def installed_version() -> str:
    """Return the version of the installed distribution, "0" when run from a bare checkout."""
    try:
        return version("workyard")
    except PackageNotFoundError:
        return "0"


def _granted(workspace: Workspace) -> dict[str, Tool]:
    return {name: tool for name, tool in TOOLS.items() if workspace.grant.allows_tool(name)}


def _check_calls(number: int, workspace: Workspace) -> None:
    limit = workspace.grant.limits.calls
    if limit is not None and number > limit:
        raise LimitError(
            f"This server takes {limit} calls in all, and they are used up. Finish the work with "
            "what you have, without more calls.",
            limit=limit,
            actual=number,
            unit="calls",
        )


def _chosen(name: str, workspace: Workspace) -> Tool:
    granted = _granted(workspace)
    if name in granted:
        return granted[name]
    offered = ", ".join(map(repr, granted)) or "none"
    if name in TOOLS:
        raise PermissionDeniedError(f"Tool {name!r} is not granted here; granted: {offered}.")
    raise InvalidInputError(f"There is no tool {quoted(name)}; there is: {offered}.")


def _caller(context: Context, session: str) -> Caller:
    client = context.session.client_params
    host = f"{client.client_info.name} {client.client_info.version}" if client else ""
    return caller_from({**(context.meta or {})}, printable_name(host), session)


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=tool.input_schema,
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=tool.is_read_only,
            destructive_hint=tool.is_destructive,
            idempotent_hint=tool.is_idempotent,
            open_world_hint=False,
        ),
    )


def _answered(answer: Answer) -> types.CallToolResult:
    meta = answer.files.meta if isinstance(answer, Changed) else None
    return types.CallToolResult(content=_contents(answer), is_error=False, _meta=meta)


def _contents(answer: Answer) -> list[types.ContentBlock]:
    if isinstance(answer, str | Changed):
        return [_text(str(answer))]
    encoded = b64encode(answer.content).decode()
    if answer.mime.startswith("image/"):
        return [
            _text(answer.text),
            types.ImageContent(type="image", data=encoded, mime_type=answer.mime),
        ]
    document = types.BlobResourceContents(
        uri=f"workspace:///{quote(os.fsencode(answer.path))}", mime_type=answer.mime, blob=encoded
    )
    return [_text(answer.text), types.EmbeddedResource(type="resource", resource=document)]


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=outgoing(text))
