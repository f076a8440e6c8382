"""Sessions as their users handle them: made, listed, searched, renamed, each owner's apart."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any  # parameters of any statement

import anyio
import pytest
from sqlalchemy import event, update

from orchestrator.errors import (
    ExternalIdTakenError,
    InvalidInputError,
    NotFoundError,
)
from orchestrator.session import Filters, SessionStatus
from orchestrator.store import listing
from orchestrator.store.approvals import Answer
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import RUN, SESSION
from tests.orchestrator.turns import (
    begin,
    begun_by_the_dead,
    by_hand,
    forked,
    turn,
    turn_with_calls,
)


async def listed(sessions: Sessions, *, limit: int = 20, **which: object) -> list[str]:
    """Return the ids of all pages, in their order."""
    found: list[str] = []
    cursor = None
    while True:
        page = await sessions.list(limit=limit, cursor=cursor, **which)  # type: ignore[arg-type]  # what a test gives
        assert len(page.sessions) <= limit
        found += [session.id for session in page.sessions]
        cursor = page.cursor
        if cursor is None:
            return found


async def test_sessions_are_listed_with_the_one_active_last_first(store: Store) -> None:
    first, second = await turn(store), await turn(store)

    assert await listed(store.sessions) == [second, first]
    await turn(store, session_id=first)
    assert await listed(store.sessions) == [first, second]


async def test_pages_hold_every_session_once(store: Store) -> None:
    made = [await turn(store) for _ in range(7)]

    for limit in (1, 2, 3, 7, 8):
        assert await listed(store.sessions, limit=limit) == made[::-1]


async def test_sessions_of_one_moment_are_paged_too(store: Store) -> None:
    """A clock may be coarse; the order must not depend on it alone."""
    made = [(await store.sessions.create("guide", "/r")).id for _ in range(5)]
    await by_hand(store, update(SESSION).values(updated_at=datetime.now(UTC)))

    assert await listed(store.sessions, limit=2) == made[::-1]


async def test_paging_neither_repeats_nor_leaves_out_when_sessions_move(store: Store) -> None:
    """A page by offset would do both."""
    made = [await turn(store) for _ in range(6)]
    first = await store.sessions.list(limit=2)
    await turn(store, session_id=made[0])  # not seen yet; now at the top
    await turn(store, session_id=made[5])  # seen
    await turn(store)  # new

    second = await store.sessions.list(limit=2, cursor=first.cursor)
    third = await store.sessions.list(limit=2, cursor=second.cursor)

    pages = [[session.id for session in page.sessions] for page in (first, second, third)]
    assert pages == [[made[5], made[4]], [made[3], made[2]], [made[1]]]
    assert third.cursor is None


CURSORS = ["", "x", "é", "W10", "WzEsMl0x", "W3RydWUsMV0", "WzFlOTksMV0", "WyJhIiwxXQ", "W" * 9999]


async def test_cursor_that_is_none_is_refused(store: Store) -> None:
    for cursor in CURSORS:
        with pytest.raises(InvalidInputError, match="is no cursor"):
            await store.sessions.list(cursor=cursor)


async def test_page_of_no_size_is_refused(store: Store) -> None:
    for limit in (0, -1, 1001):
        with pytest.raises(InvalidInputError, match="between 1 and 1000"):
            await store.sessions.list(limit=limit)


async def test_list_is_filtered_by_agent_root_and_time(store: Store) -> None:
    one = await turn(store, agent="x")
    middle = datetime.now(UTC)
    two = await turn(store, agent="x", root="/other")
    three = await turn(store, agent="y")

    assert await listed(store.sessions, agent="x") == [two, one]
    assert await listed(store.sessions, root="/r") == [three, one]
    assert await listed(store.sessions, agent="x", root="/r") == [one]
    assert await listed(store.sessions, since=middle) == [three, two]
    assert await listed(store.sessions, until=middle) == [one]
    assert await listed(store.sessions, agent="n\0ne\ud800") == []
    with pytest.raises(InvalidInputError, match="no time zone"):
        await store.sessions.list(since=datetime(2026, 1, 1))
    assert (await store.sessions.latest_of(agent="x", root="/r")).id == one


async def test_session_whose_process_is_dead_is_not_running(store: Store, url: str) -> None:
    idle = await turn(store)
    running = await begin(store)
    dead = await begun_by_the_dead(url)

    assert await listed(store.sessions, status=SessionStatus.RUNNING) == [running.session_id]
    assert await listed(store.sessions, status=SessionStatus.IDLE) == [dead.session_id, idle]
    session = await store.sessions.get(dead.session_id)
    assert (session.status, session.active_run_id) == ("idle", dead.id)


SEARCHES: dict[str, list[int]] = {
    ".*": [],
    "[a-z]": [],
    "^What": [],
    "\\": [1],
    "\\\\": [],
    "\\d": [],
    "\x1b[2J": [],
    "'": [],
    "*": [],
    "?": [0],
    "till": [0],
    "TILL": [0],
    "ill": [0],
    "till round": [0],
    "round  till": [0],
    "till sheep": [],
    "sheep": [1],
    "100%": [1],
    "%": [1],
    "_": [],
    "a_b": [],
    '"quoted"': [1],
    "back\\slash": [1],
    "größe": [2],
    "GRÖßE": [2],
    "привет": [2],
    "ПРИВЕТ": [2],
    "秘密": [2],
    "line": [2],
    "content": [],
    "parts": [],
    "text": [],
    "grep": [],
    "needle": [],
    "brief": [],
}


async def test_search_finds_every_word_in_titles_prompts_and_answers(store: Store) -> None:
    """And in nothing else: the record's own words stand in every row."""
    made = [
        await turn(store, "What is a till?", "It adds."),
        await turn(store, 'Sheep at 100% "quoted"', "back\\slash a-b"),
        await turn(store, "die Größe", "first\nline привет 秘密"),
        await turn_with_calls(store, ["needle"]),
    ]
    await turn(store, "Where are totals kept?", "They are ROUNDED.", session_id=made[0])

    found = {search: await listed(store.sessions, search=search) for search in SEARCHES}

    assert found == {search: [made[n] for n in numbers] for search, numbers in SEARCHES.items()}


