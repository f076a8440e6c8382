"""Hands in the workspace, in plain Pydantic AI and with nothing else of ours."""

from pathlib import Path
from typing import Any  # deps of any type

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from mcp_server.errors import InvalidInputError
from mcp_server.fence.grant import Grant
from orchestrator.capabilities import (
    CAPABILITIES,
    WorkspaceTools,
    capabilities_at,
)
from orchestrator.catalogue import Catalogue
from orchestrator.connections import InProcessConnection

SPEC = """\
name: sample
instructions: x
capabilities:
  - WorkspaceTools: {tools: [read_file, write_file], read: ["**"], write: ["notes/**"]}
  - Budget: {requests: 5}
"""


def calling(*calls: tuple[str, dict[str, Any]]) -> FunctionModel:
    """Return a model that makes the calls one after the other, then says what came back last."""

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        done = sum(isinstance(m, ModelResponse) for m in messages)
        if done < len(calls):
            return ModelResponse(parts=[ToolCallPart(*calls[done])])
        returned = [p for p in messages[-1].parts if p.part_kind == "tool-return"]
        return ModelResponse(parts=[TextPart(returned[0].model_response_str())])

    return FunctionModel(answer)


async def test_plain_pydantic_ai_runs_a_spec_with_grant_and_server(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files are plain AgentSpec files: ten lines of Pydantic AI are enough."""
    (tmp_path / "sample.yaml").write_text(SPEC)
    monkeypatch.chdir(project)
    agent = Agent.from_file(
        tmp_path / "sample.yaml",
        custom_capability_types=CAPABILITIES,
        model=calling(("read_file", {"path": "README.md"})),
    )

    result = await agent.run("go")

    assert "A till that adds prices." in result.output


async def test_grant_is_enforced_by_the_server(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sample.yaml").write_text(SPEC)
    monkeypatch.chdir(project)
    agent = Agent.from_file(
        tmp_path / "sample.yaml",
        custom_capability_types=CAPABILITIES,
        model=calling(("write_file", {"path": "README.md", "content": "gone"})),
    )

    await agent.run("go")

    assert (project / "README.md").read_text().startswith("# Sample")


async def test_without_our_classes_a_spec_is_refused_by_name(tmp_path: Path) -> None:
    """A file with limits must not load anywhere without them."""
    (tmp_path / "sample.yaml").write_text(SPEC)

    with pytest.raises(ValueError, match="WorkspaceTools"):
        Agent.from_file(tmp_path / "sample.yaml", model=TestModel())


@pytest.mark.parametrize("file", Catalogue().files().values(), ids=lambda f: f.stem)
def test_every_shipped_spec_loads_in_plain_pydantic_ai(file: Path) -> None:
    assert Agent.from_file(file, custom_capability_types=CAPABILITIES, model=TestModel()).name


def test_what_is_left_out_of_a_grant_is_not_allowed() -> None:
    tools = WorkspaceTools(tools=["read_file"])

    assert not tools.grant.may_read("README.md")
    assert not tools.grant.may_write("README.md")
    assert WorkspaceTools().get_toolset() is None


async def test_a_spec_opens_what_is_denied_by_default_only_where_the_operator_does(
    project: Path, tmp_path: Path
) -> None:
    (project / ".env.example").write_text("KEY=example")
    spec = SPEC.replace('read: ["**"]', 'read: ["**"], allow: [".env.example"]')
    (tmp_path / "sample.yaml").write_text(spec)

    said = []
    for operator in (Grant.full(), Grant(tools=("read_file",), read=("**",), allow=(".env.*",))):
        agent = Agent.from_file(
            tmp_path / "sample.yaml",
            custom_capability_types=capabilities_at(InProcessConnection(project, grant=operator)),
            model=calling(("read_file", {"path": ".env.example"})),
        )
        said.append((await agent.run("go")).output)

    assert "out of reach" in said[0]
    assert "KEY=example" in said[1]


def test_what_a_spec_leaves_out_of_allow_stays_denied() -> None:
    assert not WorkspaceTools(read=["**"]).grant.may_read(".env.example")
    assert WorkspaceTools(read=["**"], allow=[".env.example"]).grant.may_read(".env.example")


def test_unknown_tool_in_a_grant_is_refused() -> None:
    with pytest.raises((InvalidInputError, ValueError), match="read_flie"):
        WorkspaceTools(tools=["read_flie"])
