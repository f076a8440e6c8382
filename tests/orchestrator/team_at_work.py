"""A team that follows a script, three agents deep: what it does shows if it is done twice."""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal

from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.runner import RunHandle
from tests.orchestrator.counting import Counting
from tests.orchestrator.moments import nothing
from tests.orchestrator.scripted import Call, Workplace, check_valid, edit, step_of, write

HANDS = "WorkspaceTools: {tools: [read_file, edit_file, write_file], read: ['**'], write: ['**']}"
AGENTS: Mapping[str, Sequence[str]] = {
    "chief": (HANDS, "SubAgents: {agents: [middle, other], runs: 2}"),
    "middle": (HANDS, "SubAgents: {agents: [last]}"),
    "last": (HANDS, "Approvals: {paths: [guarded.txt]}"),
    "other": (HANDS,),
}

READ: Call = ("read_file", {"path": "log.txt"})
MISSING: Call = ("read_file", {"path": "nope.txt"})
GUARDED = write("guarded.txt", "x\n")


def delegate(agent: str) -> Call:
    return "delegate", {"agent": agent, "task": f"Be {agent}."}


SCRIPT: Mapping[str, Sequence[Sequence[Call] | str]] = {
    "chief": (
        [edit("chief 1"), READ],
        [delegate("middle"), edit("chief 2"), delegate("other")],
        [("final_result", {"wrong": "answer"})],
        [("final_result", {"answer": "All is done."})],
    ),
    "middle": (
        [edit("middle 1")],
        [("read_file", {"path": "./log.txt"}), delegate("last")],
        [edit("middle 2")],
        "Middle is done.",
    ),
    "last": ([edit("last 1"), MISSING], [GUARDED, edit("last 2")], "Last is done."),
    "other": ([edit("other 1")], "Other is done."),
}
"""The answers of each: calls, which are made at once, or text. The chief's first result is none."""

DONE = {"answer": "All is done."}
LINES = ["chief 1", "chief 2", "last 1", "last 2", "middle 1", "middle 2", "other 1"]
REQUESTS = {agent: len(steps) for agent, steps in SCRIPT.items()}
TOOL_CALLS = {"chief": 5, "middle": 4, "last": 3, "other": 1}
"""How many of their calls succeed. The file that is missing is the one that fails."""
TOKENS = 15
PRICE = Decimal("0.01")
"""What each answer has used."""


class _Used(RequestUsage):
    """What an answer has used, to which nothing is added while it comes."""

    def __add__(self, other: RequestUsage) -> "_Used":
        return self


def _used(_messages: list[ModelMessage]) -> RequestUsage:
    return _Used(input_tokens=TOKENS - 5, output_tokens=5, cost=PRICE)


@dataclass(frozen=True)
class Home(Workplace):
    """Where the team works."""

    passing: Callable[[str], None] = nothing
    """Is told of each moment of a model's answer."""
    more: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """What the specs have besides, by the names of the agents."""
    limits: Mapping[str, object] = field(default_factory=dict)
    """Those of the operator."""

    def specify(self) -> None:
        """Write the specs."""
        for agent, capabilities in AGENTS.items():
            lines = [f"name: {agent}", f"description: Is {agent}.", f"instructions: {agent}"]
            if agent == "chief":
                lines.append("output_schema: {type: object, required: [answer]}")
            all_of_them = (*capabilities, *self.more.get(agent, ()))
            lines += ["capabilities:", *(f"  - {one}" for one in all_of_them)]
            (self.base / "specs" / f"{agent}.yaml").write_text("\n".join(lines) + "\n")

    def yard(self) -> AbstractAsyncContextManager[Orchestrator]:
        return self.opened(InProcessConnection, self.limits)

    def model(self) -> Model:
        """Return the model of all of them."""
        return Counting(_used, self._answer, name="team")

    def talker(self) -> Model:
        """Return a model that says "ok" to whatever a provider would take."""

        async def answer(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
            check_valid(messages)
            yield "ok"

        return FunctionModel(stream_function=answer, model_name="talker")

    async def _answer(
        self, messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator["Piece"]:
        check_valid(messages)
        agent = (info.instructions or "").split()[0]
        _, step = step_of(messages)
        self.passing(asked(agent, step))
        said = SCRIPT[agent][step]
        pieces = _words(said) if isinstance(said, str) else _calls(said, f"{agent}.{step}")
        for number, piece in enumerate(pieces):
            yield piece
            self.passing(f"{agent} has said piece {number} of {step}")

    def lines(self) -> list[str]:
        """Return the lines of the log, sorted."""
        *lines, end = (self.root / "log.txt").read_text().splitlines()
        assert end == "END"
        return sorted(lines)

    def guarded(self) -> str | None:
        """Return what is in the file that needs a yes."""
        file = self.root / "guarded.txt"
        return file.read_text() if file.exists() else None


def asked(agent: str, step: int) -> str:
    """Return the moment at which an agent's model is asked."""
    return f"{agent} is asked for {step}"


Piece = str | dict[int, DeltaToolCall]


def _words(text: str) -> list[Piece]:
    first, _, rest = text.partition(" ")
    return [first, f" {rest}"]


def _calls(calls: Sequence[Call], step: str) -> list[Piece]:
    return [
        {index: DeltaToolCall(tool, json.dumps(arguments), tool_call_id=f"{step}.{index}")}
        for index, (tool, arguments) in enumerate(calls)
    ]


async def begin(yard: Orchestrator, home: Home) -> RunHandle:
    """Let the team begin, or go on where it stood."""
    sessions = await yard.sessions.latest()
    if not sessions:
        return await yard.start("chief", "go", model=home.model())
    return await yard.resume(sessions[0].id, model=home.model())
