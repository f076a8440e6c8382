"""What is asked beside tools: prompts, completions, resources, notices of changes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel

from mcp_server.completion import Completions
from mcp_server.failures import refusal
from mcp_server.fence.workspace import Workspace
from mcp_server.notices import Notices
from mcp_server.prompts import Prompts
from mcp_server.resources import Resources

Context = ServerRequestContext[Any]  # the SDK's lifespan object, which is not used
ParamsT = TypeVar("ParamsT", bound=BaseModel)
ResultT = TypeVar("ResultT", bound=BaseModel)


@dataclass(frozen=True)
class Handlers:
    """Answers requests; what the server does not offer has no handler, and so no capability."""

    workspace: Workspace
    prompts: Prompts | None
    resources: Resources
    completions: Completions
    notices: Notices

    def add_to(self, server: Server[Any]) -> None:
        """Let a server answer what there is something to answer for."""
        add = server.add_request_handler
        paged = types.PaginatedRequestParams
        if self.prompts is not None:
            add("prompts/list", paged, self._told(self._list_prompts))
            add("prompts/get", types.GetPromptRequestParams, self._told(self._get_prompt))
        if self.resources.templates():
            add("resources/list", paged, self._told(self._list_resources))
            add("resources/templates/list", paged, self._told(self._list_templates))
            add("resources/read", types.ReadResourceRequestParams, self._told(self._read))
        if self.prompts is not None or self.resources.templates():
            add("completion/complete", types.CompleteRequestParams, self._told(self._complete))
        if self.resources.shelf is not None or self.resources.transcripts is not None:
            self._add_notices(server)

    def _add_notices(self, server: Server[Any]) -> None:
        add, notices = server.add_request_handler, self.notices
        listen = self._told(notices.listen)
        add("subscriptions/listen", types.SubscriptionsListenRequestParams, listen)
        add("resources/subscribe", types.SubscribeRequestParams, self._told(notices.subscribe))
        add(
            "resources/unsubscribe", types.UnsubscribeRequestParams, self._told(notices.unsubscribe)
        )
        greeting = "notifications/initialized"
        server.add_notification_handler(greeting, types.NotificationParams, notices.greet)

    async def _list_prompts(
        self, _: Context, __: types.PaginatedRequestParams
    ) -> types.ListPromptsResult:
        assert self.prompts is not None, "it has no handler without"
        await self.notices.note_catalog()
        return types.ListPromptsResult(prompts=[*await self.prompts.list()])

    async def _get_prompt(
        self, _: Context, params: types.GetPromptRequestParams
    ) -> types.GetPromptResult:
        assert self.prompts is not None, "it has no handler without"
        return await self.prompts.get(params.name, params.arguments or {})

    async def _list_resources(
        self, _: Context, __: types.PaginatedRequestParams
    ) -> types.ListResourcesResult:
        await self.notices.note_catalog()
        return types.ListResourcesResult(resources=[*await self.resources.list()])

    async def _list_templates(
        self, _: Context, __: types.PaginatedRequestParams
    ) -> types.ListResourceTemplatesResult:
        templates = list(self.resources.templates())
        return types.ListResourceTemplatesResult(resource_templates=templates)

    async def _read(
        self, _: Context, params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        return types.ReadResourceResult(contents=[await self.resources.read(params.uri)])

    async def _complete(
        self, _: Context, params: types.CompleteRequestParams
    ) -> types.CompleteResult:
        asked = params.argument
        found = await self.completions.complete(params.ref, asked.name, asked.value)
        return types.CompleteResult(completion=found)

    def _told(
        self, answer: Callable[[Context, ParamsT], Awaitable[ResultT]]
    ) -> Callable[[Context, ParamsT], Awaitable[ResultT]]:
        """Return a handler whose errors a client can read, in either era."""

        async def handle(context: Context, params: ParamsT) -> ResultT:
            try:
                return await answer(context, params)
            except MCPError:  # the SDK's own
                raise
            except Exception as error:  # the edge: `refusal` logs what is not ours and hides it
                uri = getattr(params, "uri", None)
                version = context.protocol_version
                raise refusal(error, self.workspace, uri=uri, version=version) from error

        return handle
