"""What runs have used together: exact, nothing twice, and unknown where it is unknown."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any  # fields of a draft

import anyio
import pytest
from pydantic_ai import RequestUsage
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from rich.console import Console
from sqlalchemy import select, update
from sqlalchemy.dialects.sqlite import dialect
from typer.testing import CliRunner, Result

from orchestrator.bootstrap import Orchestrator
from orchestrator.cli.app import app
from orchestrator.errors import InvalidInputError
from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import load_settings
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import MESSAGE, RUN, SESSION
from orchestrator.store.totals import _fitting
from orchestrator.totals import By, Total, sum_of
from tests.orchestrator.by_hand import rows

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")
USED = Usage(
    requests=2,
    tool_calls=3,
    input_tokens=1000,
    cache_read_tokens=400,
    output_tokens=50,
    cost=Decimal("0.1000000001"),
)


async def ran(store: Store, used: Usage = USED, **draft: Any) -> ClaimedRun:
    run = await store.claim(replace(DRAFT, **draft))
    ended = RunEnded(status=RunStatus.SUCCEEDED, usage=used)
    await store.end(run, ended, session_usage=None)
    return run


async def set_run(store: Store, run: ClaimedRun, **columns: object) -> None:
    await store._write(
        lambda tx: tx.connection.execute(update(RUN).where(RUN.c.pk == run.pk).values(columns))
    )


def rows_of(file: Path, statement: str, values: tuple[object, ...]) -> list[Any]:
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement, values).fetchall()


async def test_sums_are_exact_and_of_each_kind(store: Store) -> None:
    for _ in range(3):
        await ran(store)

    (total,) = await store.sessions.usage(By.AGENT)

    assert total == Total(
        of="a",
        runs=3,
        requests=6,
        tool_calls=9,
        input_tokens=3000,
        cache_read_tokens=1200,
        output_tokens=150,
        cost=Decimal("0.3000000003"),
    )


async def test_runs_of_unknown_price_are_counted_beside_the_sum(store: Store) -> None:
    await ran(store)
    await ran(store, replace_cost(None))
    await ran(store, replace_cost(Decimal(0)))
    await ran(store, replace_cost(None), agent="b")

    one, other = await store.sessions.usage(By.AGENT)

    assert (one.of, one.runs, one.cost, one.unpriced_runs) == ("a", 3, USED.cost, 1)
    assert (other.of, other.runs, other.cost, other.unpriced_runs) == ("b", 1, None, 1)


def replace_cost(cost: Decimal | None) -> Usage:
    return USED.model_copy(update={"cost": cost})


async def test_each_way_to_count_puts_the_same_runs_together(store: Store) -> None:
    first = await ran(store)
    second = await ran(store, session_id=first.session_id, model="n")
    third = await ran(store, agent="b")
    for_owner = update(SESSION).where(SESSION.c.pk == third.session_pk).values(owner="o")
    await store._write(lambda tx: tx.connection.execute(for_owner))
    today = datetime.now(UTC).date().isoformat()

    counted = {by: {t.of: t.runs for t in await store.sessions.usage(by)} for by in By}

    assert counted == {
        By.DAY: {today: 3},
        By.AGENT: {"a": 2, "b": 1},
        By.SESSION: {first.session_id: 2, third.session_id: 1},
        By.MODEL: {"m": 2, "n": 1},
        By.OWNER: {"local": 2, "o": 1},
        By.RUN: {first.id: 1, second.id: 1, third.id: 1},
    }


async def test_day_is_that_of_utc_to_the_microsecond(store: Store) -> None:
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    for moment in (midnight - timedelta(microseconds=1), midnight, midnight + timedelta(hours=12)):
        await set_run(store, await ran(store), started_at=moment)

    days = await store.sessions.usage(By.DAY)

    assert [(day.of, day.runs) for day in days] == [("2026-02-28", 1), ("2026-03-01", 2)]


async def test_filters_leave_out_all_else(store: Store) -> None:
    early = await ran(store)
    await set_run(store, early, started_at=datetime(2026, 1, 1, tzinfo=UTC))
    late = await ran(store, agent="b", model="n")
    await set_run(store, late, started_at=datetime(2026, 2, 1, tzinfo=UTC))
    february = datetime(2026, 2, 1, 2, tzinfo=timezone(timedelta(hours=2)))

    async def found(**which: object) -> list[str]:
        return [t.of for t in await store.sessions.usage(By.RUN, **which)]  # type: ignore[arg-type]  # each is one of the filters

    assert await found(since=february) == [late.id]
    assert await found(until=february) == [early.id]
    assert await found(agent="b") == await found(model="n") == [late.id]
    assert await found(session=early.session_id) == [early.id]
    assert await found(owner="nobody") == await found(agent="\0 \ud800") == []
    assert len(await found(owner="local")) == 2


async def test_usage_since_a_time_is_found_by_the_sessions_of_that_time(
    sqlite_url: str, tmp_path: Path
) -> None:
    query = _fitting(select(RUN.c.pk), {"since": datetime.now(UTC)})
    statement = query.compile(dialect=dialect(), compile_kwargs={"literal_binds": False})
    async with open_store(sqlite_url):
        plan = rows_of(tmp_path / "record.db", f"EXPLAIN QUERY PLAN {statement}", (0, 0))

    steps = [row[-1] for row in plan]
    assert any("INDEX ix_session_updated" in step for step in steps)
    assert [step for step in steps if step.startswith("SCAN")] == []


async def test_fork_does_not_count_what_its_origin_has_used(store: Store) -> None:
    origin = await store.claim(DRAFT)
    messages: list[ModelMessage] = [
        ModelRequest(parts=[UserPromptPart("go")]),
        ModelResponse(parts=[TextPart("gone")]),
    ]
    await store.record(origin, Additions(messages=messages))
    await store.end(origin, RunEnded(status=RunStatus.SUCCEEDED, usage=USED), session_usage=None)
    fork = await store.sessions.fork(origin.session_id)
    await ran(store, session_id=fork.id)

    of_fork = await store.sessions.usage(By.SESSION, session=fork.id)
    (everything,) = await store.sessions.usage(By.OWNER)

    assert [(t.of, t.runs, t.requests) for t in of_fork] == [(fork.id, 1, 2)]
    assert (everything.runs, everything.requests) == (2, 4)


async def test_run_that_another_has_started_is_counted_once(store: Store) -> None:
    """Each run's row says what its own answers have used."""
    parent, child = await ran(store), await ran(store, agent="b")
    await set_run(store, child, parent_pk=parent.pk)

    (everything,) = await store.sessions.usage(By.OWNER)

    assert (everything.runs, everything.requests) == (2, 2 * USED.requests)


