"""The record beside its peers: what a turn costs, however long its session, and what is lost."""

import statistics
from dataclasses import dataclass
from pathlib import Path

import anyio

from benchmarks.measure import print_heading
from benchmarks.record_figures import Figures
from benchmarks.ring import OURS, Answer, Ring
from benchmarks.stores import heavy, window

ROUNDS = 5
FEW, SOME = 10, 100


@dataclass(frozen=True)
class Size:
    """How much is done; less than this is for trying it out."""

    turns: int = 1000
    sessions: int = 50
    turns_each: int = 20
    rivals: int = 20
    runs: int = 100


def run(place: Path, size: Size = Size()) -> None:
    """Measure in a directory of our own, and print."""
    figures = Figures(size.turns)
    with Ring.opened(place) as ring:
        _warm(ring)
        _measure_short(ring, figures)
        _measure_long(ring, size, figures)
        _measure_loads(ring, figures)
        _measure_crowds(ring, size, figures)
        figures.names, figures.fallen = ring.names, ring.fallen
    for runs in (size.runs // 10, size.runs):
        figures.heavy[runs] = anyio.run(heavy.measured, place, runs)
    for turns in (size.turns // 10, size.turns):
        figures.windows[turns] = anyio.run(window.measured, place, turns, ROUNDS)
    print_heading("The record beside its peers")
    print(
        f"{ROUNDS} rounds of some turns each, all stores in turn. Median (least to greatest) "
        f"of the rounds; a ratio is to {OURS}, within a round. Many sessions at once are "
        f"{size.sessions} with {size.turns_each} turns each; two turns of one session were begun "
        f"at a time in {size.rivals} sessions.\n"
    )
    figures.print()


def _warm(ring: Ring) -> None:
    """Have imports, compiled code and the disk's cache behind us."""
    for what, facts in (
        ("open", {"file": "warm.db"}),
        ("turns", {"session": "warm", "count": FEW}),
        ("runs", {"session": "warm", "count": 1}),
        ("close", {}),
        ("load", {"file": "warm.db", "session": "warm"}),
    ):
        ring.ask_all(what, **facts)


def _measure_short(ring: Ring, figures: Figures) -> None:
    """Turns 1 to 10 of new sessions."""
    ring.ask_all("open", file="short.db")
    for name, answer in ring.ask(ROUNDS, "short", sessions=4, count=FEW):
        figures.append_few.add(name, statistics.median(answer["ms"]))
        figures.written_few.add(name, _written_a_turn(answer))
    ring.ask_all("close")


def _measure_long(ring: Ring, size: Size, figures: Figures) -> None:
    """The turns before the hundredth, and the last fifth of all."""
    ring.ask_all("open", file="long.db")
    ring.ask_all("turns", session="long", count=SOME // 2)
    for name, answer in ring.ask(ROUNDS, "turns", session="long", count=SOME // 2 // ROUNDS):
        figures.append_some.add(name, statistics.median(answer["ms"]))
    late = size.turns // 5 // ROUNDS  # in each round, a fifth of them with their load
    between = size.turns - SOME - late * ROUNDS
    blocks = max(1, between // 100)
    for _ in range(blocks):
        ring.ask_all("turns", session="long", count=between // blocks)
    loaded = late // 5
    for name, answer in ring.ask(ROUNDS, "turns", session="long", count=late - loaded):
        figures.append_many.add(name, statistics.median(answer["ms"]))
        figures.written_many.add(name, _written_a_turn(answer))
    for name, answer in ring.ask(ROUNDS, "runs", session="long", count=loaded):
        figures.whole.add(name, statistics.median(answer["ms"]))
    for name, answer in ring.ask_all("close").items():
        figures.stored.add(name, answer["bytes"])


def _measure_loads(ring: Ring, figures: Figures) -> None:
    for name, answer in ring.ask(ROUNDS, "load", file="long.db", session="long"):
        figures.loads.add(name, answer["ms"])
        figures.kinds[name] = answer["kind"]


def _measure_crowds(ring: Ring, size: Size, figures: Figures) -> None:
    for name, answer in ring.ask(
        1, "talk", file="talk.db", sessions=size.sessions, turns=size.turns_each
    ):
        figures.rates.add(name, size.sessions * size.turns_each / answer["seconds"])
        figures.talks[name] = answer
    for name, answer in ring.ask(1, "compete", file="compete.db", sessions=size.rivals):
        figures.rivals[name] = answer


def _written_a_turn(answer: Answer) -> float:
    return float(answer["written"]) / len(answer["ms"])
