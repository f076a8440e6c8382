"""A spec and a model make an agent, or an error with its line."""

from pathlib import Path
from typing import Any  # what stands in a capability's arguments

import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel

from orchestrator.agents import build_agent, check_spec
from orchestrator.capabilities import capabilities_at
from orchestrator.catalogue import Catalogue
from orchestrator.connections import InProcessConnection
from orchestrator.errors import SpecError
from orchestrator.specs import Spec, load_spec

HEAD = "name: sample\ndescription: d\ninstructions: x\n"


def spec_of(tmp_path: Path, text: str) -> Spec:
    file = tmp_path / "sample.yaml"
    file.write_text(HEAD + text)
    return load_spec(file)


@pytest.mark.parametrize("name", Catalogue().names())
def test_every_shipped_spec_is_sound(name: str) -> None:
    check_spec(Catalogue().get(name))


@pytest.mark.parametrize("name", Catalogue().names())
def test_every_shipped_spec_has_least_privilege_and_a_budget(name: str) -> None:
    """An agent that only answers has no tool that writes; one that writes says where."""
    entries: list[Any] = list(Catalogue().get(name).document.capabilities)
    capabilities = {key: value for entry in entries for key, value in entry.items()}
    workspace = capabilities["WorkspaceTools"]

    assert capabilities["Budget"].keys() == {"requests", "total_tokens", "cost_usd"}
    assert ("write_file" in workspace["tools"]) == bool(workspace.get("write"))
    assert "**" not in workspace.get("write", [])


@pytest.mark.parametrize(
    ("capability", "part"),
    [
        ("Nope", "there is no capability 'Nope'; there is: NativeTool, "),
        ("Budgett: {requests: 1}", "there is no capability 'Budgett'; did you mean 'Budget'?"),
        ("Budget: {requets: 1}", "Budget has no 'requets'; did you mean 'requests'?"),
        ("Budget: {requests: many}", "above 0"),
        ("Budget: {requests: null}", "above 0"),
        ("{Budget: {requests: 1}, Thinking: high}", "an entry is one name"),
        ("{}", "an entry is one name"),
        ("WorkspaceTools: {tools: [read_flie]}", "there is no tool 'read_flie'"),
        ("WorkspaceTools: {read: [/etc]}", "a glob is relative to the workspace"),
        ("WorkspaceTools: {root: /}", "WorkspaceTools has no 'root'; there is: "),
        ("Thinking: {efort: low}", "efort"),
    ],
)
def test_capability_that_cannot_be_made_is_reported_at_its_line(
    tmp_path: Path, capability: str, part: str
) -> None:
    spec = spec_of(tmp_path, f"capabilities:\n  - Budget: {{requests: 2}}\n  - {capability}\n")

    with pytest.raises(SpecError) as caught:
        check_spec(spec)

    assert caught.value.line == 6
    assert str(caught.value.field).startswith("capabilities[1]")
    assert part in caught.value.problem


@pytest.mark.parametrize(
    "text",
    [
        "output_schema: {type: string}\n",
        "output_schema: {type: object, title: R, properties: {a: {$ref: '#/nowhere'}}}\n",
    ],
)
def test_spec_that_makes_no_agent_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SpecError):
        check_spec(spec_of(tmp_path, text))


async def test_inputs_stand_in_the_instructions(tmp_path: Path, project: Path) -> None:
    (tmp_path / "sample.yaml").write_text(
        "name: sample\ndescription: d\ninstructions: 'Speak of {{topic}}.'\n"
        "deps_schema: {type: object, required: [topic], properties: {topic: {type: string}}}\n"
    )
    seen: list[str | None] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info.instructions)
        return ModelResponse(parts=[TextPart("ok")])

    spec = load_spec(tmp_path / "sample.yaml")
    connection = InProcessConnection(project)
    agent = build_agent(spec, FunctionModel(answer), capabilities_at(connection), model_timeout_s=1)
    await agent.run("go", deps={"topic": "tides"})

    assert seen == ["Speak of tides."]


async def test_answer_that_does_not_fit_the_output_schema_is_asked_for_again(
    tmp_path: Path, project: Path
) -> None:
    """Pydantic AI accepts any object there."""
    spec = spec_of(
        tmp_path,
        "output_schema:\n  type: object\n  title: R\n  required: [n]\n"
        "  properties: {n: {type: integer}}\n",
    )
    answers = [{"wrong": 1}, {"n": 2}]

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        return ModelResponse(parts=[ToolCallPart(info.output_tools[0].name, answers.pop(0))])

    connection = InProcessConnection(project)
    agent = build_agent(spec, FunctionModel(answer), capabilities_at(connection), model_timeout_s=1)
    result = await agent.run("go")

    assert (result.output, answers) == ({"n": 2}, [])


def test_spec_without_a_budget_gets_one(tmp_path: Path, project: Path) -> None:
    connection = InProcessConnection(project)
    agent = build_agent(
        spec_of(tmp_path, ""), TestModel(), capabilities_at(connection), model_timeout_s=1
    )

    found: list[str] = []
    agent.root_capability.apply(lambda capability: found.append(type(capability).__name__))
    assert "Budget" in found