async def test_run_that_goes_on_counts_with_its_finished_answers(store: Store) -> None:
    await ran(store)
    going_on = await store.claim(DRAFT)
    used = RequestUsage(input_tokens=7, cache_read_tokens=2, output_tokens=3, cost=Decimal("0.5"))
    response = ModelResponse(parts=[TextPart("so")], usage=used)
    await store.record(going_on, Additions(messages=[response]))

    (total,) = await store.sessions.usage(By.AGENT)

    assert (total.runs, total.running, total.unpriced_runs) == (2, 1, 0)
    assert (total.requests, total.input_tokens, total.output_tokens) == (3, 1007, 53)
    assert total.cost == Decimal("0.6000000001")


async def test_run_that_goes_on_and_cannot_be_read_is_of_unknown_price(store: Store) -> None:
    going_on = await store.claim(DRAFT)
    await store.record(going_on, Additions(messages=[ModelResponse(parts=[TextPart("so")])]))
    damage = update(MESSAGE).values(body="{")
    await store._write(lambda tx: tx.connection.execute(damage))

    (total,) = await store.sessions.usage(By.AGENT)

    assert (total.runs, total.cost, total.unpriced_runs) == (1, None, 1)


NO_NUMBERS = {
    "cost": "cost = 'x'",
    "broken cost": "cost = 1.5",
    "count": "requests = x'ff'",
    "huge counts": "input_tokens = 9223372036854775807",
}


