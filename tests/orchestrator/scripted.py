"""An agent that follows a script, in a place of its own: what it does shows if it is done twice."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any  # what JSON holds

from fastmcp.client.transports import ClientTransport, StdioTransport
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from mcp_server.fence.grant import Grant
from orchestrator.bootstrap import Connect, Orchestrator
from orchestrator.connections import StdioConnection
from orchestrator.settings import Settings

Call = tuple[str, dict[str, Any]]

SPEC = """\
name: worker
description: Follows a script.
instructions: Work.
capabilities:
  - WorkspaceTools:
      tools: [read_file, grep, write_file, edit_file, apply_edits, make_directory, move_path]
      read: ['**']
      write: ['**']
  - Budget: {requests: 20}
"""

TALKER = """\
name: talker
description: Needs no workspace.
instructions: Talk.
"""


def edit(line: str) -> Call:
    """Return a call that adds a line to a log, and adds it again if it is made again."""
    arguments = {"path": "log.txt", "old_string": "END", "new_string": f"{line}\nEND"}
    return "edit_file", arguments


def write(path: str, content: str) -> Call:
    return "write_file", {"path": path, "content": content}


STEPS: Sequence[Sequence[Call]] = (
    [("read_file", {"path": "log.txt"}), write("a.txt", "one\n")],
    [edit("first"), ("grep", {"pattern": "first"}), ("read_file", {"path": "nope.txt"})],
    [write("b.txt", "two\n"), ("make_directory", {"path": "d"}), edit("second")],
    [("move_path", {"source": "b.txt", "destination": "d/b.txt"}), edit("third")],
    [("read_file", {"path": "a.txt"}), edit("fourth")],
)
"""The calls of each answer; the last answer is `DONE`. Those of one answer are made at once."""

DONE = "All is done."
LOG = ("first", "second", "third", "fourth")
CHANGES = sum(name not in ("read_file", "grep") for step in STEPS for name, _ in step)


class Tapped(StdioConnection):
    """A server process like any other, but for what it is asked, which is written down."""

    def transport(self, grant: Grant) -> ClientTransport:
        direct = super().transport(grant)
        assert isinstance(direct, StdioTransport)
        tap = ["-c", 'tee -a "$0" | exec "$@"', str(wire_of(self.root)), direct.command]
        direct.command, direct.args = "/bin/sh", [*tap, *direct.args]
        return direct


def wire_of(root: Path) -> Path:
    return root.with_name("wire")


def asked_of(root: Path) -> Path:
    return root.with_name("asked")


@dataclass(frozen=True)
class Workplace:
    """Where agents follow a script: a root, specs, and a record of its own."""

    base: Path
    url: str

    @property
    def root(self) -> Path:
        return self.base / "root"

    def furnish(self) -> None:
        """Make what the script begins with."""
        self.root.mkdir(parents=True)
        (self.root / "log.txt").write_text("END\n")
        (self.base / "specs").mkdir()
        self.specify()

    def specify(self) -> None:
        """Write the specs."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(
        self, connect: Connect, limits: Mapping[str, object] = MappingProxyType({})
    ) -> AsyncGenerator[Orchestrator]:
        """Open it, with limits of the operator."""
        settings = Settings(
            data_dir=self.base / "data",
            config_dir=self.base / "config",
            state_dir=self.base / "state",
            database_url=self.url,
        )
        async with Orchestrator.open(
            self.root,
            specs=self.base / "specs",
            settings=settings.model_copy(update=dict(limits)),
            connect=connect,
        ) as yard:
            yield yard


@dataclass(frozen=True)
class Place(Workplace):
    """Where an agent follows its script."""

    connect: Connect = Tapped
    """Calls are counted where the server is a process of its own."""

    def specify(self) -> None:
        (self.base / "specs" / "worker.yaml").write_text(SPEC)
        (self.base / "specs" / "talker.yaml").write_text(TALKER)

    def yard(self) -> AbstractAsyncContextManager[Orchestrator]:
        return self.opened(self.connect)

    def model(self) -> Model:
        """Return the model, which writes down which step it is asked for."""
        return _scripted(asked_of(self.root))

    def keeping(self, given: list[list[ModelMessage]]) -> Model:
        """Return a model that says "ok", and keeps what it was given."""

        async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            given.append(messages)
            yield "ok"

        return FunctionModel(stream_function=stream, model_name="keeping")

    def asked(self) -> list[int]:
        """Return for which steps the model was asked, in their order."""
        file = asked_of(self.root)
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def called(self) -> list[Call]:
        """Return which calls the server was asked for, in their order."""
        file = wire_of(self.root)
        lines = file.read_text().splitlines() if file.exists() else []
        requests = [json.loads(line) for line in lines]
        return [
            (request["params"]["name"], request["params"]["arguments"])
            for request in requests
            if request.get("method") == "tools/call"
        ]

    def files(self) -> dict[str, str]:
        """Return all files of the root."""
        return {
            str(path.relative_to(self.root)): path.read_text()
            for path in self.root.rglob("*")
            if path.is_file()
        }


FILES = {
    "log.txt": "".join(f"{line}\n" for line in LOG) + "END\n",
    "a.txt": "one\n",
    "d/b.txt": "two\n",
}
"""What the script leaves."""


def _scripted(asked: Path) -> Model:
    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        check_valid(messages)
        turn, step = step_of(messages)
        with asked.open("a") as file:
            file.write(f"{step}\n")
        if step == len(STEPS):
            for word in DONE.split(" "):
                yield word if word == "All" else f" {word}"
        else:
            for index, (name, arguments) in enumerate(STEPS[step]):
                call_id = f"{turn}.{step}.{index}"
                yield {index: DeltaToolCall(name, json.dumps(arguments), tool_call_id=call_id)}

    return FunctionModel(stream_function=stream, model_name="scripted")


def step_of(messages: Sequence[ModelMessage]) -> tuple[int, int]:
    """Return the number of the last prompt, from 1, and how many answers have been given to it."""
    prompts = [
        index
        for index, message in enumerate(messages)
        if any(part.part_kind == "user-prompt" for part in message.parts)
    ]
    answers = (isinstance(message, ModelResponse) for message in messages[prompts[-1] :])
    return len(prompts), sum(answers)


def check_valid(messages: Sequence[ModelMessage]) -> None:
    """Refuse what providers refuse: a call without its result, a result without its call."""
    following = [*messages[1:], None]
    for message, after in zip(messages, following, strict=True):
        if isinstance(message, ModelRequest):
            continue
        assert isinstance(after, ModelRequest), "an answer is followed by no request"
        calls = [call.tool_call_id for call in message.tool_calls]
        parts = [part for part in after.parts if isinstance(part, ToolReturnPart)]
        assert sorted(part.tool_call_id for part in parts) == sorted(calls)
    results = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
    answers = [m for m in messages if isinstance(m, ModelResponse)]
    assert len(results) == sum(len(answer.tool_calls) for answer in answers)
