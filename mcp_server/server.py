"""The MCP server: tools as granted, and beside them what an embedder offers.

It stands on the SDK's low-level server: there, messages reach a model word for word and unknown
arguments can be refused. Results are plain text (docs/decisions/0003-plain-text-results.md).
"""

from base64 import b64encode
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from uuid import uuid4

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.models import InitializationOptions
from opentelemetry import trace

from mcp_server.agent_tools import AGENT_TOOLS, AgentCall
from mcp_server.callers import caller_from
from mcp_server.calls import Calls
from mcp_server.completion import Completions
from mcp_server.errors import InvalidInputError, PermissionDeniedError
from mcp_server.failures import translate
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.workspace import Workspace
from mcp_server.handlers import Handlers
from mcp_server.notices import Notices
from mcp_server.ports import Offers
from mcp_server.prompts import Prompts, Shelf
from mcp_server.reports import Told
from mcp_server.resources import Resources, file_uri
from mcp_server.text import outgoing, printable_name, quoted, without_host_paths
from mcp_server.tools.registry import TOOLS
from mcp_server.tools.tool import Answer, Changed, Declaration, Tool, ToolArguments

NAME = "workyard"

INSTRUCTIONS = (
    "Files of one workspace. Paths are relative to its root, such as 'src/app.py'; nothing outside "
    "can be reached. Every error says what to do instead."
)

# The SDK's lifespan object; ours is the workspace in the closure.
Context = ServerRequestContext[Any]


def create_server(
    workspace: Workspace,
    offers: Offers = Offers(),  # noqa: B008 - frozen
    *,
    identify: Callable[[Caller], Caller] = lambda said: said,
    calls: Calls | None = None,
) -> Server[Any]:
    """Return a server that offers what the workspace's grant allows, and enforces it.

    Args:
        workspace: the files.
        offers: what there is beside them.
        identify: who the caller is, given what the request says of itself.
        calls: how many there are, if this is not the only server that counts them.
    """
    granted: dict[str, Declaration[Any]] = {**_granted(workspace)}
    runner = offers.runner
    if runner is not None:
        granted |= AGENT_TOOLS
    calls = calls or Calls(workspace.grant.limits.calls)
    handlers = _handlers(workspace, calls, offers)
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
            calls.count()
            tool = _chosen(params.name, granted)
            arguments = tool.parse(params.arguments or {})
            if runner is not None and not isinstance(arguments, ToolArguments):
                call = AgentCall(runner, offers.patience_s, context)
                return _told(await arguments.call(call), workspace)
            return _answered(await arguments.call(workspace, identify(_caller(context, session))))
        except Exception as error:  # the edge: `translate` logs what is not ours and hides it
            return translate(error, workspace)

    server: Server[Any] = Server(
        NAME,
        version=installed_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        lifespan=handlers.notices.lifespan,
    )
    handlers.add_to(server)
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        # The SDK's tracing, and nothing else. Nobody collects spans in this process, and to make
        # them for nobody takes a tenth of a call.
        server.middleware.clear()
    return server


def initialization_options(server: Server[Any]) -> InitializationOptions:
    """Return what a client of before 2026-07-28 is told of the server."""
    changes = server.get_request_handler("subscriptions/listen") is not None
    noticed = NotificationOptions(prompts_changed=changes, resources_changed=changes)
    return server.create_initialization_options(noticed)


def installed_version() -> str:
    """Return the version of the installed distribution, "0" when run from a bare checkout."""
    try:
        return version("workyard")
    except PackageNotFoundError:
        return "0"


def _granted(workspace: Workspace) -> dict[str, Tool]:
    return {name: tool for name, tool in TOOLS.items() if workspace.grant.allows_tool(name)}


def _handlers(workspace: Workspace, calls: Calls, offers: Offers) -> Handlers:
    shelf = None if offers.catalog is None else Shelf.of(offers.catalog)
    prompts = None
    if shelf is not None:
        prompts = Prompts(shelf, tuple(_granted(workspace)), can_run=offers.runner is not None)
    resources = Resources(workspace, calls, shelf, offers.transcripts)
    return Handlers(
        workspace,
        prompts,
        resources,
        Completions(workspace, calls, prompts, resources),
        Notices(shelf, resources),
    )


# What is granted is of two kinds, each called in its own way.
def _chosen(name: str, granted: dict[str, Declaration[Any]]) -> Declaration[Any]:
    if name in granted:
        return granted[name]
    offered = ", ".join(map(repr, granted)) or "none"
    if name in TOOLS or name in AGENT_TOOLS:
        raise PermissionDeniedError(f"Tool {name!r} is not granted here; granted: {offered}.")
    raise InvalidInputError(f"There is no tool {quoted(name)}; there is: {offered}.")


def _caller(context: Context, session: str) -> Caller:
    client = context.session.client_params
    host = f"{client.client_info.name} {client.client_info.version}" if client else ""
    return caller_from({**(context.meta or {})}, printable_name(host), session)


def _described(tool: Declaration[Any]) -> types.Tool:
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
            open_world_hint=tool.is_open_world,
        ),
    )


def _answered(answer: Answer) -> types.CallToolResult:
    meta = answer.files.meta if isinstance(answer, Changed) else None
    return types.CallToolResult(content=_contents(answer), is_error=False, _meta=meta)


def _told(told: Told, workspace: Workspace) -> types.CallToolResult:
    # Why a run has failed may name places of the host. An answer is the agent's own text.
    text = without_host_paths(told.text, workspace.root_names) if told.is_error else told.text
    return types.CallToolResult(
        content=[_text(text)], is_error=told.is_error, _meta=told.meta or None
    )


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
        uri=file_uri(answer.path), mime_type=answer.mime, blob=encoded
    )
    return [_text(answer.text), types.EmbeddedResource(type="resource", resource=document)]


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=outgoing(text))
