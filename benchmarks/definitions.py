"""Definitions on record: what looking one up and listing them costs as they become thousands."""

import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

import anyio
from pydantic import JsonValue

from benchmarks.measure import print_heading, print_table, spread
from orchestrator.catalogue import Catalogue
from orchestrator.definition import Edit, Visibility
from orchestrator.definitions.definitions import Definitions
from orchestrator.spec_source import FROM_A_FILE
from orchestrator.specs import read_spec
from orchestrator.store import definitions as stored
from orchestrator.store.store import Store, open_store
from orchestrator.store.writer import Transaction

SIZES = (1_000, 4_000, 16_000)
"""Definitions, each with two versions."""
VERSIONS = (10, 100, 1_000)
"""Versions of one definition."""
ROUNDS = 30
OWNERS = 10
BATCH = 500

Work = Callable[[int], Awaitable[object]]


def run(place: Path) -> None:
    """Measure in a directory of our own, and print."""
    print_heading("Definitions on record")
    print(
        f"On SQLite, in this process; {ROUNDS} rounds each. Median (least to greatest), in ms; the "
        f"definitions belong to {OWNERS} owners, a tenth of them are shared, and each has two "
        "versions.\n"
    )
    by_size = {size: anyio.run(_with_many, place, size) for size in SIZES}
    _print("definitions", by_size)
    by_version = {count: anyio.run(_with_versions, place, count) for count in VERSIONS}
    _print("versions of one", by_version)


def _print(what: str, measured: Mapping[int, Mapping[str, list[float]]]) -> None:
    sizes = list(measured)
    columns = (what, *(f"{size:,}" for size in sizes), "last to first")
    rows = []
    for name in measured[sizes[0]]:
        taken = [measured[size][name] for size in sizes]
        growth = statistics.median(taken[-1]) / statistics.median(taken[0])
        rows.append((name, *(spread(times, 2) for times in taken), f"{growth:.2f}"))
    print_table(columns, rows)


async def _with_many(place: Path, size: int) -> dict[str, list[float]]:
    async with open_store(f"sqlite+aiosqlite:///{place / f'{size}.db'}") as store:
        for first in range(0, size, BATCH):
            await store.access.write(partial(_fill, range(first, min(first + BATCH, size))))
        return await _looked_up(store, size)


def _fill(numbers: range, tx: Transaction) -> None:
    for number in numbers:
        owner, name = _named(number)
        visibility = Visibility.SHARED if number % 10 == 3 else Visibility.PRIVATE
        stored.create(owner, _edit(name, 0), visibility, tx)
        stored.add_version(owner, _edit(name, 1), None, 1, tx)


async def _looked_up(store: Store, size: int) -> dict[str, list[float]]:
    owner, name = _named(size // 2)
    definitions = Definitions(store.access, Catalogue(())).of(owner)
    sha256 = (await definitions.get(name)).sha256
    new = iter(range(size, size + 2 * ROUNDS))

    async def create(_: int) -> None:
        await definitions.create(_values(f"new_{next(new)}", 0))

    async def edit(number: int) -> None:
        await definitions.edit(name, _values(name, number + 2), made_from=number + 2)

    return {
        "look one up": await _times(lambda _: definitions.get(name)),
        "list a page of 100": await _times(lambda _: definitions.list(limit=100)),
        "list a page of the shared": await _times(
            lambda _: definitions.list(limit=100, cursor="a/a")
        ),
        "name the version of a hash": await _times(lambda _: definitions.with_hash(sha256)),
        "create": await _times(create),
        "edit": await _times(edit),
    }


async def _with_versions(place: Path, count: int) -> dict[str, list[float]]:
    async with open_store(f"sqlite+aiosqlite:///{place / f'versions{count}.db'}") as store:

        def fill(tx: Transaction) -> None:
            stored.create("local", _edit("one", 0), Visibility.PRIVATE, tx)
            for number in range(1, count):
                stored.add_version("local", _edit("one", number), None, number, tx)

        await store.access.write(fill)
        definitions = Definitions(store.access, Catalogue(()))

        async def edit(number: int) -> None:
            made_from = count + number
            await definitions.edit("one", _values("one", made_from), made_from=made_from)

        return {
            "look up the current one": await _times(lambda _: definitions.get("one")),
            "look up the first": await _times(lambda _: definitions.get("one", version=1)),
            "list the latest 10": await _times(lambda _: definitions.versions("one", limit=10)),
            "edit": await _times(edit),
        }


async def _times(work: Work) -> list[float]:
    taken = []
    for number in range(ROUNDS):
        started = time.perf_counter()
        await work(number)
        taken.append((time.perf_counter() - started) * 1000)
    return taken


def _named(number: int) -> tuple[str, str]:
    return f"owner{number % OWNERS}", f"agent_{number:06d}"


def _values(name: str, number: int) -> dict[str, JsonValue]:
    grant: JsonValue = {"WorkspaceTools": {"tools": ["read_file", "grep"], "read": ["**"]}}
    budget: JsonValue = {"Budget": {"requests": 40, "total_tokens": 400_000, "cost_usd": 0.75}}
    return {
        "name": name,
        "description": f"Does what version {number} does.",
        "instructions": "You do one thing, and do it with care.\n" * 40,
        "capabilities": [grant, budget],
    }


def _edit(name: str, number: int) -> Edit:
    values = _values(name, number)
    sha256 = read_spec(values, Path(name), FROM_A_FILE).sha256
    return Edit(name=name, sha256=sha256, spec=json.dumps(values), by="bench")