async def test_search_finds_a_structured_answer(store: Store) -> None:
    session_id, other = await turn(store), await turn(store)
    (run,) = await store.sessions.runs(session_id)
    answer = {"output": {"verdict": "Sound"}, "output_seq": None, "output_part": None}
    await by_hand(store, update(RUN).where(RUN.c.id == run.id).values(answer))

    assert await listed(store.sessions, search="sound") == [session_id]
    assert other not in await listed(store.sessions, search="verdict")


async def test_renamed_session_is_found_by_its_title(store: Store) -> None:
    session_id = await turn(store)
    before = await store.sessions.get(session_id)

    after = await store.sessions.rename(session_id, " Till\n and  tray ")

    assert (after.title, after.updated_at) == ("Till and tray", before.updated_at)
    assert await listed(store.sessions, search="tray") == [session_id]


async def test_title_that_is_none_is_refused(store: Store) -> None:
    session_id = await turn(store)

    for title in ("", " \n", "x" * 201):
        with pytest.raises(InvalidInputError, match="title has 1 to 200"):
            await store.sessions.rename(session_id, title)


async def test_search_that_cannot_be_is_refused(store: Store) -> None:
    for search in ("", " ", "a\0b", "\ud800", "x" * 201, "a b c d e f g h i j k"):
        with pytest.raises(InvalidInputError, match="search"):
            await store.sessions.list(search=search)


async def test_search_looks_through_a_bounded_number_of_sessions_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT", 3)
    old = await turn(store, "needle")
    for _ in range(5):
        await turn(store)

    page = await store.sessions.list(limit=2, search="needle")

    assert (page.sessions, page.cursor is not None) == ((), True)
    assert await listed(store.sessions, limit=2, search="needle") == [old]


async def test_fork_is_searched_in_what_is_its_own(store: Store) -> None:
    origin = await turn(store, "needle", "thread")
    fork = await forked(store, origin, at=2)
    await store.sessions.rename(fork, "another")
    await turn(store, "thimble", session_id=fork)

    assert await listed(store.sessions, search="thread") == [origin]
    assert await listed(store.sessions, search="thimble") == [fork]


