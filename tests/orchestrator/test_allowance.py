"""What the operator lets a session use, and an owner in a day, whatever specs say."""

from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any  # a query of any columns

import anyio
import pytest
from sqlalchemy import Select, event
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import Engine

from orchestrator.bootstrap import Orchestrator
from orchestrator.budget.allowance import limits_of
from orchestrator.connections import InProcessConnection
from orchestrator.errors import InvalidInputError, LimitError
from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.mapping import Task
from orchestrator.settings import Settings, load_settings
from orchestrator.store.claimed import ClaimedRun, RunDraft
from orchestrator.store.spending import BELOW, MADE, SINCE, Spent
from orchestrator.store.store import Store
from tests.orchestrator.by_hand import rows
from tests.orchestrator.small import PRICE, Small
from tests.orchestrator.test_budget import unpriced
from tests.orchestrator.test_teams import READS, delegate, spec, team_of


def opened(
    project: Path, tmp_path: Path, **limits: object
) -> AbstractAsyncContextManager[Orchestrator]:
    """Return a yard with an operator's limits, and agents `chief` and `reader`."""
    specs = tmp_path / "specs"
    specs.mkdir(exist_ok=True)
    (specs / "reader.yaml").write_text(spec("reader", READS))
    (specs / "chief.yaml").write_text(spec("chief", READS, "SubAgents: {agents: [reader]}"))
    settings = load_settings().model_copy(update=limits)
    return Orchestrator.open(project, specs=specs, settings=settings, connect=InProcessConnection)


def model(rounds: int = 0) -> Small:
    """Return a model whose answers cost a cent each, the last one after so many rounds of calls."""
    return Small(100_000, rounds=rounds, calls=[("read_file", '{"path": "README.md"}')])


async def test_session_ends_where_its_limit_is_and_another_one_begins_anew(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, budget_session_usd=2 * PRICE) as yard:
        first = await yard.run("reader", "one", model=model().model())
        await yard.run("reader", "two", model=model().model(), session_id=first.session_id)
        with pytest.raises(LimitError, match=r"0\.02 US dollars of a session is used up") as caught:
            await yard.run("reader", "three", model=model().model(), session_id=first.session_id)

        assert "WORKYARD_BUDGET_SESSION_USD" in str(caught.value)
        assert (await yard.run("reader", "four", model=model().model())).output


async def test_limit_holds_within_a_run_and_leaves_a_record_that_can_go_on(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, budget_session_usd=2 * PRICE) as yard:
        handle = await yard.start("reader", "go", model=model(rounds=5).model())
        with pytest.raises(LimitError):
            await handle.result()
        (run,) = await yard.sessions.runs(handle.claimed.session_id)
        assert (run.status, run.error_code, run.requests) == ("failed", "limit", 2)

    async with opened(project, tmp_path, budget_session_usd=4 * PRICE) as yard:
        again = await yard.resume(handle.claimed.session_id, model=model(rounds=5).model())
        with pytest.raises(LimitError):
            await again.result()
        (run,) = await yard.sessions.runs(handle.claimed.session_id)

    assert run.requests == 4


async def test_day_of_an_owner_ends_where_its_limit_is_and_others_go_on(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, budget_day_usd=2 * PRICE) as yard:
        for owner in ("ann", "ann", "bob"):
            await yard.run("reader", "go", model=model().model(), owner=owner)
        with pytest.raises(LimitError, match=r"0\.02 US dollars of a day is used up: 0.02 so far"):
            await yard.run("reader", "go", model=model().model(), owner="ann")

        assert (await yard.run("reader", "go", model=model().model(), owner="bob")).output


async def test_a_new_day_begins_anew(project: Path, tmp_path: Path) -> None:
    async with opened(project, tmp_path, budget_day_usd=PRICE) as yard:
        first = await yard.run("reader", "go", model=model().model())
        a_day = 24 * 60 * 60 * 1_000_000
        rows("UPDATE run SET started_at = started_at - ?", a_day)
        rows("UPDATE session SET updated_at = updated_at - ?", a_day)

        same = first.session_id
        assert (await yard.run("reader", "go", model=model().model(), session_id=same)).output
        with pytest.raises(LimitError):
            await yard.run("reader", "go", model=model().model(), session_id=same)


async def test_tokens_can_be_limited_too(project: Path, tmp_path: Path) -> None:
    async with opened(project, tmp_path, budget_day_tokens=1) as yard:
        await yard.run("reader", "Some words to count.", model=model().model())
        with pytest.raises(LimitError, match="1 tokens of a day is used up"):
            await yard.run("reader", "go", model=model().model())


async def test_runs_under_way_count_for_their_owner(project: Path, tmp_path: Path) -> None:
    """The record has their sums only when they have ended."""
    asked, goes_on = anyio.Event(), anyio.Event()

    async def wait() -> str:
        asked.set()
        await goes_on.wait()
        return "Done."

    read = [("read_file", {"path": "README.md"})]
    async with opened(project, tmp_path, budget_day_tokens=100) as yard:
        slow = team_of(reader=[read, wait])
        handle = await yard.start("reader", "go", model=slow)
        with anyio.fail_after(30):
            await asked.wait()
        with pytest.raises(LimitError, match="100 tokens of a day"):
            await yard.run("reader", "go", model=team_of(reader=[read, "Done."]))
        goes_on.set()
        await handle.result()


async def test_delegates_count_for_the_session_and_the_owner_of_who_asks(
    project: Path, tmp_path: Path
) -> None:
    read = [("read_file", {"path": "README.md"})]
    team = team_of(chief=[[delegate("reader")], "Done."], reader=[read, "Read."])
    async with opened(project, tmp_path, budget_session_tokens=100) as yard:
        handle = await yard.start("chief", "go", model=team)
        with pytest.raises(LimitError, match="100 tokens of a session"):
            await handle.result()
        used = {total.of: total.requests for total in await yard.usage(by="agent")}

    assert used == {"chief": 1, "reader": 1}


