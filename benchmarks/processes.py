"""Processes from spawn to answer or to end: seconds and peak memory of each."""

import math
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import Samples, print_table
from benchmarks.wire import Message, Wire

PYTHON = sys.executable
WORKYARD = str(Path(sys.executable).with_name("workyard"))
"""The command as it was installed beside this Python."""

_TIMED = str(Path(__file__).with_name("timed.py"))
_MB = 1e-6
_LOOK_S = 0.001  # how often children are looked for: a search may take a hundredth of a second


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


def serve_command(root: Path) -> list[str]:
    """Return how hosts start our server."""
    # -P as in production: nothing is imported from the directory that happens to be current.
    return [PYTHON, "-P", "-m", "mcp_server", "--root", str(root)]


def time_to_answer(
    command: Sequence[str], messages: Sequence[Message], environment: Mapping[str, str]
) -> tuple[float, float]:
    """Return the seconds until a process is up, and its peak memory by then.

    Args:
        command: What to spawn.
        messages: What to say to it: it is up when the last request is answered. A process that is
            told nothing is up when it prints a line.
        environment: Its environment variables.

    The memory is that of a server which has answered one more request: ours answers the first while
    it is still being loaded.
    """
    started = time.perf_counter()
    with Wire.opened(command, environment) as wire:
        if not messages:
            wire.stdout.readline()
            return time.perf_counter() - started, _peak_bytes(wire.process)
        answer = wire.say(messages)
        seconds = time.perf_counter() - started
        wire.result(answer)
        wire.say([{"id": "loaded", "method": "ping"}])  # an error says it too
        return seconds, _peak_bytes(wire.process)


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


@contextmanager
def watched_tree(process: int) -> Iterator[list[float]]:
    """Collect, meanwhile, the peak bytes of a process and the children that it has at the moment.

    A process alone needs no watching, as the kernel keeps its peak: a child's is lost at its end.
    """
    peaks = [_tree_peak_bytes(process)]
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            peaks.append(_tree_peak_bytes(process))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def _tree_peak_bytes(process: int) -> float:
    peak, own = _peak_bytes(process), _command_line(process)
    for child in _children(process):
        # Until it has executed what it was spawned for, it shows the memory that it shares.
        if _command_line(child) not in (own, b"") and not math.isnan(more := _peak_bytes(child)):
            peak += more
    return peak


def _children(process: int) -> Iterator[int]:
    for file in Path(f"/proc/{process}/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            yield from map(int, file.read_text().split())


def _command_line(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""  # it has ended
