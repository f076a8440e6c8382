"""A deleted session is gone, with all that nothing else refers to; its forks are as before."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic_ai.messages import ModelMessage
from sqlalchemy import Connection, select, text, update
from sqlalchemy.util import await_only

from orchestrator.errors import NotFoundError, SessionBusyError, StoreUnavailableError
from orchestrator.events import RecordedEvent, RunEnded
from orchestrator.lifecycle import RunStatus
from orchestrator.store import ending
from orchestrator.store.claimed import Additions
from orchestrator.store.deleting import delete_session
from orchestrator.store.log import load_events
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import (
    BLOB,
    EVENT,
    MESSAGE,
    RUN,
    SESSION,
    SESSION_BLOB,
    TOOL_CALL,
    SessionRow,
)
from tests.orchestrator.turns import (
    begin,
    begun_by_the_dead,
    by_hand,
    count,
    forked,
    turn,
    turn_with_calls,
)

CANCELLED = RunEnded(status=RunStatus.CANCELLED)
TABLES = (SESSION, RUN, MESSAGE, EVENT, TOOL_CALL, BLOB, SESSION_BLOB)


async def counts(store: Store) -> dict[str, int]:
    return {table.name: await count(store, table) for table in TABLES}


async def texts_on_record(store: Store) -> str:
    """Return everything that the database holds, as one text."""

    def read(db: Connection) -> str:
        return "".join(str(row) for table in TABLES for row in db.execute(select(table)))

    return await store.sessions._access.read(read)


def numbered(messages: Sequence[ModelMessage]) -> list[str]:
    return [str(message.parts) for message in messages]


async def test_deleted_session_leaves_nothing(store: Store) -> None:
    session_id = await turn_with_calls(store, ["one", "two"])
    await turn(store, session_id=session_id)

    await store.sessions.delete(session_id)

    assert set((await counts(store)).values()) == {0}
    with pytest.raises(NotFoundError):
        await store.sessions.get(session_id)
    with pytest.raises(NotFoundError):
        await begin(store, session_id=session_id)


async def test_deletion_leaves_other_sessions_and_their_instructions(store: Store) -> None:
    other = await turn_with_calls(store, ["one"])
    before = await counts(store)
    past = await store.sessions.messages(other)
    session_id = await turn_with_calls(store, ["one"])

    await store.sessions.delete(session_id)

    assert await counts(store) == before
    assert await store.sessions.messages(other) == past


async def test_session_at_work_is_not_deleted(store: Store) -> None:
    run = await begin(store)

    with pytest.raises(SessionBusyError) as caught:
        await store.sessions.delete(run.session_id)

    assert caught.value.run_id == run.id
    assert (await store.sessions.get(run.session_id)).active_run_id == run.id


async def test_session_of_a_dead_process_is_deleted(store: Store, url: str) -> None:
    run = await begun_by_the_dead(url)

    await store.sessions.delete(run.session_id)

    assert set((await counts(store)).values()) == {0}


@pytest.mark.parametrize("at", [0, 1, 2, 3, 4, 5, 6, 8])
async def test_deletion_changes_nothing_in_a_fork(store: Store, at: int) -> None:
    """Wherever it was made: between turns, or in the middle of a run's calls."""
    origin = await turn_with_calls(store, ["first result", "second result"])
    await turn(store, "more", "last answer", origin)
    fork = await forked(store, origin, at=at)
    await turn(store, session_id=fork)
    past = await store.sessions.messages(fork)
    runs = await store.sessions.runs(fork)

    await store.sessions.delete(origin)

    assert await store.sessions.messages(fork) == past
    assert await store.sessions.runs(fork) == runs
    assert (await store.sessions.get(fork)).origin_id is None
    assert [session.id for session in await store.sessions.latest()] == [fork]
    await turn(store, session_id=fork)


async def test_what_no_fork_shares_is_gone_from_the_file(store: Store) -> None:
    """Also of a run of which a fork shares the beginning."""
    origin = await turn_with_calls(store, ["shared result", "secret result"])
    await turn(store, "secret prompt", "secret answer", origin)
    await forked(store, origin, at=3)
    await store.sessions.rename(origin, "secret title")
    await store.sessions.update_state(origin, {"secret": "state"})

    await store.sessions.delete(origin)

    left = await texts_on_record(store)
    assert "shared result" in left
    assert "secret" not in left
    assert (await counts(store))["event"] == 0


