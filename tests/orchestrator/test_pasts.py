"""A claim reads what has come since this process read last, and gives what the record holds."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic_ai.messages import ModelMessage, UserPromptPart
from sqlalchemy import Connection

from orchestrator.events import RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.store import compaction, pasts
from orchestrator.store.messages import StoredMessage
from orchestrator.store.store import Store, open_store
from orchestrator.store.window import Stretch, stored_messages
from tests.orchestrator.turns import begin, finish, turn


async def given(store: Store, session_id: str) -> list[ModelMessage]:
    """Return what a model is given with the next turn, which comes to nothing."""
    run = await begin(store, session_id=session_id)
    await store.end(run, RunEnded(status=RunStatus.CANCELLED), session_usage=None)
    return run.conversation.messages


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many rows of messages each claim has read."""
    counts: list[int] = []

    def counted(
        db: Connection, path: Sequence[Stretch], *, after: int = 0
    ) -> Sequence[StoredMessage]:
        rows = stored_messages(db, path, after=after)
        counts.append(len(rows))
        return rows

    monkeypatch.setattr(compaction, "stored_messages", counted)
    return counts


async def test_claim_reads_what_has_come_since_and_the_row_before(
    store: Store, read: list[int]
) -> None:
    session_id = await turn(store, "one")
    for number in range(4):
        await turn(store, f"{number}", session_id=session_id)

    assert read == [2, 3, 3, 3]


async def test_model_is_given_all_that_the_record_has_turn_after_turn(store: Store) -> None:
    session_id = await turn(store, "zero")
    for number in range(5):
        recorded = await store.sessions.messages(session_id)
        run = await begin(store, f"{number}", session_id)
        assert run.conversation.messages == recorded
        await finish(store, run, f"{number}", "answer")


async def test_turns_of_another_process_are_given_too(url: str) -> None:
    async with open_store(url) as here, open_store(url) as there:
        session_id = await turn(here, "one")
        await given(here, session_id)
        await turn(there, "two", session_id=session_id)

        assert await given(here, session_id) == await here.sessions.messages(session_id)


async def test_what_a_run_does_to_its_messages_is_not_given_to_the_next(store: Store) -> None:
    session_id = await turn(store, "one")
    recorded = await store.sessions.messages(session_id)

    for message in await given(store, session_id):
        message.metadata = {"seen": True}
        for part in message.parts:
            if isinstance(part, UserPromptPart):
                part.content = "another question"
    (await given(store, session_id)).clear()

    assert await given(store, session_id) == recorded


async def test_session_in_the_place_of_another_is_read_from_its_beginning(tmp_path: Path) -> None:
    """SQLite gives a key again, and an import keeps the ids of its export."""
    file = tmp_path / "record.db"
    async with open_store(f"sqlite+aiosqlite:///{file}") as store:
        session_id = await turn(store, "one")
        await turn(store, "two", session_id=session_id)
        await given(store, session_id)
        with sqlite3.connect(file) as database:
            database.execute("UPDATE message SET body = replace(body, 'one', 'uno')")
            database.execute("UPDATE message SET body = replace(body, 'hi', 'ho')")
        database.close()

        first, *_ = await given(store, session_id)

    assert isinstance(first.parts[0], UserPromptPart)
    assert first.parts[0].content == "uno"


async def test_what_is_kept_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pasts, "MAX_CHARS", 3000)
    ids = [await turn(store, "x", "y" * 1000) for _ in range(5)]

    for session_id in ids:
        await given(store, session_id)

    assert len(store._pasts._read) == 2
    assert store._pasts._chars <= 3000
    assert [await given(store, one) for one in ids] == [
        await store.sessions.messages(one) for one in ids
    ]
