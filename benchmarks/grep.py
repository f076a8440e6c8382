"""Our `grep`, through the protocol and the fence, beside the bare `rg` that it starts."""

import subprocess
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from pathlib import Path

from benchmarks.measure import Goal, Samples, in_turn, print_heading, print_table
from benchmarks.processes import serve_command, surroundings
from benchmarks.trees import MATCHES, NEEDLE, make_tree
from benchmarks.wire import HANDSHAKE, Wire, tool_call
from mcp_server.fence.finding.ripgrep import find_ripgrep

ROUNDS = 11
GOALS = {5_000: Goal(ms=40), 100_000: Goal(ratio=1.15)}
"""By the number of files."""
_OURS, _BARE = "Workyard", "bare `rg`"
_OPTIONS = {"lines": "--line-number", "files": "--files-with-matches", "count": "--count"}
"""What `rg` calls the outputs of our tool."""


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    rows: list[Sequence[str]] = []
    for files, goal in GOALS.items():
        root = make_tree(place / str(files), files)
        with Wire.opened(serve_command(root), surroundings(place)) as wire:
            tools = str(wire.result(wire.say(HANDSHAKE)))
            for output in filter(lambda one: f"'{one}'" in tools or one == "lines", _OPTIONS):
                samples = _measured(partial(_ours, wire, count(10), output), root, output)
                rows.append(_row(f"{files:,} files, {output}", samples, goal))
    print_heading("Search in files")
    print(
        f"`grep` for a word that {MATCHES} lines hold, by a server that is kept open, and the same "
        f"by `rg` from start to end; warm cache, {ROUNDS} rounds. Median (least to greatest).\n"
    )
    print_table(("ms", _OURS, _BARE, "ratio", "goal", "met"), rows)


def _measured(ours: Callable[[], str], root: Path, output: str) -> Samples:
    ways: dict[str, Callable[[], str]] = {_OURS: ours, _BARE: partial(_bare, root, output)}
    found = {name: way() for name, way in ways.items()}  # the disk's cache
    # The same must be found for the same to be measured.
    for line in found[_BARE].splitlines():
        assert line.removeprefix("./") in found[_OURS], (line, found[_OURS])
    samples = Samples()
    for name in in_turn(list(ways), ROUNDS):
        started = time.perf_counter()
        ways[name]()
        samples.add(name, time.perf_counter() - started)
    return samples


def _ours(wire: Wire, ids: "count[int]", output: str) -> str:
    arguments = {"pattern": NEEDLE, **({} if output == "lines" else {"output": output})}
    result = wire.result(wire.say([tool_call(next(ids), "grep", arguments)]))
    content = result["content"]
    assert isinstance(content, list)
    return str(content[0]["text"])


def _bare(root: Path, output: str) -> str:
    program = find_ripgrep()
    assert program, "it is installed with us"
    return subprocess.run(
        [program, "--no-config", _OPTIONS[output], "-e", NEEDLE, "./"],
        cwd=root,
        env={},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def _row(name: str, samples: Samples, goal: Goal) -> Sequence[str]:
    ours, bare = (samples.of(way, scale=1000, digits=0) for way in (_OURS, _BARE))
    ratio = samples.ratio(_OURS, _BARE)
    return name, ours, bare, ratio, str(goal), goal.verdict(samples, _OURS, _BARE)