async def test_empty_session_is_made_and_begun_by_a_run(store: Store) -> None:
    made = await store.sessions.create("guide", "/r", state={"step": 1})

    assert (made.status, made.title, made.owner) == ("idle", "", "local")
    assert await listed(store.sessions) == [made.id]
    assert await store.sessions.messages(made.id) == []
    assert (await store.sessions.state(made.id)).values == {"step": 1}
    await turn(store, "What is  it?", session_id=made.id)
    assert (await store.sessions.get(made.id)).title == "What is it?"


async def test_title_that_was_given_is_kept(store: Store) -> None:
    made = await store.sessions.create("guide", "/r", title="My own")

    await turn(store, "What is it?", session_id=made.id)

    assert (await store.sessions.get(made.id)).title == "My own"


BAD_DRAFTS: list[dict[str, object]] = [
    {"agent": ""},
    {"agent": "x" * 65},
    {"root": ""},
    {"root": "/a\0b"},
    {"external_id": ""},
    {"external_id": "x" * 201},
    {"external_id": "\ud800"},
    {"state": {"a": float("nan")}},
    {"title": "x" * 201},
]


async def test_session_that_cannot_be_on_record_is_refused(store: Store) -> None:
    for bad in BAD_DRAFTS:
        fields = {"agent": "guide", "root": "/r"} | bad
        with pytest.raises(InvalidInputError):
            await store.sessions.create(**fields)  # type: ignore[arg-type]  # what is refused

    assert await listed(store.sessions) == []


async def test_external_id_names_one_session_of_an_owner(store: Store) -> None:
    alice, bob = store.sessions.of("alice"), store.sessions.of("bob")
    one = await alice.get_or_create("ticket-7", agent="guide", root="/r", title="first")
    again = await alice.get_or_create("ticket-7", agent="guide", root="/r", title="second")
    other = await bob.get_or_create("ticket-7", agent="guide", root="/r")

    assert again == one
    assert other.id != one.id
    with pytest.raises(ExternalIdTakenError, match=one.id):
        await alice.create("guide", "/r", external_id="ticket-7")


async def test_external_id_asked_for_by_many_at_once_names_one_session(url: str) -> None:
    found: set[str] = set()

    async def ask(store: Store) -> None:
        found.add((await store.sessions.get_or_create("x", agent="guide", root="/r")).id)

    async with open_store(url) as one, open_store(url) as other:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(ask, (one, other)[number % 2])

        assert list(found) == await listed(one.sessions)


Ask = Callable[[Sessions, str, str], Awaitable[object]]
NAMING: dict[str, Ask] = {
    "get": lambda bobs, session, _: bobs.get(session),
    "runs": lambda bobs, session, _: bobs.runs(session),
    "messages": lambda bobs, session, _: bobs.messages(session),
    "events": lambda bobs, session, _: bobs.events(session),
    "all_events": lambda bobs, session, _: anext(bobs.all_events(session)),
    "follow_session": lambda bobs, session, _: anext(bobs.follow_session(session)),
    "follow": lambda bobs, session, run: anext(bobs.follow(session, run_id=run)),
    "state": lambda bobs, session, _: bobs.state(session),
    "rename": lambda bobs, session, _: bobs.rename(session, "mine"),
    "update_state": lambda bobs, session, _: bobs.update_state(session, {"a": 1}),
    "delete": lambda bobs, session, _: bobs.delete(session),
    "fork": lambda bobs, session, _: bobs.fork(session),
    "export": lambda bobs, session, _: anext(bobs.export(session)),
    "look": lambda bobs, session, _: bobs.look(session, lambda db, row: row.title),
    "inherited": lambda bobs, session, _: bobs.inherited(session),
    "given_before": lambda bobs, session, _: bobs.given_before(session, 1),
    "holder": lambda bobs, session, _: bobs.holder(session),
    "until_free": lambda bobs, session, _: bobs.until_free(session),
    "cancel": lambda bobs, session, _: bobs.cancel(session),
    "cancel_run": lambda bobs, _, run: bobs.cancel_run(run),
    "run": lambda bobs, _, run: bobs.run(run),
    "recorded_run": lambda bobs, _, run: bobs.recorded_run(run),
    "answer": lambda bobs, _, run: bobs.answer(run, Answer(is_approved=True, by="bob")),
}
"""Whatever takes the id of a session or a run."""