async def test_delegates_of_earlier_runs_count_for_the_session(
    project: Path, tmp_path: Path
) -> None:
    team = team_of(chief=[[delegate("reader")], "Done."], reader=["Read."])
    async with opened(project, tmp_path) as yard:
        first = await yard.run("chief", "go", model=team)
        used = sum(t.input_tokens + t.output_tokens for t in await yard.usage(by="agent"))
        own = first.usage.input_tokens + first.usage.output_tokens
    assert own < used

    async with opened(project, tmp_path, budget_session_tokens=used) as yard:
        with pytest.raises(LimitError, match=f"tokens of a session is used up: {used} so far"):
            await yard.run("chief", "go", model=team, session_id=first.session_id)


async def test_tasks_of_a_map_count_for_their_owner(project: Path, tmp_path: Path) -> None:
    async with opened(project, tmp_path, budget_day_usd=2 * PRICE) as yard:
        tasks = [Task(prompt=f"Task {number}") for number in range(4)]
        results = yard.map("reader", tasks, name="m", at_once=1, model=model().model())
        ended = [type(result.error) async for result in results]

    assert ended == [type(None), type(None), LimitError, LimitError]


async def test_model_without_a_price_is_refused_where_the_operator_limits_cost(
    project: Path, tmp_path: Path
) -> None:
    async with opened(project, tmp_path, budget_day_usd=Decimal(1)) as yard:
        with pytest.raises(InvalidInputError, match="WORKYARD_BUDGET_DAY_USD limits it"):
            await yard.run("reader", "go", model=unpriced())
        assert await yard.sessions.latest() == []


async def test_nothing_is_looked_up_where_nothing_is_limited(project: Path, tmp_path: Path) -> None:
    said: list[str] = []

    def hear(conn, cursor, statement, *_: object) -> None:  # type: ignore[no-untyped-def]  # SQLAlchemy's
        said.append(statement)

    event.listen(Engine, "before_cursor_execute", hear)
    sums: list[int] = []
    try:
        for limits in ({}, {"budget_session_usd": Decimal(1)}, {"budget_day_usd": Decimal(1)}):
            said.clear()
            async with opened(project, tmp_path, **limits) as yard:
                await yard.run("reader", "go", model=model(rounds=2).model())
            sums.append(sum("sum(run.cost)" in one for one in said))
    finally:
        event.remove(Engine, "before_cursor_execute", hear)

    # A day is looked up before each of three requests, a session's delegates once.
    assert sums == [0, 1, 3]


@pytest.mark.parametrize("query", [SINCE, BELOW, MADE])
async def test_what_is_looked_up_is_found_by_indexes_alone(
    project: Path, tmp_path: Path, query: Select[Any]
) -> None:
    async with opened(project, tmp_path) as yard:
        await yard.run("reader", "go", model=model().model())
    compiled = query.compile(dialect=SQLiteDialect_pysqlite())
    assert compiled.positiontup is not None

    plan = rows(f"EXPLAIN QUERY PLAN {compiled}", *(1 for _ in compiled.positiontup))

    assert any("SEARCH run USING" in step[-1] for step in plan)
    assert [
        step[-1]
        for step in plan
        if step[-1].startswith(("SCAN run", "SCAN session", "SCAN tool_call"))
    ] == []


async def ended(
    store: Store, owner: str, cost: Decimal | None, parent_pk: int | None = None
) -> ClaimedRun:
    """Put a run on record that has ended."""
    run = await store.claim(
        RunDraft(
            agent="a",
            spec_sha256="0" * 64,
            model="m",
            prompt="p",
            inputs={},
            root="/r",
            owner=owner,
            parent_pk=parent_pk,
        )
    )
    usage = Usage(requests=1, input_tokens=10, output_tokens=5, cost=cost)
    await store.end(run, RunEnded(status=RunStatus.SUCCEEDED, usage=usage), session_usage=None)
    return run


async def test_spending_is_added_up_in_either_database(store: Store) -> None:
    an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
    await ended(store, "ann", Decimal("0.5"))
    await ended(store, "ann", None)
    chief = await ended(store, "bob", Decimal(7))
    middle = await ended(store, "bob", Decimal(1), chief.pk)
    await ended(store, "bob", Decimal(2), middle.pk)
    sessions = store.sessions

    assert await sessions.owner_of(chief.session_pk) == "bob"
    assert await sessions.spent_since("ann", an_hour_ago) == Spent(Decimal("0.5"), 30)
    assert await sessions.spent_since("ann", datetime.now(UTC)) == Spent(Decimal(), 0)
    assert await sessions.spent_since("nobody", an_hour_ago) == Spent(Decimal(), 0)
    assert await sessions.spent_by_delegates(chief.session_pk) == Spent(Decimal(3), 30)


@pytest.mark.parametrize("value", ["0", "-1", "lots", "nan", "inf"])
@pytest.mark.parametrize("name", ["SESSION_USD", "DAY_USD", "SESSION_TOKENS", "DAY_TOKENS"])
def test_limit_that_is_none_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A limit that was misspelt must not be none."""
    monkeypatch.setenv(f"WORKYARD_BUDGET_{name}", value)

    with pytest.raises(InvalidInputError, match=f"WORKYARD_BUDGET_{name}"):
        load_settings()


def test_limits_are_those_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKYARD_BUDGET_DAY_USD", "2.50")

    (limit,) = limits_of(load_settings())

    assert (limit.of, limit.unit, limit.limit) == ("day", "US dollars", Decimal("2.50"))
    assert limits_of(Settings()) == (limit,)