@pytest.mark.parametrize("change", NO_NUMBERS.values(), ids=NO_NUMBERS)
@pytest.mark.parametrize("by", By)
async def test_damaged_run_is_named_and_all_others_are_counted(
    sqlite_url: str, by: By, change: str
) -> None:
    async with open_store(sqlite_url) as store:
        damaged, whole = await ran(store), await ran(store)
        await store.claim(replace(DRAFT, session_id=whole.session_id))
        await by_hand(store, f"UPDATE run SET {change} WHERE pk = {damaged.pk}")

        everything = sum_of(await store.sessions.usage(by), "all")

    assert everything.damaged_runs == (damaged.id,)
    assert (everything.runs, everything.running, everything.cost) == (2, 1, USED.cost)
    assert everything.input_tokens == USED.input_tokens


NO_NAME = {
    By.DAY: ("started_at = 'x'", "started_at = 1 << 62"),
    By.AGENT: ("agent = x'ff'", "agent = CAST(x'61ff' AS TEXT)"),
    By.MODEL: ("model = CAST(x'ff' AS TEXT)",),
    By.SESSION: ("session_pk = 99",),
    By.OWNER: ("session_pk = 99",),
    By.RUN: ("id = x'ff'", "id = CAST(x'1b5bff' AS TEXT)"),
}


@pytest.mark.parametrize(
    ("by", "change"), [(by, change) for by, changes in NO_NAME.items() for change in changes]
)
async def test_run_is_counted_although_what_it_is_counted_by_cannot_be_read(
    sqlite_url: str, by: By, change: str
) -> None:
    async with open_store(sqlite_url) as store:
        damaged, _ = await ran(store), await ran(store)
        unchecked(sqlite_url, f"UPDATE run SET {change} WHERE pk = {damaged.pk}")

        found = {total.of: total.runs for total in await store.sessions.usage(by)}

    assert found.pop("?") == 1
    assert [*found.values()] == [1]


async def test_what_is_no_number_in_postgres_is_named_too(postgres_record_url: str) -> None:
    async with open_store(postgres_record_url) as store:
        damaged, _ = await ran(store), await ran(store)
        await by_hand(store, f"UPDATE run SET cost = 'NaN' WHERE pk = {damaged.pk}")

        (total,) = await store.sessions.usage(By.AGENT)

    assert (total.runs, total.cost, total.damaged_runs) == (1, USED.cost, (damaged.id,))


def unchecked(url: str, statement: str) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite+aiosqlite:///"))) as database:
        database.execute(statement)
        database.commit()


async def by_hand(store: Store, statement: str) -> None:
    await store._write(lambda tx: tx.connection.exec_driver_sql(statement))


async def test_what_cost_most_comes_first(store: Store) -> None:
    for agent, cost, tokens in (("x", "1", 5), ("y", "2", 5), ("w", None, 9), ("v", None, 10)):
        price = None if cost is None else Decimal(cost)
        await ran(store, Usage(cost=price, input_tokens=tokens), agent=agent)

    assert [t.of for t in await store.sessions.usage(By.AGENT)] == ["y", "x", "v", "w"]


async def test_record_without_runs_has_no_totals(store: Store) -> None:
    assert await store.sessions.usage() == ()


async def test_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(InvalidInputError, match="no time zone"):
        await store.sessions.usage(since=datetime(2026, 1, 1))


