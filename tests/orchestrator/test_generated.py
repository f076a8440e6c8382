"""What is written is what is read, whatever a provider, a tool or a file brings."""

import json

import pytest
from pydantic import JsonValue
from pydantic_ai.messages import (
    ModelMessage,
)

from orchestrator.events import Event, RunEnded, RunStarted, UserMessage
from orchestrator.lifecycle import RunStatus
from orchestrator.store.claimed import RunDraft
from orchestrator.store.store import Store
from tests.orchestrator.generated import Generated, as_said

SEEDS = 40
INPUTS: tuple[dict[str, JsonValue], ...] = ({}, {"k": 1}, {"k": "\ud800"})


def as_told(event: Event) -> str:
    return json.dumps(event.model_dump(mode="json"))


async def written_and_read(store: Store, seed: int) -> None:
    made = Generated(seed)
    session_id = None
    messages: list[ModelMessage] = []
    events: list[Event] = []
    for _ in range(made.randrange(1, 3)):
        draft = RunDraft(
            agent="a",
            spec_sha256="0" * 64,
            model="m",
            prompt=made.text(),
            inputs=made.choice(INPUTS),
            root="/r",
            session_id=session_id,
        )
        run = await store.claim(draft)
        session_id = run.session_id
        events.append(RunStarted(agent="a", model="m", spec_sha256="0" * 64))
        events.append(UserMessage(content=draft.prompt, inputs=draft.inputs))
        for _ in range(made.randrange(4)):
            added = made.additions(draft.prompt, run.id)
            await store.record(run, added)
            messages += added.messages
            events += added.events
        said = [e.content for e in events if e.type == "agent_message"]
        outputs: list[JsonValue] = [None, {"a": [None, True]}, made.text(), *said[-1:]]
        output = made.choice(outputs)
        ended = RunEnded(status=RunStatus.SUCCEEDED, output=output)
        added = made.additions(draft.prompt, run.id)
        await store.end(run, ended, added, session_usage=None)
        messages += added.messages
        events += [*added.events, ended]
        (*_, row) = await store.sessions.runs(session_id)
        assert json.dumps(row.output) == json.dumps(output)
    assert session_id is not None
    assert as_said(await store.sessions.messages(session_id)) == as_said(messages)
    found = [recorded async for recorded in store.sessions.all_events(session_id)]
    assert [as_told(recorded.event) for recorded in found] == [as_told(event) for event in events]
    assert [recorded.seq for recorded in found] == list(range(1, len(events) + 1))


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
async def test_what_is_written_is_what_is_read(store: Store, first: int) -> None:
    for seed in range(first, first + 10):
        await written_and_read(store, seed)


@pytest.mark.long
@pytest.mark.parametrize("first", range(SEEDS, 4000, 100))
async def test_what_is_written_is_what_is_read_of_thousands(store: Store, first: int) -> None:
    for seed in range(first, first + 100):
        await written_and_read(store, seed)
