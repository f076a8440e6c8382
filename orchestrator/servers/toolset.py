"""The tools of a named server that an agent has: chosen, renamed, bounded, asked about."""

import json
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Self  # Any: a toolset serves agents with deps of any type

import anyio
from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from mcp_types import Tool
from pydantic_ai import ApprovalRequired, RunContext, ToolDenied
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.messages import ToolCallPart
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import ToolsetTool, WrapperToolset

from orchestrator.approvals.capability import denied, is_asked_about, said_to
from orchestrator.errors import OrchestratorError, ServerUnavailableError
from orchestrator.servers.client import NamedServer, ServerClient
from orchestrator.servers.names import no_such_tool, shown_name
from orchestrator.servers.results import Cleaning
from orchestrator.specs import MAX_DEPTH, is_deeper

DESCRIPTION_BYTES = 4000
SCHEMA_BYTES = 50_000
"""Of one tool's arguments: every request tells the model of them."""


@dataclass
class ServerToolset(WrapperToolset[Any]):
    """Those tools of a server that an agent may use; the connection is made when a run begins.

    What the server says of its tools then holds until it is closed: it cannot describe them anew
    in the middle of a run.
    """

    wrapped: MCPToolset[Any]
    name: str
    """The server's."""
    tools: tuple[str, ...]
    """Those that the agent may use where the operator allows them, by the server's names."""
    find: Callable[[], NamedServer]

    @property
    def id(self) -> str:
        """What its calls are known by; it is never that of the workspace."""
        return f"server:{self.name}"

    async def __aenter__(self) -> Self:
        """Connect, and look whether the tools are there.

        Raises:
            NotFoundError: The server has no tool of a name, or there is no such server.
            ServerUnavailableError: It does not start, or cannot be used.
        """
        server = self.find()
        server.check()
        limit_s = server.settings.start_timeout_s
        try:
            async with AsyncExitStack() as stack:
                with anyio.fail_after(limit_s):
                    await stack.enter_async_context(self.wrapped)
                    self._check(await self.wrapped.list_tools())
                stack.pop_all()
        except TimeoutError:
            problem = f"has not listed its tools within {limit_s:g} s."
            raise ServerUnavailableError(self.name, problem) from None
        except OrchestratorError:
            raise
        except Exception as error:  # whatever the client makes of what a server does
            raise server.fault(error, "cannot be opened") from error
        return self

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """Return the tools by the names that a model knows them by."""
        found = await self.wrapped.get_tools(ctx)
        return {
            shown: replace(found[tool], toolset=self, tool_def=self._shown(found[tool].tool_def))
            for tool in self._allowed
            if tool in found and (shown := shown_name(self.name, tool))
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Make a call, let it wait for a yes, or refuse it.

        Raises:
            ToolFailed: It has failed, or nobody knows: the message is for the model.
        """
        server = self.find()
        theirs = next(one for one in self._allowed if shown_name(self.name, one) == name)
        refused = self._asked(ctx, theirs, tool_args)
        if refused is not None:
            return refused
        limit_s = server.settings.call_timeout_s
        own = replace(tool, tool_def=replace(tool.tool_def, name=theirs))
        try:
            json.dumps(tool_args, ensure_ascii=False).encode()
            with anyio.fail_after(limit_s):
                return await self.wrapped.call_tool(theirs, tool_args, ctx, own)
        except ToolFailed:
            raise
        except UnicodeEncodeError:
            raise ToolFailed("The arguments are not valid Unicode text.") from None
        except TimeoutError:
            raise ToolFailed(
                f"MCP server {self.name!r} has not answered within {limit_s:g} s. The call may "
                "have taken effect or not: look, before you make it again."
            ) from None
        except Exception as error:  # whatever the client makes of what a server does
            raise ToolFailed(str(server.fault(error, "has failed"))) from error

    @property
    def _allowed(self) -> list[str]:
        return list(filter(self.find().settings.allows, self.tools))

    def _check(self, there: Collection[Tool]) -> None:
        by_name = {tool.name: tool for tool in there}
        for name in self._allowed:
            if name not in by_name:
                raise no_such_tool(self.name, name, by_name)
            if not _is_usable(by_name[name].input_schema):
                problem = f"describes the arguments of {name!r} in a way that cannot be used."
                raise ServerUnavailableError(self.name, problem)

    def _shown(self, found: ToolDefinition) -> ToolDefinition:
        """Return what a model is told of a tool, and nothing of what else a server has said."""
        cleaning = Cleaning(DESCRIPTION_BYTES, self.find().cleaning.secrets)
        schema = cleaning.hidden(json.dumps(found.parameters_json_schema))
        return ToolDefinition(
            name=shown_name(self.name, found.name),
            description=cleaning.text(found.description or ""),
            parameters_json_schema=json.loads(schema),
            metadata={"annotations": (found.metadata or {}).get("annotations")},
        )

    def _asked(
        self, ctx: RunContext[Any], theirs: str, arguments: dict[str, Any]
    ) -> ToolDenied | None:
        """Return what a call is answered with that a person has refused.

        Raises:
            ApprovalRequired: The operator wants a person to be asked, and nobody has answered.
        """
        name = shown_name(self.name, theirs)
        asks = self.find().settings.asks(theirs)
        if not asks or ctx.tool_call_approved or is_asked_about(ctx, name):
            return None
        said = said_to(ctx, ToolCallPart(name, arguments, ctx.tool_call_id or ""))
        if said is None:
            raise ApprovalRequired
        return None if said.is_approved else denied(said)


def server_toolset(
    name: str, tools: tuple[str, ...], find: Callable[[], NamedServer]
) -> ServerToolset:
    """Return tools of a server that is looked for when they are needed, once."""
    once = cache(find)
    # The model reads an error and goes on; the default counts it as a retry, and ends the run.
    inner = MCPToolset[Any](ServerClient(once), id=f"server:{name}", tool_error_behavior="failed")
    return ServerToolset(inner, name, tools, once)


def _is_usable(schema: dict[str, Any]) -> bool:
    """Say whether arguments are described in a way that providers and Pydantic AI can read."""
    if is_deeper(schema, MAX_DEPTH) or len(json.dumps(schema)) > SCHEMA_BYTES:
        return False
    try:
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError:
        return False
    return schema.get("type") == "object"