async def test_yard_counts_in_the_ways_that_there_are(yard: Orchestrator) -> None:
    await yard.run("repo_guide", "What is this?", model="offline")

    (total,) = await yard.usage(by="agent", since=datetime.now(UTC) - timedelta(hours=1))

    assert (total.of, total.runs, total.cost) == ("repo_guide", 1, Decimal(0))
    with pytest.raises(InvalidInputError, match="by day, agent, session, model, owner, run"):
        await yard.usage(by="week")


def workyard(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


@pytest.fixture
def on_record() -> None:
    async def fill() -> None:
        async with open_store(load_settings().effective_database_url) as store:
            await ran(store)
            await ran(store, replace_cost(None), agent="b")
            await ran(store, replace_cost(Decimal("0.2")), agent="\x1b[31mc")

    anyio.run(fill)


@pytest.mark.usefixtures("on_record")
def test_usage_is_a_table_whose_unknown_prices_are_told() -> None:
    done = workyard("usage", "--by", "agent")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1][0] == "\\x1b[31mc"
    assert lines[1][-1] == "$0.2000"
    assert lines[3] == ["b", "1", "2", "3", "1,000", "400", "50", "unknown"]
    assert lines[4] == ["all", "3", "6", "9", "3,000", "1,200", "150", "$0.3000", "+", "?"]
    assert "No price is known for 1 of 3 runs" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.usefixtures("on_record")
def test_usage_is_one_json_object_with_exact_costs() -> None:
    found = json.loads(workyard("usage", "--by", "agent", "--json").stdout)

    assert found["by"] == "agent"
    assert [total["cost"] for total in found["totals"]] == ["0.2", "0.1000000001", None]
    assert (found["all"]["cost"], found["all"]["unpriced_runs"]) == ("0.3000000001", 1)


@pytest.mark.usefixtures("on_record")
def test_usage_without_a_damaged_run_says_so_and_exits_as_a_damaged_record_does() -> None:
    ((run_id,),) = rows("SELECT id FROM run WHERE agent = 'a'")
    rows("UPDATE run SET cost = 'x' WHERE agent = 'a'")

    shown = workyard("usage", "--by", "agent")
    found = workyard("usage", "--json")

    assert (shown.exit_code, found.exit_code) == (6, 6)
    assert f"Damaged, and in no figure here: run {run_id}." in shown.stderr
    assert shown.stdout.splitlines()[-3].split()[:2] == ["all", "2"]
    assert json.loads(found.stdout)["all"]["damaged_runs"] == [run_id]


@pytest.mark.parametrize(
    ("since", "runs"), [("2h", 3), ("30min", 3), ("7d", 3), ("2100-01-01", 0), ("1000-01-01", 3)]
)
@pytest.mark.usefixtures("on_record")
def test_usage_since_a_day_a_time_or_so_long_ago(since: str, runs: int) -> None:
    found = json.loads(workyard("usage", "--since", since, "--json").stdout)

    assert found["all"]["runs"] == runs


@pytest.mark.parametrize("when", ["yesterday", "7", "999999d", "2026-13-01", "", "٣d"])
def test_time_that_is_none_is_refused_with_the_ways_to_write_one(when: str) -> None:
    done = workyard("usage", "--since", when)

    assert done.exit_code == 2
    assert "is no time: write a day as" in done.stderr


@pytest.mark.usefixtures("on_record")
@pytest.mark.parametrize("width", [40, 90, 120])
def test_bars_on_a_terminal_fill_its_width_and_no_more(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    screen = StringIO()
    terminal = Console(file=screen, force_terminal=True, color_system=None, width=width)
    monkeypatch.setattr("orchestrator.cli.usage.stdout", terminal)

    workyard("usage", "--by", "agent")

    lines = screen.getvalue().splitlines()
    bars = [line.count("█") for line in lines[1:3]]
    assert all(len(line) <= width for line in lines)
    if width == 120:
        assert bars[0] > 20
        assert bars[0] // 2 - 1 <= bars[1] <= bars[0] // 2 + 1
    elif width == 40:
        assert bars == [0, 0]