LISTING = {"list", "latest", "latest_of", "questions", "usage"}
NAMING_NONE = {"of", "create", "get_or_create", "import_lines", "import_messages"}
BY_KEY = {"owner_of", "spent_since", "spent_by_delegates"}
"""These are for budgets, and take what no caller has: an owner whose they are, or a row's key."""


def test_whatever_takes_an_id_is_asked_for_what_another_owns() -> None:
    known = {*NAMING, *LISTING, *NAMING_NONE, *BY_KEY}

    assert known == {name for name in dir(Sessions) if not name.startswith("_")}


async def test_what_another_owner_has_is_not_there(store: Store) -> None:
    """Not found, and not forbidden: who asks must not learn that it exists."""
    session_id = await turn(store, owner="alice")
    run_id = (await store.sessions.runs(session_id))[0].id
    bob = store.sessions.of("bob")

    told: dict[str, str] = {}
    for name, ask in NAMING.items():
        with suppress(NotFoundError):
            told[name] = repr(await ask(bob, session_id, run_id))
    assert told == {}
    with pytest.raises(NotFoundError):
        await begin(store, session_id=session_id, owner="bob")
    with pytest.raises(NotFoundError):
        await bob.latest_of(agent="guide", root="/r")
    assert await listed(bob) == []
    assert await bob.latest() == []
    assert (*await bob.usage(), *await bob.usage(session=session_id, owner="alice")) == ()
    assert await listed(store.sessions.of("alice")) == [session_id]
    assert (await store.sessions.of("alice").get(session_id)).title == "hello"


async def test_owner_that_is_no_name_is_refused(store: Store) -> None:
    for owner in ("", " ", "x" * 201, "a\0", "\ud800"):
        with pytest.raises(InvalidInputError, match="owner"):
            store.sessions.of(owner)


QUERIES: list[Filters] = [
    {},
    {"agent": "x", "root": "/r"},
    {"since": datetime.now(UTC) - timedelta(1), "until": datetime.now(UTC)},
    {"status": SessionStatus.RUNNING},
    {"status": SessionStatus.IDLE},
    {"search": "needle"},
]


@pytest.mark.parametrize("owner", [None, "alice"])
async def test_no_query_of_the_list_reads_or_sorts_a_whole_table(
    sqlite_url: str, tmp_path: Path, owner: str | None
) -> None:
    async with open_store(sqlite_url) as store:
        asked = [(which, await what_it_asks(store, owner, which)) for which in QUERIES]

    database = sqlite3.connect(tmp_path / "record.db")
    for which, statements in asked:
        steps = [
            row[3]
            for statement, parameters in statements
            for row in database.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
        assert any("session" in step for step in steps)
        # Those of one agent in one root are few, and sorted by themselves.
        sorts = [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step]
        scans = [step for step in steps if step.startswith("SCAN") and "USING INDEX" not in step]
        assert (which, scans, [] if "root" in which else sorts) == (which, [], [])
    database.close()


async def what_it_asks(store: Store, owner: str | None, which: Filters) -> list[tuple[str, Any]]:
    """Return the statements of a first page and of another, with their parameters."""
    for _ in range(3):
        await turn(store, owner=owner or "local")
    sessions = store.sessions.of(owner) if owner else store.sessions
    cursor = (await sessions.list(limit=1)).cursor
    ran: list[tuple[str, Any]] = []
    engine = store.sessions._access.engine.sync_engine

    @event.listens_for(engine, "before_cursor_execute")
    def note(
        _c: object, _u: object, statement: str, parameters: tuple[object, ...], *_: object
    ) -> None:
        ran.append((statement, parameters))

    await sessions.list(limit=1, **which)
    await sessions.list(limit=1, cursor=cursor, **which)
    return [each for each in ran if each[0].startswith("SELECT")]
