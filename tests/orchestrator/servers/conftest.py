"""Servers in `servers.toml`, and agents that name them."""

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from inspect import isawaitable
from pathlib import Path
from typing import Any  # what TOML and JSON hold, and what a model streams

import pytest
import tomlkit
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.tools import ToolDefinition

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.servers.registry import FILE
from orchestrator.settings import load_settings
from tests.orchestrator.test_teams import Call, spec

PROGRAM = Path(__file__).with_name("desk.py")
KEY = "k3y-of-the-desk"


@dataclass
class Desks:
    """The registry of a test, and what its servers were asked."""

    log: Path
    specs: Path
    _entries: dict[str, Any] = field(default_factory=dict)

    def register(self, *words: str, name: str = "desk", **settings: Any) -> None:
        """Put a server of `desk.py` into the registry."""
        command = [sys.executable, "-I", str(PROGRAM), str(self.log), *words]
        self.enter(name, **{"command": command, "env": ["DESK_KEY"], **settings})

    def enter(self, name: str, **settings: Any) -> None:
        """Put any server into the registry."""
        self._entries[name] = settings
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(tomlkit.dumps(self._entries))

    @property
    def file(self) -> Path:
        return load_settings().config_dir / FILE

    def agent(self, name: str, *capabilities: str) -> None:
        (self.specs / f"{name}.yaml").write_text(spec(name, *capabilities))

    def noted(self, what: str) -> list[Any]:
        """Return what was noted of a kind, in its order."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [rest for _, kind, *rest in map(json.loads, lines) if kind == what]

    @property
    def calls(self) -> list[str]:
        return [tool for tool, _ in self.noted("call")]


def call(tool: str, words: str = "") -> Call:
    return tool, {"words": words} if words else {}


def watched(model: Model, seen: list[list[ToolDefinition]]) -> Model:
    """Return a model that does the same, and keeps what it is told of tools."""
    assert isinstance(model, FunctionModel)
    at_once, in_pieces = model.function, model.stream_function

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info.function_tools)
        assert at_once is not None
        found = at_once(messages, info)
        return await found if isawaitable(found) else found

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        seen.append(info.function_tools)
        assert in_pieces is not None
        async for piece in in_pieces(messages, info):
            yield piece

    return FunctionModel(answer, stream_function=stream)


def uses(*tools: str, name: str = "desk") -> str:
    return f"McpServer: {{name: {name}, tools: [{', '.join(tools)}]}}"


@pytest.fixture
def desks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desks:
    monkeypatch.setenv("DESK_KEY", KEY)
    (tmp_path / "specs").mkdir()
    return Desks(tmp_path / "log", tmp_path / "specs")


@pytest.fixture
async def yard(project: Path, desks: Desks) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, specs=desks.specs, connect=InProcessConnection) as opened:
        yield opened
