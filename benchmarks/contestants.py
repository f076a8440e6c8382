"""The ways to have the same work done, from plain functions to a run of Workyard."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from pydantic import JsonValue
from pydantic_ai import Agent, AgentStreamEvent, RunContext
from pydantic_ai.mcp import MCPToolset

from benchmarks import sample
from mcp_server.fence.grant import Grant
from orchestrator import Orchestrator
from orchestrator.agents import WorkyardAgent, build_agent
from orchestrator.bootstrap import Connect
from orchestrator.capabilities import capabilities_at
from orchestrator.connections import InProcessConnection, StdioConnection, WorkspaceConnection
from orchestrator.settings import Settings

FUNCTIONS = "bare agent, plain functions as tools"
KEPT = "bare agent, MCP over stdio, server kept open"
MEMORY = "bare agent, MCP in process, opened for each run"
UNRECORDED = "agent built from its spec, the same MCP, no record"
YARD_MEMORY = "**Workyard, in process**"
STDIO = "bare agent, MCP over stdio, server started for each run"
YARD_STDIO = "**Workyard, over stdio** (the default)"

BESIDE = {
    FUNCTIONS: FUNCTIONS,
    KEPT: FUNCTIONS,
    MEMORY: MEMORY,
    UNRECORDED: MEMORY,
    YARD_MEMORY: MEMORY,
    STDIO: STDIO,
    YARD_STDIO: STDIO,
}
"""Each way, and the one that it is compared with."""

Contestant = Callable[[], Awaitable[None]]

_GRANT = Grant.model_validate({"tools": sample.TOOLS, "read": ("**",)})


@asynccontextmanager
async def prepared(place: Path) -> AsyncIterator[Mapping[str, Contestant]]:
    """Build each way once in a directory of our own: what is measured is its runs."""
    root = sample.make_project(place / "project")
    memory, stdio = InProcessConnection(root), StdioConnection(root)
    async with AsyncExitStack() as stack:
        yard_memory = await stack.enter_async_context(_yard(place, root, InProcessConnection))
        yard_stdio = await stack.enter_async_context(_yard(place, root, StdioConnection))
        kept = await stack.enter_async_context(_bare_over(stdio))
        yield {
            FUNCTIONS: _bare_run(_bare_with_functions(root)),
            KEPT: _bare_run(kept),
            MEMORY: _bare_run(_bare_over(memory)),
            UNRECORDED: _unrecorded_run(yard_memory, memory),
            YARD_MEMORY: _yard_run(yard_memory),
            STDIO: _bare_run(_bare_over(stdio)),
            YARD_STDIO: _yard_run(yard_stdio),
        }


def _bare_with_functions(root: Path) -> Agent[None, str]:
    tools = sample.PlainTools(root)
    return Agent(
        sample.scripted_model(),
        instructions=sample.INSTRUCTIONS,
        tools=[tools.list_directory, tools.grep, tools.read_file],
    )


def _bare_over(connection: WorkspaceConnection) -> Agent[None, str]:
    toolset: MCPToolset[None] = MCPToolset(connection.transport(_GRANT))
    return Agent(sample.scripted_model(), instructions=sample.INSTRUCTIONS, toolsets=[toolset])


def _bare_run(agent: Agent[None, str]) -> Contestant:
    async def run() -> None:
        result = await agent.run(sample.PROMPT, event_stream_handler=_drain)
        _check(result.output, result.usage.tool_calls)

    return run


def _unrecorded_run(yard: Orchestrator, connection: WorkspaceConnection) -> Contestant:
    """Do what a run of Workyard does, apart from the record."""
    model = sample.scripted_model()

    async def run() -> None:
        spec = yard.agents.files.get(sample.AGENT)
        agent: WorkyardAgent = build_agent(
            spec, model, capabilities_at(connection), model_timeout_s=120
        )
        result = await agent.run(sample.PROMPT, event_stream_handler=_drain)
        _check(result.output, result.usage.tool_calls)

    return run


def _yard_run(yard: Orchestrator) -> Contestant:
    model = sample.scripted_model()

    async def run() -> None:
        result = await yard.run(sample.AGENT, sample.PROMPT, model=model)
        _check(result.output, result.usage.tool_calls)

    return run


@asynccontextmanager
async def _yard(place: Path, root: Path, connect: Connect) -> AsyncIterator[Orchestrator]:
    """Open Workyard with a record of its own and the agent of the benchmark."""
    home = place / connect.__name__
    specs = home / "specs"
    specs.mkdir(parents=True)
    (specs / f"{sample.AGENT}.yaml").write_text(sample.SPEC)
    settings = Settings(
        data_dir=home / "data",
        config_dir=home / "config",
        state_dir=home / "state",
        database_url=None,
    )
    async with Orchestrator.open(root, specs=specs, settings=settings, connect=connect) as yard:
        yield yard


async def _drain(_: RunContext[object], events: AsyncIterable[AgentStreamEvent]) -> None:
    """Take what is streamed, so that every contestant streams."""
    async for _event in events:
        pass


def _check(output: JsonValue, tool_calls: int) -> None:
    """Count only work that was done."""
    assert (output, tool_calls) == (sample.ANSWER, sample.TOOL_CALLS), output
