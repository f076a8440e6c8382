"""Ids, owners, cursors and numbers from whoever sends them: none reaches what it does not name."""

import base64
import json

import pytest

from orchestrator.errors import InvalidInputError, NotFoundError, StateConflictError
from orchestrator.session import Page
from orchestrator.store.store import Store
from tests.orchestrator.turns import begin, turn


def ids(page: Page) -> list[str]:
    return [session.id for session in page.sessions]


async def test_cursor_of_another_list_shows_nothing_that_does_not_fit(store: Store) -> None:
    made = [await turn(store, owner=owner) for owner in ("alice", "bob") * 3]
    forged = [[2**53, 2**63 - 1], [0, 0], [-(2**53), 1], [-1, 2**62]]
    cursors = [base64.b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in forged]
    cursor = (await store.sessions.of("alice").list(limit=2)).cursor
    assert cursor is not None

    bobs = store.sessions.of("bob")
    for each in (cursor, *cursors):
        found = [session.id for session in (await bobs.list(cursor=each)).sessions]
        assert set(found) <= {made[1], made[3], made[5]}
        assert (await bobs.list(cursor=each, agent="another")).sessions == ()


NUMBERS = [0, 99, 2**31 - 1, 2**31, 2**63, 2**70]


async def test_number_that_no_row_can_have_is_none(store: Store) -> None:
    """SQLite and PostgreSQL each take other numbers; callers and models send any."""
    session_id = await turn(store)
    events = [*await store.sessions.events(session_id)]

    for number in NUMBERS[1:]:
        assert [*await store.sessions.events(session_id, limit=number)] == events
        assert [*await store.sessions.events(session_id, after=number)] == []
        assert [*await store.sessions.events(session_id, after=-number)] == events
        with pytest.raises(InvalidInputError, match=f"no message {number}"):
            await store.sessions.given_before(session_id, number)
        with pytest.raises(InvalidInputError, match=f"no message {number}"):
            await store.sessions.fork(session_id, at=number)
    for number in NUMBERS:
        with pytest.raises(InvalidInputError):
            await store.sessions.events(session_id, limit=-number)
        with pytest.raises(InvalidInputError):
            await store.sessions.given_before(session_id, -number)
        if number:
            with pytest.raises(StateConflictError):
                await store.sessions.update_state(session_id, {}, expected_version=number)


NO_IDS = [
    "",
    " ",
    "x" * 10_000,
    "\0",
    "\ud800",
    "é",
    "١٢",
    "\x1b[2J",
    "../x",
    "%",
    "_",
    "a'b",
    "\n",
]


async def test_text_that_is_no_id_names_nothing(store: Store) -> None:
    one = await turn(store)
    read = store.sessions

    for text in NO_IDS:
        for ask in (
            *(read.get(text), read.state(text), read.runs(text), read.messages(text)),
            *(read.events(text), read.run(text), read.recorded_run(text), read.inherited(text)),
            *(read.delete(text), read.cancel(text), read.cancel_run(text), read.fork(text)),
            *(read.rename(text, "x"), read.update_state(text, {}), read.given_before(text, 1)),
            *(read.holder(text), read.until_free(text), begin(store, session_id=text)),
            *(
                anext(read.follow_session(text)),
                anext(read.follow(one, run_id=text, after=9)),
            ),
        ):
            with pytest.raises(NotFoundError):
                await ask

    assert ids(await read.list()) == [one]


ALIKE = ["alice", "Alice", "alice ", "\u0430lice", "\u202ealice", "a\u200blice", "e\u0301", "é"]
WILD = ["%", "_", "a%", "'", '"', "\\", "*", "\x1b[2J", "x" * 200]


async def test_names_that_look_alike_or_like_a_pattern_are_each_their_own(store: Store) -> None:
    """To take one for the other would give an owner what another has."""
    made: dict[str, str] = {}
    for name in (*ALIKE, *WILD):
        session = await store.sessions.of(name).create("guide", "/r", external_id=name)
        made[name] = session.id

    for name, session_id in made.items():
        assert ids(await store.sessions.of(name).list()) == [session_id]
        theirs = await store.sessions.of(name).get_or_create(name, agent="guide", root="/r")
        assert (theirs.id, theirs.external_id) == (session_id, name)
        with pytest.raises(NotFoundError):
            await store.sessions.of("nobody").get(session_id)
