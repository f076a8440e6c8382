"""A session's state: a dictionary that several may change, and no change is lost."""

import anyio
import pytest

from orchestrator.errors import InvalidInputError, LimitError, StateConflictError
from orchestrator.state import MAX_BYTES, State, changed
from orchestrator.store.store import Store, open_store
from tests.orchestrator.turns import turn


async def test_state_is_a_merge_patch_with_a_version(store: Store) -> None:
    session_id = await turn(store)
    sessions = store.sessions

    await sessions.update_state(session_id, {"a": 1, "b": {"c": [None], "d": "é\0\ud800"}})
    state = await sessions.update_state(session_id, {"a": None, "b": {"d": 2}}, expected_version=1)

    assert (state.values, state.version) == ({"b": {"c": [None], "d": 2}}, 2)
    assert await sessions.state(session_id) == state
    assert await sessions.update_state(session_id, {"b": {"d": 2}}) == state  # nothing new


async def test_state_that_somebody_else_has_changed_is_a_conflict(store: Store) -> None:
    session_id = await turn(store)
    await store.sessions.update_state(session_id, {"a": 1}, expected_version=0)

    with pytest.raises(StateConflictError, match="at version 1, not 0") as caught:
        await store.sessions.update_state(session_id, {"a": 2}, expected_version=0)

    assert (caught.value.expected, caught.value.actual) == (0, 1)
    assert (await store.sessions.state(session_id)).values == {"a": 1}


async def test_no_update_of_many_at_once_is_lost(url: str) -> None:
    async with open_store(url) as one, open_store(url) as other:
        session_id = await turn(one)

        async def add(store: Store, number: int) -> None:
            await store.sessions.update_state(session_id, {str(number): number})

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(add, (one, other)[number % 2], number)
        state = await one.sessions.state(session_id)

    assert (len(state.values), state.version) == (40, 40)


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value}
    return value


NO_JSON = [{"a": {1, 2}}, {"a": b""}, {"a": float("inf")}, nested(60), nested(100_000), [1], "text"]


async def test_state_that_is_no_json_is_refused(store: Store) -> None:
    session_id = await turn(store)

    for changes in NO_JSON:
        with pytest.raises(InvalidInputError, match="state"):
            await store.sessions.update_state(session_id, changes)  # type: ignore[arg-type]  # the fault

    assert (await store.sessions.state(session_id)).version == 0


async def test_state_has_a_size(store: Store) -> None:
    session_id = await turn(store)

    with pytest.raises(LimitError, match="keep what is large in a file") as caught:
        await store.sessions.update_state(session_id, {"a": "é" * MAX_BYTES})

    assert (caught.value.limit, caught.value.unit) == (MAX_BYTES, "bytes")
    await store.sessions.update_state(session_id, {"a": "x" * (MAX_BYTES - 20)})


def test_true_in_place_of_1_is_a_change() -> None:
    """To Python they are equal."""
    before = State({"a": 1}, version=1)

    after = changed("s", before, {"a": True}, None)

    assert (after.values["a"], after.version) == (True, 2)
    assert after.values["a"] is True
