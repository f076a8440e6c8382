"""`serve --model client`: agents on the host's own model, asked by sampling."""

from pathlib import Path
from typing import Any  # the SDK's own signature

import anyio
from mcp import Client
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    CreateMessageResultWithTools,
    SamplingCapability,
    SamplingToolsCapability,
    TextContent,
    ToolUseContent,
)

from tests.acceptance.hosted import START_S, Era, run_of, served, text_of

ASK = {"agent": "repo_guide", "task": "Where are prices added?"}


class Host:
    """A host whose model reads one file, and says what it has read."""

    def __init__(self) -> None:
        self.asked: list[CreateMessageRequestParams] = []

    async def __call__(
        self, context: Any, params: CreateMessageRequestParams
    ) -> CreateMessageResult | CreateMessageResultWithTools:
        self.asked.append(params)
        if len(self.asked) == 1:
            read = ToolUseContent(
                type="tool_use", id="1", name="read_file", input={"path": "src/till.py"}
            )
            return CreateMessageResultWithTools(
                role="assistant", content=[read], model="hosted", stop_reason="toolUse"
            )
        text = TextContent(type="text", text="In src/till.py.")
        return CreateMessageResult(
            role="assistant", content=text, model="hosted", stop_reason="endTurn"
        )


async def run(
    project: Path, host: Host, capability: SamplingCapability | None, mode: Era = "legacy"
) -> Any:
    with anyio.fail_after(START_S):
        async with Client(
            served(project, "--model", "client"),
            mode=mode,
            sampling_callback=host,
            sampling_capabilities=capability,
        ) as client:
            return await client.call_tool("run_agent", ASK)


async def test_agent_works_on_the_model_of_the_host_with_its_tools(project: Path) -> None:
    host = Host()

    result = await run(project, host, SamplingCapability(tools=SamplingToolsCapability()))

    assert not result.is_error, text_of(result)
    assert text_of(result).startswith("In src/till.py.\n")
    first, second = host.asked
    assert "read_file" in [tool.name for tool in first.tools or ()]
    assert "def add" in str(second.messages[-1])
    assert run_of(result)["usage"]["requests"] == 2


async def test_host_whose_sampling_has_no_tools_is_told_what_to_do(project: Path) -> None:
    host = Host()

    result = await run(project, host, SamplingCapability())

    assert result.is_error
    assert "this host's sampling has no tools" in text_of(result)
    assert "--model NAME" in text_of(result)
    assert not host.asked


async def test_host_of_the_new_era_is_told_what_to_do(project: Path) -> None:
    host = Host()

    result = await run(project, host, SamplingCapability(), mode="auto")

    assert result.is_error
    assert "speaks MCP 2026-07-28" in text_of(result)
    assert "WORKYARD_MODEL" in text_of(result)
    assert not host.asked
