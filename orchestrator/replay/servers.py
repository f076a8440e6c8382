"""The operator's servers in a replay: what their calls gave is on record, and none is started.

What the workspace's tools give can be looked at again in a copy. What a server has done in the
world outside cannot: an issue would be opened a second time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self  # Any: a toolset serves agents with deps of any type

from pydantic_ai import RunContext
from pydantic_ai.exceptions import ToolFailed
from pydantic_ai.mcp import TOOL_SCHEMA_VALIDATOR
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool

from orchestrator.resumption import again
from orchestrator.servers.names import shown_name
from orchestrator.servers.reach import Held
from orchestrator.store.recorded_run import RecordedRun


@dataclass(frozen=True)
class RecordedServers:
    """Servers that are not there; see `Servers`."""

    recorded: RecordedRun
    step: Callable[[], int]
    """Says how many answers the model has given."""

    def toolset(self, name: str, tools: tuple[str, ...]) -> AbstractToolset[Any] | None:
        """Return tools that give what they gave."""
        return _Recorded(self, name, tools)

    def narrowed(self, name: str, tools: tuple[str, ...]) -> tuple[str, ...]:
        """Return the tools; a replay has nobody above it."""
        return tools

    def within(self, held: Held) -> Self:
        """Return the same: a replay runs no delegate."""
        return self


@dataclass
class _Recorded(AbstractToolset[Any]):
    servers: RecordedServers
    name: str
    tools: tuple[str, ...]

    @property
    def id(self) -> str:
        return f"server:{self.name}"

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        shown = [shown_name(self.name, tool) for tool in self.tools]
        return {
            name: ToolsetTool[Any](
                toolset=self,
                tool_def=ToolDefinition(name=name),
                max_retries=ctx.max_retries,
                args_validator=TOOL_SCHEMA_VALIDATOR,
            )
            for name in shown
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        step = self.servers.recorded.steps[self.servers.step() - 1]
        part = step.results.get(ctx.tool_call_id or "")
        if part is None:
            raise ToolFailed("The record has no answer to this call.")
        return again(part)
