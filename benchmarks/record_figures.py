"""What was measured of the record and its peers, as tables, and whether the goals are met."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.measure import Samples, print_table
from benchmarks.peers import SQLALCHEMY_SESSION
from benchmarks.ring import OURS, Answer

_KB, _MB = 1e-3, 1e-6

Row = tuple[str, ...]


@dataclass
class Figures:
    """All figures, by the name of the store."""

    turns: int
    """How many the long session has."""
    names: Sequence[str] = ()
    fallen: Mapping[str, str] = field(default_factory=dict)
    append_few: Samples = field(default_factory=Samples)
    append_some: Samples = field(default_factory=Samples)
    append_many: Samples = field(default_factory=Samples)
    """Milliseconds of a turn."""
    whole: Samples = field(default_factory=Samples)
    """Milliseconds of a late turn, with loading what was said before it."""
    written_few: Samples = field(default_factory=Samples)
    written_many: Samples = field(default_factory=Samples)
    """Bytes that a turn passes to write()."""
    stored: Samples = field(default_factory=Samples)
    """Bytes of the database with the long session alone."""
    loads: Samples = field(default_factory=Samples)
    """Milliseconds."""
    kinds: dict[str, str] = field(default_factory=dict)
    """What is loaded: the name of a class."""
    rates: Samples = field(default_factory=Samples)
    """Turns a second."""
    talks: dict[str, Answer] = field(default_factory=dict)
    rivals: dict[str, Answer] = field(default_factory=dict)
    heavy: dict[int, float] = field(default_factory=dict)
    """Bytes of runs with many calls, to those of whole messages, by how many runs."""
    windows: dict[int, Sequence[float]] = field(default_factory=dict)
    """Milliseconds of a claim that loads the window, by the turns of the session."""

    def print(self) -> None:
        """Print all tables, and why a store is in none of them."""
        for name, reason in self.fallen.items():
            print(f"{name}, is not measured: {reason}\n")
        last = f"turn {self.turns:,}"
        self._print(
            ("append a turn, ms", "turn 10", "turn 100", last, "ratio", "with its load", "ratio"),
            self._appended,
        )
        self._print(
            ("disk", "KB written, turn 10", last, "ratio", f"MB after {last}", "ratio"),
            self._on_disk,
        )
        self._print((f"load {self.turns:,} turns", "ms", "ratio", "as"), self._loaded)
        self._print(
            ("many sessions at once", "turns/s", "ratio", "p99 ms", "turns lost", "left wrong"),
            self._talked,
        )
        self._print(
            ("two turns of one session", "refused in time", "answers lost", "left wrong"),
            self._competed,
        )
        print_table(("goal of the record", "measured", "met"), self._goals())

    def _print(self, columns: Row, of_store: Callable[[str], Row]) -> None:
        """Print a table with a row for each store."""
        rows: list[Row] = []
        for name in self.names:
            if name in self.fallen:
                rows.append((name, "not measured", *("-" for _ in columns[2:])))
            else:
                rows.append((name, *of_store(name)))
        print_table(columns, rows)

    def _appended(self, name: str) -> Row:
        return (
            self.append_few.of(name),
            self.append_some.of(name),
            self.append_many.of(name),
            self.append_many.ratio(name, OURS),
            self.whole.of(name),
            self.whole.ratio(name, OURS),
        )

    def _on_disk(self, name: str) -> Row:
        return (
            self.written_few.median(name, scale=_KB),
            self.written_many.median(name, scale=_KB),
            _times(self.written_many, name),
            self.stored.median(name, scale=_MB, digits=1),
            _times(self.stored, name),
        )

    def _loaded(self, name: str) -> Row:
        return (
            self.loads.of(name),
            self.loads.ratio(name, OURS),
            f"`{self.kinds[name]}`",
        )

    def _talked(self, name: str) -> Row:
        talk = self.talks[name]
        return (
            self.rates.median(name),
            _times(self.rates, name),
            f"{talk['p99']:.0f}",
            str(talk["lost"]),
            str(talk["wrong"]),
        )

    def _competed(self, name: str) -> Row:
        rivals = self.rivals[name]
        return str(rivals["refused"]), str(rivals["lost"]), str(rivals["wrong"])

    def _goals(self) -> list[Row]:
        rival = SQLALCHEMY_SESSION.name
        few, many = (_middle(one, OURS) * _KB for one in (self.written_few, self.written_many))
        talk, rivals = self.talks[OURS], self.rivals[OURS]
        turns = f"{self.turns:,}"
        return [
            _at_most(f"append turn {turns}, to {rival}", self._to(self.append_many, [rival]), 0.5),
            _at_most("KB written a turn", max(few, many), 70),
            _at_most(f"of these, turn {turns} to turn 10", many / few, 1.2),
            _at_most(f"MB after {turns} turns", _middle(self.stored, OURS) * _MB, 4.5),
            *(
                _at_most(
                    f"bytes of {runs} runs with 20 tool calls, to whole messages as JSON",
                    ratio,
                    1 / 3,
                )
                for runs, ratio in self.heavy.items()
            ),
            _at_most(
                f"load {turns} turns, to the fastest peer with typed messages",
                self._to(self.loads, [name for name, kind in self.kinds.items() if kind != "dict"]),
                1,
            ),
            *(
                _at_most(
                    f"claim with the window of a session of {turns:,} turns, ms",
                    statistics.median(ms),
                    10,
                )
                for turns, ms in self.windows.items()
            ),
            _at_least("turns/s of many sessions at once", _middle(self.rates, OURS), 1000),
            _at_most("p99 of these, ms", talk["p99"], 100),
            _at_most("turns and answers lost", talk["lost"] + rivals["lost"], 0),
            _at_most("sessions left wrong", talk["wrong"] + rivals["wrong"], 0),
        ]

    def _to(self, samples: Samples, names: Sequence[str]) -> float | None:
        """Return the greatest ratio of ours to one of these, as far as they were measured."""
        measured = (name for name in names if name != OURS and name not in self.fallen)
        return max((_middle_ratio(samples, OURS, name) for name in measured), default=None)


def _times(samples: Samples, name: str) -> str:
    """Return a ratio to ours of what hardly varies."""
    return f"{_middle_ratio(samples, name, OURS):.2f}"


def _middle(samples: Samples, name: str) -> float:
    return statistics.median(samples.taken[name])


def _middle_ratio(samples: Samples, name: str, floor: str) -> float:
    return statistics.median(samples.ratios(name, floor))


def _at_most(goal: str, measured: float | None, most: float) -> Row:
    if measured is None:
        return f"{goal}: at most {most:.3g}", "-", "-"
    return f"{goal}: at most {most:.3g}", f"{measured:.3g}", _verdict(measured <= most)


def _at_least(goal: str, measured: float, least: float) -> Row:
    return f"{goal}: at least {least:,g}", f"{measured:,.0f}", _verdict(measured >= least)


def _verdict(reached: bool) -> str:
    return "yes" if reached else "**no**"
