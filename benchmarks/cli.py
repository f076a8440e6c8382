"""Cold start of the command line: what a person waits for after pressing Enter."""

from collections.abc import Sequence
from pathlib import Path

from benchmarks import sample
from benchmarks.measure import in_turn, print_heading
from benchmarks.processes import PYTHON, WORKYARD, Costs, surroundings, time_to_end

ROUNDS = 5

_BARE_SCRIPT = """\
import asyncio
import sys

from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset

from orchestrator.offline import OfflineModel

_, root, question = sys.argv
command = ["-P", "-m", "mcp_server", "--root", root]
server = StdioTransport(sys.executable, command, keep_alive=False)
agent = Agent(OfflineModel(), toolsets=[MCPToolset(server)])
print(asyncio.run(agent.run(question)).output)
"""

_IMPORT = '`python -c "import pydantic_ai"`'
_SCRIPT = "bare script"


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    commands = _commands(place)
    environment = surroundings(place)
    costs = Costs()
    for command in commands.values():
        time_to_end(command, environment)  # bytecode, the disk's cache, the new database
    for name in in_turn(list(commands), ROUNDS):
        costs.add(name, *time_to_end(commands[name], environment))
    print_heading("Cold start of the command line")
    print(
        f"From start to end of the process; {ROUNDS} rounds. Median (least to greatest). The bare "
        "script is Pydantic AI with the same model, server and question as the row below it.\n"
    )
    costs.print([_IMPORT, _SCRIPT])


def _commands(place: Path) -> dict[str, Sequence[str]]:
    root = str(sample.make_project(place / "project"))
    script = place / "bare.py"
    script.write_text(_BARE_SCRIPT)
    asked = ["repo_guide", sample.PROMPT, "--root", root, "--model", "offline"]
    return {
        "`python -c pass`": [PYTHON, "-c", "pass"],
        _IMPORT: [PYTHON, "-c", "import pydantic_ai"],
        "**`workyard --help`**": [WORKYARD, "--help"],
        "**`workyard serve --help`**": [WORKYARD, "serve", "--help"],
        "**`workyard agents list`**": [WORKYARD, "agents", "list"],
        "**`workyard models`**": [WORKYARD, "models"],
        _SCRIPT: [PYTHON, str(script), root, sample.PROMPT],
        "**`workyard run repo_guide ... --model offline`**": [WORKYARD, "run", *asked],
    }
