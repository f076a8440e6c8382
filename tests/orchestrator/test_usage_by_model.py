"""Usage by model counts what has answered, and nothing twice."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import anyio
import pytest
from pydantic_ai import RequestUsage
from pydantic_ai.messages import ModelRequestAttempt, ModelResponse, TextPart
from sqlalchemy import Engine, event, update

from orchestrator.cli.usage import _cost
from orchestrator.events import ModelStoodIn, RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.settings import load_settings
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import MESSAGE
from orchestrator.store.usage import used_by
from orchestrator.totals import By, Total, sum_of
from tests.orchestrator.by_hand import workyard

FIRST, OTHER = "p:first", "q:other"
DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model=FIRST, prompt="go", inputs={}, root="/r")


def answer(tokens: int, cost: str | None, *, stands_in: bool = False) -> ModelResponse:
    usage = RequestUsage(
        input_tokens=tokens, output_tokens=1, cost=None if cost is None else Decimal(cost)
    )
    provider, _, model = (OTHER if stands_in else FIRST).partition(":")
    failed = ModelRequestAttempt(
        provider_name="p",
        model_name="first",
        outcome="error",
        timestamp=datetime.now(UTC),
        duration=timedelta(seconds=1),
    )
    return ModelResponse(
        parts=[TextPart("so")],
        usage=usage,
        provider_name=provider,
        model_name=model,
        timestamp=datetime.now(UTC),
        failed_attempts=[failed] if stands_in else None,
    )


async def answered(store: Store, run: ClaimedRun, answers: Sequence[ModelResponse]) -> None:
    events = [
        ModelStoodIn(model=OTHER, failed=(FIRST,)) for each in answers if each.failed_attempts
    ]
    await store.record(run, Additions(messages=[*answers], events=[*events]))


async def ended(
    store: Store, run: ClaimedRun, answers: Sequence[ModelResponse], status: RunStatus
) -> None:
    used = used_by(answers, tool_calls=4)
    await store.end(run, RunEnded(status=status, usage=used), session_usage=None)


async def ran(store: Store, *answers: ModelResponse) -> ClaimedRun:
    run = await store.claim(DRAFT)
    await answered(store, run, answers)
    await ended(store, run, answers, RunStatus.SUCCEEDED)
    return run


async def by_model(store: Store) -> dict[str, Total]:
    found = await store.sessions.usage(By.MODEL)
    plain = sum_of(await store.sessions.usage(By.AGENT), "all")
    together = sum_of(found, "all")
    assert (together.runs, together.requests, together.tool_calls, together.input_tokens) == (
        *(plain.runs, plain.requests, plain.tool_calls, plain.input_tokens),
    )
    return {total.of: total for total in found}


async def test_answers_of_a_stand_in_count_with_it(store: Store) -> None:
    await ran(store, answer(10, "0.1"), answer(20, "0.02", stands_in=True), answer(30, "0.3"))
    await ran(store, answer(1, "0.5"))

    found = await by_model(store)

    assert found == {
        FIRST: Total(
            of=FIRST,
            runs=2,
            requests=3,
            tool_calls=8,
            input_tokens=41,
            output_tokens=3,
            cost=Decimal("0.9"),
        ),
        OTHER: Total(of=OTHER, requests=1, input_tokens=20, output_tokens=1, cost=Decimal("0.02")),
    }


async def test_model_that_has_answered_nothing_has_cost_nothing(store: Store) -> None:
    await ran(store, answer(20, "0.02", stands_in=True))

    found = await by_model(store)

    assert (found[FIRST].runs, found[FIRST].requests, found[FIRST].cost) == (1, 0, Decimal(0))
    assert found[OTHER].cost == Decimal("0.02")


@pytest.mark.parametrize(
    ("first", "other", "costs", "unpriced"),
    [
        ("0.1", None, (Decimal("0.1"), None), (0, 1)),
        (None, "0.02", (None, Decimal("0.02")), (1, 0)),
        (None, None, (None, None), (1, 1)),
    ],
)
async def test_price_that_is_not_known_is_that_of_who_has_answered(
    store: Store,
    first: str | None,
    other: str | None,
    costs: tuple[Decimal | None, Decimal | None],
    unpriced: tuple[int, int],
) -> None:
    await ran(store, answer(10, first), answer(20, other, stands_in=True))

    found = await by_model(store)

    assert (found[FIRST].cost, found[OTHER].cost) == costs
    assert (found[FIRST].unpriced_runs, found[OTHER].unpriced_runs) == unpriced
    assert _cost(found[OTHER]) == ("unknown" if other is None else "$0.0200")


async def test_answers_of_a_run_that_goes_on_with_another_model_count_with_that(
    store: Store,
) -> None:
    run, before = await store.claim(DRAFT), answer(10, "0.1")
    await answered(store, run, [before])
    await ended(store, run, [before], RunStatus.FAILED)
    again = replace(DRAFT, session_id=run.session_id, model=OTHER)
    resumed = await store.resume(again, run.id)
    await answered(store, resumed, [answer(20, "0.02")])

    going_on = await by_model(store)
    assert (going_on[FIRST].input_tokens, going_on[OTHER].input_tokens) == (10, 20)
    assert (going_on[FIRST].running, going_on[OTHER].running) == (1, 0)
    assert (going_on[FIRST].cost, going_on[OTHER].cost) == (Decimal("0.1"), Decimal("0.02"))


async def test_run_that_goes_on_with_its_model_stays_with_it(store: Store) -> None:
    run, before = await store.claim(DRAFT), answer(10, "0.1")
    await answered(store, run, [before])
    await ended(store, run, [before], RunStatus.FAILED)
    resumed = await store.resume(replace(DRAFT, session_id=run.session_id), run.id)
    await answered(store, resumed, [answer(20, "0.02")])

    found = await by_model(store)

    assert {of: total.input_tokens for of, total in found.items()} == {FIRST: 30}


async def test_filters_leave_out_what_others_have_answered_in_those_runs(store: Store) -> None:
    await ran(store, answer(20, "0.02", stands_in=True))

    assert await store.sessions.usage(By.MODEL, agent="b") == ()
    assert await store.sessions.usage(By.MODEL, until=datetime(2026, 1, 1, tzinfo=UTC)) == ()
    of_first = await store.sessions.usage(By.MODEL, model=FIRST)
    assert [total.of for total in of_first] == [OTHER, FIRST]
    assert await store.sessions.usage(By.MODEL, model=OTHER) == ()


async def test_run_whose_answers_cannot_be_read_stays_with_its_first_model(store: Store) -> None:
    broken = await ran(store, answer(20, "0.02", stands_in=True))
    await ran(store, answer(1, "0.5", stands_in=True))
    damage = update(MESSAGE).where(MESSAGE.c.run_pk == broken.pk).values(body="{")
    await store._write(lambda tx: tx.connection.execute(damage))

    found = await by_model(store)

    assert {of: total.input_tokens for of, total in found.items()} == {FIRST: 20, OTHER: 1}


async def test_of_a_damaged_run_nothing_is_moved(sqlite_url: str) -> None:
    async with open_store(sqlite_url) as store:
        damaged = await ran(store, answer(20, "0.02", stands_in=True))
        await ran(store, answer(1, "0.5"))
        change = f"UPDATE run SET cost = 'x' WHERE pk = {damaged.pk}"
        await store._write(lambda tx: tx.connection.exec_driver_sql(change))

        (found,) = await store.sessions.usage(By.MODEL)

    assert (found.of, found.input_tokens, found.damaged_runs) == (FIRST, 1, (damaged.id,))


async def test_answers_are_read_of_those_runs_alone_in_which_others_answered(
    store: Store,
) -> None:
    """Among a million answers, these are few."""
    for _ in range(3):
        await ran(store, answer(1, "0.1"))
    await ran(store, answer(1, "0.1", stands_in=True))
    failed = await store.claim(DRAFT)
    await ended(store, failed, [], RunStatus.FAILED)
    again = await store.resume(replace(DRAFT, session_id=failed.session_id), failed.id)
    await ended(store, again, [], RunStatus.FAILED)
    read: list[str] = []

    def note(_c: object, _x: object, statement: str, *_: object) -> None:
        if "FROM message" in statement and "'response'" not in statement:
            read.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        await store.sessions.usage(By.MODEL)
        count = len(read)
        await store.sessions.usage(By.AGENT)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert 1 <= count <= 2  # its answers, and its summaries
    assert len(read) == count


def test_command_line_says_what_a_run_counts_with() -> None:
    async def fill() -> None:
        async with open_store(load_settings().effective_database_url) as store:
            await ran(store, answer(10, "0.1"), answer(20, None, stands_in=True))

    anyio.run(fill)
    done = workyard("usage", "--by", "model")

    lines = [line.split() for line in done.stdout.splitlines()]
    assert [FIRST, "1", "1", "4", "10", "0", "1", "$0.1000"] in lines
    assert [OTHER, "0", "1", "0", "20", "0", "1", "unknown"] in lines
    assert ["all", "1", "2", "4", "30", "0", "2", "$0.1000", "+", "?"] in lines
    assert "Runs and tool calls count with the model with which a run began" in done.stdout
    assert "No price is known for 1 of 1 runs" in done.stdout
