"""The work that every contestant does: a small project, and a model that follows a script.

Five requests to the model and ten tool calls: what a short answer about a repository takes.
"""

import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

AGENT = "sampler"
INSTRUCTIONS = "You answer questions about the files of one directory."
PROMPT = "Where are prices rounded?"
ANSWER = " ".join(f"word{number}" for number in range(200))
TOOLS = ("read_file", "list_directory", "grep")

SPEC = f"""\
name: {AGENT}
description: Follows the script of the benchmark.
instructions: {INSTRUCTIONS}
capabilities:
  - WorkspaceTools: {{tools: [{", ".join(TOOLS)}], read: ["**"]}}
"""

_SCRIPT: tuple[tuple[tuple[str, dict[str, str | int]], ...], ...] = (
    (
        ("list_directory", {"path": ".", "depth": 2}),
        ("grep", {"pattern": "def round_"}),
    ),
    tuple(("read_file", {"path": f"src/part_{number}.py"}) for number in (0, 1, 2)),
    tuple(("read_file", {"path": f"src/part_{number}.py"}) for number in (3, 4, 5)),
    (
        ("grep", {"pattern": "price"}),
        ("read_file", {"path": "docs/rounding.md", "offset": 1, "limit": 20}),
    ),
)

REQUESTS = len(_SCRIPT) + 1
TOOL_CALLS = sum(map(len, _SCRIPT))
STEPS = REQUESTS + TOOL_CALLS


def make_project(root: Path) -> Path:
    """Write a project of a dozen files below `root`."""
    (root / "src").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "README.md").write_text("# Sample\n\nA till that adds prices.\n")
    (root / "docs" / "rounding.md").write_text("# Rounding\n\nPrices are rounded once.\n" * 20)
    for number in range(10):
        lines = (
            f"def round_{number}_{line}(price):\n    return round(price, {line})\n\n"
            for line in range(20)
        )
        (root / "src" / f"part_{number}.py").write_text("\n".join(lines))
    return root


def scripted_model() -> FunctionModel:
    """Return a model that streams the script, whatever the tools answer."""
    return FunctionModel(stream_function=_speak, model_name="scripted")


async def _speak(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
    said = sum(isinstance(message, ModelResponse) for message in messages)
    if said < len(_SCRIPT):
        for index, (tool, arguments) in enumerate(_SCRIPT[said]):
            call_id = f"call-{said}-{index}"
            yield {index: DeltaToolCall(tool, json.dumps(arguments), tool_call_id=call_id)}
        return
    for word in re.findall(r"\S+\s*", ANSWER):
        yield word


@dataclass(frozen=True)
class PlainTools:
    """The same work on files as functions of a few lines: no fence, no protocol."""

    root: Path

    def list_directory(self, path: str = ".", depth: int = 1) -> str:
        """List a directory."""
        top = self.root / path
        rows: list[str] = []
        for place, directories, files in os.walk(top):
            below = Path(place).relative_to(top)
            if len(below.parts) + 1 >= depth:
                directories.clear()
            rows += [f"{below / name}\t{(Path(place) / name).stat().st_size}" for name in files]
        return "\n".join(sorted(rows))

    def grep(self, pattern: str) -> str:
        """Find lines in files by a regular expression."""
        sought = re.compile(pattern)
        found = (
            f"{file.relative_to(self.root)}:{number}:{line}"
            for file in sorted(self.root.rglob("*"))
            if file.is_file()
            for number, line in enumerate(file.read_text().splitlines(), 1)
            if sought.search(line)
        )
        return "\n".join(islice(found, 200))

    def read_file(self, path: str, offset: int = 1, limit: int = 2000) -> str:
        """Read a text file, or a part of it."""
        lines = (self.root / path).read_text().splitlines()
        page = lines[offset - 1 : offset - 1 + limit]
        return "\n".join(f"{number:6}\t{line}" for number, line in enumerate(page, offset))