async def test_last_fork_takes_with_it_what_it_shared(store: Store) -> None:
    origin = await turn_with_calls(store, ["one", "two"])
    first, second = await forked(store, origin, at=5), await forked(store, origin, at=3)
    await store.sessions.delete(origin)
    past = await store.sessions.messages(second)

    await store.sessions.delete(first)

    assert await store.sessions.messages(second) == past
    assert (await counts(store))["message"] == 3
    await store.sessions.delete(second)
    assert set((await counts(store)).values()) == {0}


async def test_forks_of_forks_keep_their_past_in_whatever_order_the_others_go(
    store: Store,
) -> None:
    one = await turn_with_calls(store, ["a", "b"])
    two = await forked(store, one, at=4)
    await turn(store, "two", "two", two)
    three = await forked(store, two, at=6)
    early = await forked(store, two, at=2)  # before what is two's own
    await turn(store, "three", "three", three)
    pasts = {fork: numbered(await store.sessions.messages(fork)) for fork in (three, early)}

    await store.sessions.delete(two)
    await store.sessions.delete(one)

    for fork, past in pasts.items():
        assert numbered(await store.sessions.messages(fork)) == past
    await store.sessions.delete(three)
    assert numbered(await store.sessions.messages(early)) == pasts[early]
    assert (await counts(store))["message"] == 2
    await store.sessions.delete(early)
    assert set((await counts(store)).values()) == {0}


async def test_deleted_external_id_is_free(store: Store) -> None:
    made = await store.sessions.create("guide", "/r", external_id="x")
    await turn(store, session_id=made.id)
    await forked(store, made.id, at=2)

    await store.sessions.delete(made.id)

    again = await store.sessions.create("guide", "/r", external_id="x")
    assert again.id != made.id


async def test_deletion_that_fails_deletes_nothing(sqlite_url: str) -> None:
    trigger = "CREATE TRIGGER t BEFORE DELETE ON blob BEGIN SELECT RAISE(ABORT, 'full'); END"
    async with open_store(sqlite_url) as store:
        session_id = await turn_with_calls(store, ["one"])
        before = await counts(store)
        await by_hand(store, text(trigger))

        with pytest.raises(StoreUnavailableError, match="full"):
            await store.sessions.delete(session_id)

        assert await counts(store) == before


async def test_damaged_session_can_be_deleted(store: Store) -> None:
    origin = await turn_with_calls(store, ["one", "two"])
    await forked(store, origin, at=3)
    await by_hand(store, update(MESSAGE).values(body="{"))

    await store.sessions.delete(origin)

    with pytest.raises(NotFoundError):
        await store.sessions.get(origin)


async def test_what_was_written_in_the_same_commit_is_deleted_too(store: Store) -> None:
    """Rows that wait for the end of a transaction must not come after the deletion."""
    origin = await turn(store)
    await forked(store, origin, at=2)
    run = await begin(store, "more", origin)

    await asyncio.gather(
        store._write(lambda tx: ending.end(tx, run, CANCELLED, Additions(), None)),
        store._write(lambda tx: delete_session(origin, None, store._liveness, tx)),
    )

    assert (await counts(store))["event"] == 0
    assert (await counts(store))["message"] == 2


async def test_reader_in_the_middle_of_a_session_that_is_deleted_sees_all_of_it(
    store: Store, url: str
) -> None:
    session_id = await turn_with_calls(store, ["one"])
    events = [each async for each in store.sessions.all_events(session_id)]

    def look(db: Connection, session: SessionRow) -> list[RecordedEvent]:
        db.execute(select(SESSION.c.pk)).all()
        await_only(store.sessions.delete(session_id))
        return load_events(db, session, after=0, limit=100)

    async with open_store(url) as reader:
        assert await reader.sessions.look(session_id, look) == events
    assert set((await counts(store)).values()) == {0}
