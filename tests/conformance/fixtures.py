"""A server for the suite alone: ours, with the suite's own tools, prompts and resources beside.

    python -m tests.conformance.fixtures ROOT PORT

The server, its middleware, its transport and the listings are those of `create_server`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
import uvicorn
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.http.app import Access, create_app
from mcp_server.http.limits import HttpLimits
from mcp_server.ports import Offers
from mcp_server.server import create_server
from orchestrator.adapter import SpecCatalog
from orchestrator.catalogue import Catalogue
from tests.conformance.contents import (
    IMAGE,
    SCHEMA_2020_12,
    embedded,
    image,
    text,
)
from tests.conformance.tools import TOOLS, Asked, Tool, asks_for_context, changing

Context = ServerRequestContext[Any]
_STATE_KEY = b"a key for tests alone, and long enough"


def with_fixtures(server: Server[Any], specs: Path) -> Server[Any]:
    """Add what the suite asks for to `server`, which watches `specs`, and return it."""
    security = RequestStateSecurity(keys=[_STATE_KEY])
    server.middleware.append(RequestStateBoundary(security, default_audience="workyard"))
    _add_tools(server, {**TOOLS, "test_trigger_prompt_change": changing(specs)})
    _add_prompts(server)
    _add_resources(server)
    server.add_request_handler("logging/setLevel", types.SetLevelRequestParams, _nothing)
    server.add_request_handler("completion/complete", types.CompleteRequestParams, _completed)
    return server


def _add_tools(server: Server[Any], tools: dict[str, Tool]) -> None:
    files = server.get_request_handler("tools/list"), server.get_request_handler("tools/call")
    listing, calling = (entry.handler for entry in files if entry is not None)

    async def list_tools(context: Context, params: types.PaginatedRequestParams) -> Any:
        listed = await listing(context, params)
        assert isinstance(listed, types.ListToolsResult)
        return types.ListToolsResult(tools=[*listed.tools, *map(_described, tools)])

    async def call(context: Context, params: types.CallToolRequestParams) -> Any:
        if params.name in tools:
            return await tools[params.name](context, params)
        return await calling(context, params)

    server.add_request_handler("tools/list", types.PaginatedRequestParams, list_tools)
    server.add_request_handler("tools/call", types.CallToolRequestParams, call)


def _described(name: str) -> types.Tool:
    schemas: dict[str, dict[str, Any]] = {
        "json_schema_2020_12_tool": SCHEMA_2020_12,
        "test_x_mcp_header": {
            "type": "object",
            "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
        },
    }
    schema = schemas.get(name, {"type": "object"})
    return types.Tool(name=name, description=f"The suite's {name}.", input_schema=schema)


def _add_prompts(server: Server[Any]) -> None:
    arguments = {
        "test_simple_prompt": (),
        "test_prompt_with_arguments": ("arg1", "arg2"),
        "test_prompt_with_embedded_resource": ("resourceUri",),
        "test_prompt_with_image": (),
        "test_input_required_result_prompt": (),
    }

    agents = server.get_request_handler("prompts/list")
    assert agents is not None, "agents are prompts"

    async def list_prompts(context: Context, params: types.PaginatedRequestParams) -> Any:
        listed = await agents.handler(context, params)
        assert isinstance(listed, types.ListPromptsResult)
        prompts = [
            types.Prompt(
                name=name,
                description=f"The suite's {name}.",
                arguments=[types.PromptArgument(name=each, required=True) for each in taken],
            )
            for name, taken in arguments.items()
        ]
        return types.ListPromptsResult(prompts=[*listed.prompts, *prompts])

    server.add_request_handler("prompts/list", types.PaginatedRequestParams, list_prompts)
    server.add_request_handler("prompts/get", types.GetPromptRequestParams, _get_prompt)


async def _get_prompt(_: Context, params: types.GetPromptRequestParams) -> Asked:
    given = params.arguments or {}
    blocks: list[types.ContentBlock]
    match params.name:
        case "test_simple_prompt":
            blocks = [text("This is a simple prompt for testing.")]
        case "test_prompt_with_arguments":
            one, two = given.get("arg1"), given.get("arg2")
            blocks = [text(f"Prompt with arguments: arg1='{one}', arg2='{two}'")]
        case "test_prompt_with_embedded_resource":
            held = "Embedded resource content for testing."
            uri = given.get("resourceUri", "test://none")
            blocks = [embedded(uri, "text/plain", held), text("Please process the resource above.")]
        case "test_prompt_with_image":
            blocks = [image(), text("Please analyze the image above.")]
        case "test_input_required_result_prompt" if not params.input_responses:
            return asks_for_context()
        case "test_input_required_result_prompt":
            blocks = [text(f"Use this context: {params.input_responses}")]
        case _:
            raise MCPError(code=types.INVALID_PARAMS, message=f"There is no {params.name!r}.")
    messages = [types.PromptMessage(role="user", content=block) for block in blocks]
    return types.GetPromptResult(messages=messages)


def _add_resources(server: Server[Any]) -> None:
    reads = server.get_request_handler("resources/read")
    assert reads is not None, "files are resources"
    uris = ("test://static-text", "test://static-binary", "test://watched-resource")

    async def list_resources(
        _: Context, __: types.PaginatedRequestParams
    ) -> types.ListResourcesResult:
        listed = [types.Resource(uri=uri, name=uri, mime_type="text/plain") for uri in uris]
        return types.ListResourcesResult(resources=listed)

    async def read(context: Context, params: types.ReadResourceRequestParams) -> Any:
        uri = str(params.uri)
        held: types.TextResourceContents | types.BlobResourceContents
        if uri == "test://static-binary":
            held = types.BlobResourceContents(uri=uri, mime_type="image/png", blob=IMAGE)
        elif uri in uris:
            held = types.TextResourceContents(uri=uri, mime_type="text/plain", text="Content.")
        elif uri.startswith("test://template/"):
            name = uri.removeprefix("test://template/").removesuffix("/data")
            said = json.dumps({"id": name, "templateTest": True, "data": f"Data for ID: {name}"})
            held = types.TextResourceContents(uri=uri, mime_type="application/json", text=said)
        else:
            return await reads.handler(context, params)
        return types.ReadResourceResult(contents=[held])

    server.add_request_handler("resources/list", types.PaginatedRequestParams, list_resources)
    server.add_request_handler("resources/read", types.ReadResourceRequestParams, read)
    server.add_request_handler("resources/subscribe", types.SubscribeRequestParams, _nothing)
    server.add_request_handler("resources/unsubscribe", types.UnsubscribeRequestParams, _nothing)


async def _nothing(_: Context, __: Any) -> types.EmptyResult:
    return types.EmptyResult()


async def _completed(_: Context, __: types.CompleteRequestParams) -> types.CompleteResult:
    return types.CompleteResult(completion=types.Completion(values=[], total=0, has_more=False))


async def _serve(root: str, port: int) -> None:
    specs = Path(root).parent / "specs"
    specs.mkdir(exist_ok=True)
    offers = Offers(catalog=SpecCatalog(Catalogue((specs,))))
    access = Access(("127.0.0.1:*",), ("http://127.0.0.1:*",))
    async with Workspace.open(root, Grant.full()) as workspace:
        server = with_fixtures(create_server(workspace, offers), specs)
        app = create_app(lambda _: server, access, HttpLimits(per_minute=1_000_000))
        await uvicorn.Server(uvicorn.Config(app, port=port, log_level="error")).serve()


if __name__ == "__main__":
    anyio.run(_serve, sys.argv[1], int(sys.argv[2]))
