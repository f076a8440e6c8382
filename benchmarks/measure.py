"""Contestants in turn, medians, ratios within a round, and tables in Markdown."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field


def in_turn(names: Sequence[str], rounds: int) -> Iterator[str]:
    """Yield each name once a round, each round beginning with another name.

    What slows the machine for a while then slows all of them, and none always comes after the same
    one.

    >>> list(in_turn("ab", 2))
    ['a', 'b', 'b', 'a']
    """
    for number in range(rounds):
        first = number % max(1, len(names))
        yield from (*names[first:], *names[:first])


@dataclass
class Samples:
    """What was measured for each contestant, one number a round."""

    taken: dict[str, list[float]] = field(default_factory=dict)

    def add(self, name: str, value: float) -> None:
        """Keep one number."""
        self.taken.setdefault(name, []).append(value)

    def of(self, name: str, *, scale: float = 1, digits: int = 1) -> str:
        """Return the median of a contestant, and its range."""
        return spread([value * scale for value in self.taken[name]], digits)

    def median(self, name: str, *, scale: float = 1, digits: int = 0) -> str:
        """Return the median alone, of what hardly varies."""
        return f"{statistics.median(self.taken[name]) * scale:.{digits}f}"

    def ratio(self, name: str, floor: str) -> str:
        """Return the median, and the range, of what `name` is to `floor` in the same round."""
        if name == floor:
            return "1"
        return spread(self.ratios(name, floor), 2)

    def ratios(self, name: str, floor: str) -> list[float]:
        """Return what `name` is to `floor`, round by round."""
        return [one / other for one, other in self._pairs(name, floor)]

    def excess(self, name: str, floor: str) -> list[float]:
        """Return by how much `name` is above `floor`, round by round."""
        return [one - other for one, other in self._pairs(name, floor)]

    def _pairs(self, name: str, floor: str) -> Iterator[tuple[float, float]]:
        return zip(self.taken[name], self.taken[floor], strict=True)


@dataclass(frozen=True)
class Goal:
    """What the median of a figure should not exceed: a ratio, milliseconds, or both."""

    ratio: float | None = None
    ms: float | None = None

    def __str__(self) -> str:
        ratio = [] if self.ratio is None else [f"ratio {self.ratio:g}"]
        return ", ".join(ratio if self.ms is None else [*ratio, f"{self.ms:g} ms"]) or "-"

    def verdict(self, samples: Samples, name: str, floor: str) -> str:
        """Return whether `name` reaches the goal, as far as that was measured."""
        reached: list[bool] = []
        if self.ratio is not None and {name, floor} <= samples.taken.keys():
            reached.append(statistics.median(samples.ratios(name, floor)) <= self.ratio)
        if self.ms is not None and name in samples.taken:
            reached.append(statistics.median(samples.taken[name]) * 1000 <= self.ms)
        if not reached:
            return "-"
        return "yes" if all(reached) else "**no**"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Return the median with the least and the greatest value.

    >>> spread([3.0, 1.0, 2.0])
    '2.0 (1.0 to 3.0)'
    """
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"


def print_heading(text: str) -> None:
    """Print the title of a benchmark."""
    print(f"### {text}\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table: the first column is text, the others are numbers."""
    print(f"| {' | '.join(columns)} |")
    print(f"|---|{'---:|' * (len(columns) - 1)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(flush=True)
