"""Our server beside the reference server: cold start, single calls, many at once, and memory."""

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from benchmarks import npm
from benchmarks.calls import CALLS, FIGURES, NO_MORE, OURS, READ, THEIRS, Figure, make_root
from benchmarks.measure import Goal, Samples, in_turn, print_heading, print_table
from benchmarks.processes import serve_command, surroundings, time_to_answer, watched_tree
from benchmarks.wire import HANDSHAKE, Message, Wire, tool_call

ROUNDS = 11
AT_ONCE = 2000
_MS, _MB = 1000, 1e-6
_START = "cold start, to the answer to `tools/list`"
_FIRST_READ = "cold start, to the answer to a first read"
_PILE = f"one of {AT_ONCE:,} reads asked for at once"


@dataclass(frozen=True)
class OpenServer:
    """A server that is kept open, with a root of its own."""

    name: str
    wire: Wire
    prefix: str
    """What stands before a path: the reference server wants them absolute."""
    tools: str
    """What it has said of its tools."""
    _ids: Iterator[int] = field(default_factory=lambda: count(10))
    _numbers: Mapping[str, Iterator[int]] = field(default_factory=lambda: defaultdict(count))

    def can_do(self, figure: Figure) -> bool:
        """Return whether it offers a tool for that."""
        return self.name in figure.by and f"'{figure.by[self.name].tool}'" in self.tools

    def time_calls(self, figure: Figure) -> float:
        """Return the seconds a call, one after the other."""
        messages = self._requests(figure, figure.calls)
        started = time.perf_counter()
        answers = [self.wire.say([message]) for message in messages]
        return self._checked(time.perf_counter() - started, answers, figure)

    def time_at_once(self) -> float:
        """Return the seconds a call when many reads are asked for at once."""
        messages = self._requests(READ, AT_ONCE)
        started = time.perf_counter()
        answers = self.wire.say_at_once(messages)
        return self._checked(time.perf_counter() - started, answers, READ)

    def peak_bytes(self) -> float:
        """Return the peak memory so far, with that of the processes that its calls start."""
        with watched_tree(self.wire.process) as peaks:
            for figure in filter(self.can_do, FIGURES):
                self.time_calls(figure)
        return max(peaks)

    def _requests(self, figure: Figure, calls: int) -> list[Message]:
        call, messages = figure.by[self.name], []
        for _ in range(calls):
            arguments = dict(call.arguments(next(self._numbers[figure.name])))
            arguments["path"] = f"{self.prefix}{arguments['path']}"
            messages.append(tool_call(next(self._ids), call.tool, arguments))
        return messages

    def _checked(self, seconds: float, answers: Sequence[bytes], figure: Figure) -> float:
        """Count only work that was done."""
        for answer in answers:
            assert figure.shows in str(self.wire.result(answer)), (figure.name, answer[:2000])
        return seconds / len(answers)


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    roots = {name: make_root(place / name.partition(" ")[0] / "root") for name in (OURS, THEIRS)}
    commands = {OURS: serve_command(roots[OURS])}
    print_heading("Beside the reference server")
    try:
        commands[THEIRS] = [*npm.reference_command(), str(roots[THEIRS])]
        print(f"{npm.PACKAGE} {npm.VERSION}, node {npm.node_version()}. ", end="")
    except npm.ReferenceMissingError as missing:
        print(f"{missing} Workyard is measured alone. ", end="")
    print(
        f"{ROUNDS} rounds; in each the mean of {CALLS} calls in a row, of one where it is a "
        "search. Median (least to greatest).\n"
    )
    lists = dict.fromkeys(commands, HANDSHAKE)
    reads = {name: (*HANDSHAKE, _first_read(name, root)) for name, root in roots.items()}
    starts, started_with = _measured_starts(commands, lists, surroundings(place))
    first_reads, _ = _measured_starts(commands, reads, surroundings(place))
    with ExitStack() as stack:
        contestants = {}
        for name, command in commands.items():
            wire = stack.enter_context(Wire.opened(command, surroundings(place)))
            tools = str(wire.result(wire.say(HANDSHAKE)))
            prefix = "" if name == OURS else f"{roots[name]}/"
            contestants[name] = OpenServer(name, wire, prefix, tools)
        calls = {figure.name: _measured_calls(contestants, figure) for figure in FIGURES}
        at_once = _measured_at_once(contestants)
        memory = Samples({name: [one.peak_bytes()] for name, one in contestants.items()})
    goals = {figure.name: figure.goal for figure in FIGURES}
    print_table(
        ("ms", OURS, THEIRS, "ratio", "goal", "met"),
        [
            _row(_START, starts, NO_MORE, _MS),
            _row(_FIRST_READ, first_reads, Goal(), _MS),
            *(_row(name, samples, goals[name], _MS) for name, samples in calls.items()),
            _row(_PILE, at_once, Goal(), _MS),
        ],
    )
    _print_rates(at_once)
    print_table(
        ("peak MB", OURS, THEIRS, "ratio", "goal", "met"),
        [
            _row("after the start", started_with, NO_MORE, _MB),
            _row("after all of the above, with the processes it starts", memory, NO_MORE, _MB),
        ],
    )


def _first_read(name: str, root: Path) -> Message:
    prefix = "" if name == OURS else f"{root}/"
    return tool_call(9, READ.by[name].tool, {"path": f"{prefix}read.txt"})


def _measured_starts(
    commands: Mapping[str, Sequence[str]],
    messages: Mapping[str, Sequence[Message]],
    environment: Mapping[str, str],
) -> tuple[Samples, Samples]:
    seconds, peaks = Samples(), Samples()
    for name, command in commands.items():
        time_to_answer(command, messages[name], environment)  # bytecode, the disk's cache
    for name in in_turn(list(commands), ROUNDS):
        taken, peak = time_to_answer(commands[name], messages[name], environment)
        seconds.add(name, taken)
        peaks.add(name, peak)
    return seconds, peaks


def _measured_calls(contestants: Mapping[str, OpenServer], figure: Figure) -> Samples:
    samples = Samples()
    able = [name for name, one in contestants.items() if one.can_do(figure)]
    for name in able:
        contestants[name].time_calls(figure)  # lazy imports, compiled code, the disk's cache
    for name in in_turn(able, ROUNDS):
        samples.add(name, contestants[name].time_calls(figure))
    return samples


def _measured_at_once(contestants: Mapping[str, OpenServer]) -> Samples:
    samples = Samples()
    for name in in_turn(list(contestants), ROUNDS // 2):
        samples.add(name, contestants[name].time_at_once())
    return samples


def _print_rates(at_once: Samples) -> None:
    rates = (f"{name} {1 / statistics.median(taken):,.0f}" for name, taken in at_once.taken.items())
    print(f"Reads a second when {AT_ONCE:,} are asked for at once: {', '.join(rates)}.\n")


def _row(name: str, samples: Samples, goal: Goal, scale: float) -> Sequence[str]:
    greatest = max(map(max, samples.taken.values()), default=0) * scale
    values = [
        samples.of(one, scale=scale, digits=2 if greatest < 100 else 0)
        if one in samples.taken
        else "-"
        for one in (OURS, THEIRS)
    ]
    ratio = samples.ratio(OURS, THEIRS) if len(samples.taken) == 2 else "-"
    return name, *values, ratio, str(goal), goal.verdict(samples, OURS, THEIRS)
