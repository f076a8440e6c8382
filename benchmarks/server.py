"""Cold start of the server: what a host waits for at each launch."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import sample
from benchmarks.measure import in_turn, print_heading
from benchmarks.processes import (
    PYTHON,
    WORKYARD,
    Costs,
    serve_command,
    surroundings,
    time_to_answer,
)
from benchmarks.wire import CLIENT, HANDSHAKE, Message, tool_call

ROUNDS = 7

_SMALLEST_SERVER = """\
from mcp.server import MCPServer

server = MCPServer("smallest")


@server.tool()
def read_file(path: str) -> str:
    return open(path).read()


server.run("stdio")
"""

_STATELESS: tuple[Message, ...] = (
    {
        "id": 1,
        "method": "tools/list",
        "params": {
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": CLIENT,
                "io.modelcontextprotocol/clientCapabilities": {},
            }
        },
    },
)
"""What they may say from 2026-07-28 on: each request stands alone."""

_SMALLEST = "smallest `MCPServer`"

_Start = tuple[Sequence[str], Sequence[Message], Mapping[str, str]]


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    starts = _starts(place)
    costs = Costs()
    for start in starts.values():
        time_to_answer(*start)  # bytecode, the disk's cache, what is remembered
    for name in in_turn(list(starts), ROUNDS):
        costs.add(name, *time_to_answer(*starts[name]))
    print_heading("Cold start of the server")
    print(
        f"From spawn to the answer to `tools/list` over pipes, after `initialize` unless the row "
        f"says 2026-07-28; {ROUNDS} rounds. Median (least to greatest).\n"
    )
    costs.print([_SMALLEST])


def _starts(place: Path) -> dict[str, _Start]:
    root = sample.make_project(place / "project")
    file = place / "smallest.py"
    file.write_text(_SMALLEST_SERVER)
    smallest = [PYTHON, str(file)]
    ours = serve_command(root)
    workyard = [WORKYARD, "serve", "--root", str(root)]
    usual = surroundings(place)
    forgetful = {**usual, "XDG_CACHE_HOME": os.devnull}
    read = tool_call(3, "read_file", {"path": "README.md"})
    return {
        "`python -c pass`": ([PYTHON, "-c", "print()"], (), usual),
        '`python -c "import mcp.server"`': (
            [PYTHON, "-c", "import mcp.server; print()"],
            (),
            usual,
        ),
        _SMALLEST: (smallest, HANDSHAKE, usual),
        "**`python -m mcp_server`**": (ours, HANDSHAKE, usual),
        "**`workyard serve`**": (workyard, HANDSHAKE, usual),
        "**`workyard serve`**, to the answer to a first read": (
            workyard,
            (*HANDSHAKE, read),
            usual,
        ),
        "**`workyard serve`**, nothing remembered": (workyard, HANDSHAKE, forgetful),
        f"{_SMALLEST}, 2026-07-28": (smallest, _STATELESS, usual),
        "**`python -m mcp_server`**, 2026-07-28": (ours, _STATELESS, usual),
    }
