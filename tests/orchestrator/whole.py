"""What is true of every record in which nothing is under way, however the runs in it have ended."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any  # rows of several tables

from pydantic_ai.messages import ModelRequest, ModelResponse
from sqlalchemy import Connection, Row, select

from orchestrator.bootstrap import Orchestrator
from orchestrator.events import (
    AgentAsked,
    AgentMessage,
    ApprovalDecided,
    ApprovalRequested,
    FileChanged,
    RecordedEvent,
    RunEnded,
    RunResumed,
    RunStarted,
    ToolCalled,
    ToolReturned,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.store.ending import COUNTED
from orchestrator.store.tables import RUN, SESSION
from tests.orchestrator.played import record_of
from tests.orchestrator.scripted import check_valid

_RUNS = (
    select(
        RUN,
        SESSION.c.id.label("session_id"),
        *(SESSION.c[name] for name in ("active_run_pk", "last_event_seq", "usage")),
    )
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .order_by(RUN.c.pk)
)
_WRITING = ("edit_file", "write_file")


Call = tuple[str, object]
"""A tool and its arguments."""


@dataclass(frozen=True)
class Whole:
    """A record that was found to be whole."""

    runs: Sequence[Row[Any]] = ()
    returned: Mapping[int, Sequence[Call]] = field(default_factory=dict)
    """The calls of each run that have a result."""

    def of(self, agent: str) -> Row[Any] | None:
        """Return the run of an agent."""
        return next((run for run in self.runs if run.agent == agent), None)


async def check_whole(yard: Orchestrator, before: Whole) -> Whole:
    """Hold what is true of the record; of runs that are as before, that has been seen.

    Each run has a session of its own.
    """
    runs = await runs_in(yard)
    check_statuses(runs)
    await check_questions(yard, runs)
    returned = dict(before.returned)
    for run in runs:
        if run in before.runs:
            continue
        events = await record_of(yard, run.session_id)
        try:
            check_events(run, events)
            await check_messages(yard, run, events)
        except BaseException as error:
            told = (f"{e.seq} {e.event}" for e in events)
            error.add_note("\n".join([f"of {run.agent}, {run.status}:", *told]))
            raise
        returned[run.pk] = _returned(events)
    return Whole(runs, returned)


def _returned(events: Sequence[RecordedEvent]) -> list[Call]:
    told = [recorded.event for recorded in events]
    ids = {event.call_id for event in told if isinstance(event, ToolReturned)}
    calls = (event for event in told if isinstance(event, ToolCalled))
    return [(call.tool, call.arguments) for call in calls if call.call_id in ids]


async def runs_in(yard: Orchestrator) -> list[Row[Any]]:
    def look(db: Connection) -> list[Row[Any]]:
        return list(db.execute(_RUNS).all())

    return await yard.sessions._access.read(look)


def check_statuses(runs: Sequence[Row[Any]]) -> None:
    """Nothing goes on, nobody is held, and nobody outlives who has asked."""
    by_key = {run.pk: run for run in runs}
    for run in runs:
        assert run.status != RunStatus.RUNNING, f"{run.agent} goes on"
        assert run.active_run_pk is None, f"the session of {run.agent} is held"
        parent = by_key.get(run.parent_pk)
        if parent is not None and parent.status == RunStatus.SUCCEEDED:
            assert run.status != RunStatus.WAITING, f"{run.agent} waits for a run that is done"


async def check_questions(yard: Orchestrator, runs: Sequence[Row[Any]]) -> None:
    """Who waits can be answered, and nobody else is."""
    asking = await yard.sessions.questions()
    waiting = {run.id for run in runs if run.status == RunStatus.WAITING}
    top = runs[0] if runs else None
    if top is None or top.status != RunStatus.WAITING:
        assert asking == [], f"questions, and the top run is {top and top.status}"
        return
    assert asking, "all wait, for nothing"
    for question in asking:
        assert (question.top_run_id, question.top_session_id) == (top.id, top.session_id)
        assert question.run_id in waiting


def check_events(run: Row[Any], events: Sequence[RecordedEvent]) -> None:
    """Everything is told once, in its order."""
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    told = [recorded.event for recorded in events]
    assert isinstance(told[0], RunStarted)
    # An answer comes when the run has ended: it waits for one.
    last = [event for event in told if not isinstance(event, ApprovalDecided)][-1]
    assert isinstance(last, RunEnded)
    assert last.status == run.status
    begun = [e for e in told if isinstance(e, RunStarted | RunResumed | RunEnded)]
    assert len(begun) == 2 * run.attempt
    assert [isinstance(e, RunEnded) for e in begun] == [False, True] * run.attempt
    called = Counter(e.call_id for e in told if isinstance(e, ToolCalled))
    returned = Counter(e.call_id for e in told if isinstance(e, ToolReturned))
    asked = Counter(e.run_id for e in told if isinstance(e, AgentAsked))
    changed = Counter(e.call_id for e in told if isinstance(e, FileChanged))
    for counted in (called, returned, asked, changed, _answers(told)):
        assert set(counted.values()) <= {1}, f"told twice: {counted}"
    assert returned.keys() <= called.keys()
    if run.status == RunStatus.SUCCEEDED:
        assert returned.keys() == called.keys()
    done = {
        e.call_id
        for e in told
        if isinstance(e, ToolReturned) and e.tool in _WRITING and e.outcome == "success"
    }
    assert changed.keys() == done, "a change that no event tells, or that nobody made"
    for one, after in pairwise(told):
        if isinstance(after, FileChanged):
            assert isinstance(one, ToolReturned)
            assert one.call_id == after.call_id


def _answers(told: Sequence[Any]) -> Counter[str]:
    """Return how often each answer to a question is told, and each question in one attempt."""
    counted: Counter[str] = Counter()
    attempt = 1
    for event in told:
        match event:
            case RunResumed(attempt=attempt):
                pass
            case ApprovalRequested(call_id=call_id):
                counted[f"asked {call_id} in {attempt}"] += 1
            case ApprovalDecided(call_id=call_id):
                counted[f"answered {call_id}"] += 1
            case AgentMessage(content=content):
                counted[content] += 1
            case _:
                pass
    return counted


async def check_messages(
    yard: Orchestrator, run: Row[Any], events: Sequence[RecordedEvent]
) -> None:
    """A provider takes the history; what was used is counted once, in the run and its session."""
    messages = await yard.sessions.messages(run.session_id)
    answers = [m for m in messages if isinstance(m, ModelResponse) and m.state != "interrupted"]
    assert run.requests == len(answers)
    assert run.input_tokens == sum(answer.usage.input_tokens for answer in answers)
    used = {name: run._mapping[name] or 0 for name in COUNTED}
    of_session = {name: run.usage.get(name) or 0 for name in COUNTED}
    assert {**of_session, "cost": float(of_session["cost"])} == {
        **used,
        "cost": float(used["cost"]),
    }
    if messages:
        given = await yard.sessions.given_before(run.session_id, len(messages) + 1)
        check_valid([*given, ModelRequest(parts=[])])
    results = {
        part.tool_call_id
        for message in messages
        for part in message.parts
        if part.part_kind == "tool-return" and part.tool_name != "final_result"
    }
    told = {e.event.call_id for e in events if isinstance(e.event, ToolReturned)}
    assert results <= told, "a result that no event tells"
