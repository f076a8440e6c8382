"""Processes from spawn to answer or to end: seconds and peak memory of each."""

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Samples, print_table

PYTHON = sys.executable
WORKYARD = str(Path(sys.executable).with_name("workyard"))
"""The command as it was installed beside this Python."""

_TIMED = str(Path(__file__).with_name("timed.py"))
_MB = 1e-6

Message = Mapping[str, object]


@dataclass
class Costs:
    """Seconds and peak bytes of each contestant."""

    seconds: Samples = field(default_factory=Samples)
    peaks: Samples = field(default_factory=Samples)

    def add(self, name: str, seconds: float, peak: float) -> None:
        """Keep what one process took."""
        self.seconds.add(name, seconds)
        self.peaks.add(name, peak)

    def print(self, floors: Sequence[str]) -> None:
        """Print a table with the ratio of each contestant to each floor."""
        columns = ("process", "ms", *(f"ratio to {floor}" for floor in floors), "peak MB")
        rows = (
            (
                name,
                self.seconds.of(name, scale=1000, digits=0),
                *(self.seconds.ratio(name, floor) for floor in floors),
                self.peaks.median(name, scale=_MB),
            )
            for name in self.seconds.taken
        )
        print_table(columns, list(rows))


def surroundings(place: Path) -> dict[str, str]:
    """Return an environment with a home of its own, and without anybody's keys."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    ours = {"WORKYARD_DATA_DIR": place / "data", "WORKYARD_CONFIG_DIR": place / "config"}
    return {**kept, "HOME": str(place), **{name: str(path) for name, path in ours.items()}}


def time_to_answer(
    command: Sequence[str], messages: Sequence[Message], environment: Mapping[str, str]
) -> tuple[float, float]:
    """Return the seconds until a process is up, and its peak memory by then.

    Args:
        command: What to spawn.
        messages: What to say to it: it is up when the last request is answered. A process that is
            told nothing is up when it prints a line.
        environment: Its environment variables.
    """
    started = time.perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None, "it was asked for"
        assert process.stdout is not None, "it was asked for"
        for message in messages:
            process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
            process.stdin.flush()
            if "id" in message:
                answer = process.stdout.readline()
                assert b'"result"' in answer, answer
        if not messages:
            process.stdout.readline()
        return time.perf_counter() - started, _peak_bytes(process.pid)


def time_to_end(command: Sequence[str], environment: Mapping[str, str]) -> tuple[float, float]:
    """Return the seconds that a command takes, and its peak memory."""
    done = subprocess.run(
        [PYTHON, "-I", "-S", _TIMED, *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seconds, peak = done.stdout.split()
    return float(seconds), float(peak)


def _peak_bytes(process: int) -> float:
    """Return the peak memory of a process that runs; Linux alone has a file for it."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return math.nan
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return float(found[1]) * 1024 if found else math.nan
