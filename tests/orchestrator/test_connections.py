"""The way to the workspace: the same grant in a process of its own and in this one."""

from pathlib import Path

import pytest
from fastmcp.client.transports import ClientTransport, StdioTransport
from pydantic_ai.mcp import MCPToolset

from mcp_server.fence.grant import Grant
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection, StdioConnection, WorkspaceConnection
from orchestrator.errors import WorkspaceUnavailableError

READER = Grant(tools=("read_file", "list_directory"), read=("**",))
BOTH = pytest.mark.parametrize("connect", [StdioConnection, InProcessConnection])


async def call(connection: WorkspaceConnection, tool: str, path: str, grant: Grant = READER) -> str:
    toolset = MCPToolset[None](connection.transport(grant), id="w", init_timeout=60)
    async with toolset:
        result = await toolset.client.call_tool(tool, {"path": path}, raise_on_error=False)
    return "".join(getattr(part, "text", "") for part in result.content)


@BOTH
async def test_server_enforces_the_grant(
    connect: type[StdioConnection | InProcessConnection], project: Path
) -> None:
    connection = connect(project)

    assert "A till that adds prices." in await call(connection, "read_file", "README.md")
    assert "not granted" in await call(connection, "grep", ".")


@BOTH
async def test_what_the_operator_denies_is_denied_whatever_the_grant(
    connect: type[StdioConnection | InProcessConnection], project: Path
) -> None:
    connection = connect(project, ("docs",))

    assert "docs" not in await call(connection, "list_directory", ".")
    assert "out of reach" in await call(connection, "read_file", "docs/rounding.md")


@BOTH
async def test_a_grant_counts_only_within_the_operators(
    connect: type[StdioConnection | InProcessConnection], project: Path
) -> None:
    operator = Grant(tools=("read_file",), read=("docs/**",))
    connection = connect(project, grant=operator)

    assert "Totals are rounded" in await call(connection, "read_file", "docs/rounding.md")
    assert "'docs/**'" in await call(connection, "read_file", "README.md")
    assert "not granted" in await call(connection, "list_directory", "docs")


@BOTH
@pytest.mark.parametrize(
    ("operators", "specs", "is_read"),
    [
        ((".env",), (".env",), True),
        ((), (".env", "**"), False),
        ((".env", "**"), (), False),
    ],
)
async def test_what_is_denied_by_default_opens_when_operator_and_spec_allow_it(
    connect: type[StdioConnection | InProcessConnection],
    project: Path,
    operators: tuple[str, ...],
    specs: tuple[str, ...],
    is_read: bool,
) -> None:
    (project / ".env").write_text("KEY=1")
    operator = Grant(tools=("read_file",), read=("**",), allow=operators)
    spec = Grant(tools=("read_file",), read=("**",), allow=specs)

    read = await call(connect(project, grant=operator), "read_file", ".env", spec)
    assert ("KEY=1" in read) == is_read
    assert ("out of reach" in read) == (not is_read)


async def test_python_in_the_workspace_is_not_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current directory is often the workspace, and Python imports from it by default."""
    trap = 'open("trapped", "w")'
    for name in ("json.py", "anyio.py", "mcp_server/__init__.py", "mcp_server/__main__.py"):
        file = project / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(trap)
    monkeypatch.chdir(project)

    assert "A till" in await call(StdioConnection(project), "read_file", "README.md")
    assert not (project / "trapped").exists()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks into /proc")
async def test_server_process_is_given_no_keys(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")
    toolset = MCPToolset[None](StdioConnection(project).transport(READER), init_timeout=60)

    async with toolset:
        environments = [
            Path(f"/proc/{child}/environ").read_bytes()
            for task in Path("/proc/self/task").iterdir()
            for child in (task / "children").read_text().split()
        ]

    assert environments
    assert not any(b"sk-secret" in environment for environment in environments)


class _NotStarted(StdioConnection):
    """A server whose program may not be executed."""

    def transport(self, grant: Grant) -> ClientTransport:
        direct = super().transport(grant)
        assert isinstance(direct, StdioTransport)
        direct.command = str(self.root / "README.md")
        return direct


async def test_server_that_cannot_be_started_is_said_in_one_line(project: Path) -> None:
    async with Orchestrator.open(project, connect=_NotStarted) as yard:
        with pytest.raises(
            WorkspaceUnavailableError, match=r"cannot be started: Permission denied\.$"
        ):
            await yard.run("repo_guide", "go", model="offline")
