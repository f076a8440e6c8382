"""What a run costs over a bare Pydantic AI agent with the same model and the same tools."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from sqlalchemy import Connection, Engine, event

from benchmarks import sample
from benchmarks.contestants import (
    BESIDE,
    MEMORY,
    STDIO,
    UNRECORDED,
    YARD_MEMORY,
    YARD_STDIO,
    prepared,
)
from benchmarks.measure import Samples, in_turn, print_heading, print_table, spread

ROUNDS = 11
COMMITS = 40
_MS = 1000

_DIFFERENCES = {
    "running it on record, in process": (YARD_MEMORY, UNRECORDED),
    "building the agent from its spec": (UNRECORDED, MEMORY),
    "all of Workyard, in process": (YARD_MEMORY, MEMORY),
    "all of Workyard, over stdio": (YARD_STDIO, STDIO),
}


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    runs, commits = anyio.run(_measured_runs, place)
    print_heading("Overhead of a run")
    print(
        f"One run: {sample.REQUESTS} model requests and {sample.TOOL_CALLS} tool calls, which are "
        f"{sample.STEPS} steps; {ROUNDS} rounds. Median (least to greatest).\n"
    )
    print_table(
        ("run", "ms", "ratio", "to"),
        [
            (name, runs.of(name, scale=_MS), runs.ratio(name, floor), floor)
            for name, floor in BESIDE.items()
        ],
    )
    print_table(
        ("what is added", "ms a run", "ms a step"),
        [_difference(label, runs.excess(*pair)) for label, pair in _DIFFERENCES.items()],
    )
    _print_commits(_measured_commits(place), commits)


def _difference(label: str, seconds: list[float]) -> tuple[str, str, str]:
    a_run = [value * _MS for value in seconds]
    return label, spread(a_run), spread([value / sample.STEPS for value in a_run], 2)


async def _measured_runs(place: Path) -> tuple[Samples, int]:
    samples = Samples()
    async with prepared(place) as contestants:
        for contestant in contestants.values():
            await contestant()  # imports, caches, the new database
        with _counted_commits() as commits:
            await contestants[YARD_MEMORY]()
        for name in in_turn(list(contestants), ROUNDS):
            started = time.perf_counter()
            await contestants[name]()
            samples.add(name, time.perf_counter() - started)
    return samples, len(commits)


@contextmanager
def _counted_commits() -> Iterator[list[Connection]]:
    """Collect an item for each transaction that is committed meanwhile."""
    commits: list[Connection] = []

    def keep(connection: Connection) -> None:
        commits.append(connection)

    event.listen(Engine, "commit", keep)
    try:
        yield commits
    finally:
        event.remove(Engine, "commit", keep)


def _measured_commits(place: Path) -> Samples:
    """Commit one row of a kilobyte with nothing between us and SQLite."""
    samples = Samples()
    databases = {mode: _database(place / f"{mode}.db", mode) for mode in ("DELETE", "WAL")}
    for mode in in_turn(list(databases), COMMITS):
        started = time.perf_counter()
        databases[mode].execute("BEGIN IMMEDIATE")
        databases[mode].execute("INSERT INTO note VALUES (?)", ("x" * 1000,))
        databases[mode].execute("COMMIT")
        samples.add(mode, time.perf_counter() - started)
    for database in databases.values():
        database.close()
    return samples


def _database(file: Path, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(file, isolation_level=None)
    database.execute(f"PRAGMA journal_mode={mode}")
    database.execute("PRAGMA synchronous=FULL")
    database.execute("CREATE TABLE note (text TEXT)")
    return database


def _print_commits(samples: Samples, commits: int) -> None:
    print(
        f"A run commits {commits} transactions, with synchronous=FULL. One commit of one row, by "
        f"`sqlite3` {sqlite3.sqlite_version} alone:\n"
    )
    print_table(
        ("journal", "ms a commit", f"ms for {commits} commits"),
        [
            (
                f"{name}, in force" if name == "WAL" else name,
                samples.of(name, scale=_MS, digits=2),
                samples.of(name, scale=_MS * commits),
            )
            for name in samples.taken
        ],
    )
