"""Runs killed at random moments go on: nothing that was settled is lost, nothing is done twice."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest
from anyio.to_thread import run_sync
from pydantic_ai.messages import ModelMessage, ModelResponse
from sqlalchemy import Connection, select

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import NotResumableError
from orchestrator.events import RecordedEvent, RunEnded, ToolCalled, ToolReturned
from orchestrator.store.tables import RUN, TOOL_CALL, SessionRow
from tests.orchestrator.doomed import follow_script, fork
from tests.orchestrator.played import record_of
from tests.orchestrator.scripted import (
    CHANGES,
    DONE,
    FILES,
    LOG,
    STEPS,
    Place,
    Tapped,
    check_valid,
)

EVENTS = 36
"""About how many events the script has; kills are spread over them."""

JITTER_S = 0.03

AT_ONCE = 3

long = pytest.mark.long


@dataclass(frozen=True)
class Settled:
    """What was on record when a process had died."""

    answers: int
    returned: Mapping[str, str]
    """The ids of calls that had a result, and their tools."""


def settled(db: Connection, session: SessionRow) -> Settled:
    query = select(TOOL_CALL.c.call_id, TOOL_CALL.c.tool).join(RUN, RUN.c.pk == TOOL_CALL.c.run_pk)
    of_session = (RUN.c.session_pk == session.pk, TOOL_CALL.c.outcome.is_not(None))
    returned = {row.call_id: row.tool for row in db.execute(query.where(*of_session))}
    return Settled(answers=0, returned=returned)


async def killed(place: Place, dice: random.Random, session_id: str | None = None) -> str:
    """Let a process follow the script, or go on with it, and die; return the session."""
    process, line = await run_sync(fork, follow_script, place, session_id)

    def watch() -> str:
        last = dice.randrange(EVENTS)
        found: str = line.recv()
        seen = 0
        try:
            while seen < last and line.recv() is not None:
                seen += 1
        except EOFError:  # it had not so much to do
            return found
        if line.poll(dice.uniform(0, JITTER_S)):
            line.poll(dice.uniform(0, JITTER_S))
        return found

    try:
        return await run_sync(watch)
    finally:
        process.kill()
        await run_sync(process.join)
        line.close()


async def look(yard: Orchestrator, session_id: str) -> Settled:
    found = await yard.sessions.look(session_id, settled)
    answers = [m for m in await yard.sessions.messages(session_id) if isinstance(m, ModelResponse)]
    return Settled(answers=len(answers), returned=found.returned)


async def check_resumed(place: Place, session_id: str, dice: random.Random) -> None:
    """Let the run go on to its end, and compare with one that nobody killed."""
    async with place.yard() as yard:
        before = await look(yard, session_id)
        asked, called = len(place.asked()), len(place.called())
        try:
            result = await (await yard.resume(session_id, model=place.model())).result()
            assert result.output == DONE
        except NotResumableError:  # it had come to its end
            pass
        (run,) = await yard.sessions.runs(session_id)
        session = await yard.sessions.get(session_id)
        events = await record_of(yard, session_id)
        messages = await yard.sessions.messages(session_id)
        changes = await yard.changes(limit=99)
        turn = await yard.run("talker", "on", model=place.keeping([]), session_id=session_id)
        left = place.files()
        await yard.undo(run=run.id)

    assert left == FILES
    assert place.files() == {"log.txt": "END\n"}
    assert (run.status, run.output) == ("succeeded", DONE)
    assert session.status == "idle"
    # No answer that was settled is asked for again, and each of the others once.
    assert place.asked()[asked:] == [*range(before.answers, len(STEPS) + 1)]
    # No call that had returned is made again.
    again = place.called()[called:]
    for call_id in before.returned:
        _, step, index = call_id.split(".")
        assert STEPS[int(step)][int(index)] not in again
    # Each change is made once, whoever was killed, and all of them are the run's.
    assert len(changes) == CHANGES
    assert {change.run_id for change in changes} == {run.id}
    check_record(events, messages)
    counted = sum(len(step) for step in STEPS) - 1  # one of them fails
    assert (run.requests, run.tool_calls) == (len(STEPS) + 1, counted)
    assert (session.usage["requests"], session.usage["tool_calls"]) == (len(STEPS) + 1, counted)
    assert turn.output == "ok"


def check_record(events: Sequence[RecordedEvent], messages: list[ModelMessage]) -> None:
    """Hold that everything is told once, in order, and that a provider takes the history."""
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    ids = [f"1.{s}.{i}" for s, step in enumerate(STEPS) for i in range(len(step))]
    called = [e.event.call_id for e in events if isinstance(e.event, ToolCalled)]
    returned = [e.event.call_id for e in events if isinstance(e.event, ToolReturned)]
    assert sorted(called) == sorted(returned) == ids
    ends = [e.event.status for e in events if isinstance(e.event, RunEnded)]
    assert ends == ["interrupted"] * (len(ends) - 1) + ["succeeded"]
    answers = [message for message in messages if isinstance(message, ModelResponse)]
    assert len(answers) == len(STEPS) + 1


async def check_new_turn(place: Place, session_id: str) -> None:
    """Let another turn come instead: it gets a history that is true and that a provider takes."""
    given: list[list[ModelMessage]] = []
    async with place.yard() as yard:
        before = await look(yard, session_id)
        called = len(place.called())
        model = place.keeping(given)
        result = await yard.run("talker", "what is done?", model=model, session_id=session_id)
        runs = await yard.sessions.runs(session_id)
        changes = await yard.changes(limit=99)

    assert result.output == "ok"
    assert runs[0].status in ("interrupted", "succeeded")
    assert runs[-1].status == "succeeded"
    check_valid(given[0])
    parts = [p for m in given[0] for p in m.parts if p.part_kind == "tool-return"]
    known = {p.tool_call_id for p in parts if p.outcome != "interrupted"}
    assert known == before.returned.keys()
    assert len(place.called()) == called
    log = (place.root / "log.txt").read_text()
    assert all(log.count(line) <= 1 for line in LOG)
    assert len(changes) <= CHANGES


async def moment(place: Place, seed: int) -> None:
    """Kill a run at a random moment, or at several, and see that it goes on."""
    dice = random.Random(seed)
    place.furnish()
    session_id = await killed(place, dice)
    while dice.random() < 0.3:
        async with place.yard() as yard:
            (run,) = await yard.sessions.runs(session_id)
        if run.status == "succeeded":
            break
        await killed(place, dice, session_id)
    if dice.random() < 0.25:
        await check_new_turn(place, session_id)
    else:
        await check_resumed(place, session_id, dice)


@pytest.mark.parametrize("kills", [pytest.param(300, marks=long), 12])
async def test_run_killed_at_any_moment_goes_on_and_does_everything_once(
    tmp_path: Path, kills: int
) -> None:
    limiter = anyio.CapacityLimiter(AT_ONCE)

    async def one(seed: int) -> None:
        async with limiter:
            base = tmp_path / str(seed)
            connect = InProcessConnection if seed % 3 else Tapped
            place = Place(base, f"sqlite+aiosqlite:///{base / 'data' / 'record.db'}", connect)
            try:
                await moment(place, seed)
            except BaseException as error:
                error.add_note(f"at the moment of seed {seed}")
                raise

    async with anyio.create_task_group() as tasks:
        for seed in range(kills):
            tasks.start_soon(one, seed)
