"""What other stores of sessions do wrong, and that this one does not.

Each fault was seen in one of the well-known ones. `SHOWN_ELSEWHERE` names the tests that show the
rest; each of them is there, which a test holds too.
"""

import ast
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from datetime import datetime, timedelta, tzinfo
from pathlib import Path

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from sqlalchemy import PickleType, select

import orchestrator
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import NotFoundError
from orchestrator.events import AgentMessage, ThinkingDelta, ToolCalled
from orchestrator.settings import Settings
from orchestrator.store import additions, ending, runs
from orchestrator.store.claimed import Additions
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import TOOL_CALL, Table
from orchestrator.store.writer import Transaction
from orchestrator.totals import By
from orchestrator.words import told
from tests.orchestrator.played import READ, playing, record_of
from tests.orchestrator.turns import begin, turn, turn_with_calls

SHOWN_ELSEWHERE = {
    "a second turn at once is noticed after it was paid for, or takes the first one's place": (
        "test_at_once.test_second_turn_at_once_asks_no_model",
        "test_store.test_only_one_of_many_claims_at_once_gets_the_session",
        "test_busy.test_turn_waits_in_line_until_the_session_is_free",
    ),
    "two writers give out one number twice, or meet a locked database and lose a turn": (
        "test_at_once.test_200_sessions_at_once_have_each_event_once_and_in_order",
        "test_at_once.test_four_processes_write_one_record_and_no_event_is_lost_or_twice",
        "test_hard_times.test_run_goes_on_after_another_program_has_locked_the_database",
    ),
    "a history that cannot be read becomes none, or loses what cannot be decoded": (
        "test_damage.test_damage_is_an_error_of_what_needs_the_row_and_of_nothing_else",
        "test_forks.test_history_that_cannot_be_read_offers_the_fork_before_the_damage",
    ),
    "what cannot be turned into JSON is left out without a word: bytes, half a letter": (
        "test_contents.test_whatever_tools_return_a_run_is_on_record_as_it_was",
        "test_generated.test_what_is_written_is_what_is_read",
    ),
    "each piece of a streamed answer is a transaction, or is not stored at all": (
        "test_recorder.test_tokens_are_not_written_one_by_one",
        "test_runner.test_streamed_text_is_on_record_while_the_model_goes_on",
    ),
    "a streamed answer is stored as all its beginnings, one after the other": (
        "test_at_once.test_200_sessions_at_once_have_each_event_once_and_in_order",
    ),
    "the question is stored after the answer, so that a crash loses it": (
        "test_store.test_prompt_and_run_are_on_record_with_the_claim",
        "test_recorder.test_request_and_call_are_on_record_before_model_and_tool_begin",
    ),
    "a run ends with whoever reads it, or waits for them": (
        "test_endings.test_run_outlives_its_reader",
        "test_following.test_reader_who_stops_in_the_middle_holds_nothing_up",
    ),
    "a failure is a success with other words in it": (
        "test_endings.test_fault_of_our_own_is_logged_and_told_without_details",
        "test_endings.test_budget_that_is_used_up_is_a_limit_error_and_on_record",
    ),
    "anybody reads and goes on with anybody's session by its id": (
        "test_sessions.test_what_another_owner_has_is_not_there",
    ),
    "instructions are most of what is stored": ("test_store.test_instructions_are_stored_once",),
    "an unknown price is nothing, and sums drift": (
        "test_usage.test_sums_are_exact_and_of_each_kind",
        "test_usage.test_runs_of_unknown_price_are_counted_beside_the_sum",
        "test_runner.test_unknown_price_is_unknown_also_after_a_known_one",
    ),
    "limits begin anew with each turn, as the session's usage is not kept": (
        "test_store.test_next_turn_gets_the_messages_of_the_ones_before",
        "test_runner.test_usage_is_that_of_the_run_and_adds_up_in_the_session",
    ),
    "a call without its result makes the session unusable": (
        "test_store.test_call_that_a_broken_run_left_open_is_closed_for_the_next_turn",
        "test_killed_runs.test_run_killed_at_any_moment_goes_on_and_does_everything_once",
    ),
    "tables are made anew at each start, and an update leaves sessions behind": (
        "test_migrations.test_sessions_of_the_first_schema_go_on",
        "test_migrations.test_one_of_many_processes_upgrades_and_the_others_wait",
    ),
    "a long list is read as a whole": (
        "test_sessions.test_no_query_of_the_list_reads_or_sorts_a_whole_table",
    ),
    "a long session is read as a whole although it was summarized": (
        "test_compaction.test_long_session_goes_on_in_a_small_window",
    ),
    "a run whose process died holds its session for ever, or for as long as a clock says": (
        "test_liveness.test_clock_that_is_set_takes_no_run_for_dead_and_keeps_none_alive",
        "test_liveness.test_killed_process_loses_its_run_at_once",
    ),
    "one damaged row takes the others with it, and cannot be got rid of": (
        "test_damage.test_damaged_session_hides_no_other_and_is_named",
        "test_damage.test_whatever_of_a_session_is_damaged_it_can_be_deleted",
        "test_usage.test_damaged_run_is_named_and_all_others_are_counted",
    ),
    "a time loses its zone or its microseconds on the way": (
        "test_usage.test_day_is_that_of_utc_to_the_microsecond",
        "test_usage.test_time_without_a_zone_is_refused",
        "test_transfer.test_export_that_is_imported_and_exported_again_is_the_same",
    ),
    "runs have no limit that holds": (
        "test_endings.test_budget_that_is_used_up_is_a_limit_error_and_on_record",
    ),
    "logs and errors tell what was to be written": (
        "test_lost_connection.test_transaction_that_is_tried_again_tells_nothing_that_it_writes",
        "test_database.test_no_part_of_a_url_that_cannot_be_used_is_told",
    ),
    "a process that hangs holds what it has locked for ever": (
        "test_lost_connection."
        "test_process_that_hangs_in_a_transaction_loses_its_locks_and_does_it_again",
    ),
    "what is on record steers the terminal of whoever looks at it": (
        "test_terminal.test_no_command_lets_a_record_steer_the_terminal",
    ),
    "a database that is restarted ends all runs, and a repeated write is there twice": (
        "test_lost_connection.test_run_goes_on_when_postgres_is_restarted_under_it",
        "test_lost_connection.test_commit_whose_answer_is_lost_is_found_and_not_done_twice",
    ),
}
NAMED = sorted({name for names in SHOWN_ELSEWHERE.values() for name in names})


@pytest.mark.parametrize("name", NAMED)
def test_tests_that_are_named_here_are_there(name: str) -> None:
    module, test = name.split(".")
    tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text())

    functions = [n for n in tree.body if isinstance(n, ast.AsyncFunctionDef | ast.FunctionDef)]
    assert test in [function.name for function in functions]


APPEND_ONLY = "".join(
    f"CREATE TRIGGER no_{what}_of_{table} BEFORE {what} ON {table} "
    "BEGIN SELECT RAISE(ABORT, 'the past was changed'); END;"
    for table in ("message", "event", "blob")
    for what in ("UPDATE", "DELETE")
)


async def test_no_turn_fork_or_cancellation_changes_what_was_written(
    project: Path, tmp_path: Path
) -> None:
    """Others store a history anew with each turn: all of it is written, and the last one wins."""
    file = tmp_path / "record.db"
    settings = Settings(database_url=f"sqlite+aiosqlite:///{file}")
    async with Orchestrator.open(project, connect=InProcessConnection, settings=settings) as yard:
        with closing(sqlite3.connect(file)) as database:
            database.executescript(APPEND_ONLY)
        model = playing([READ, READ], [READ], "It is a till.")
        first = await yard.run("repo_guide", "one", model=model)
        second = await yard.run("repo_guide", "two", model=model, session_id=first.session_id)
        fork = await yard.fork(first.session_id, at=3)
        await yard.run("repo_guide", "three", model=playing("So."), session_id=fork.id)
        waiting = playing([READ], anyio.sleep_forever)
        handle = await yard.start("repo_guide", "go", model=waiting, session_id=fork.id)
        await yard.cancel(handle.claimed.id)

        assert second.output == "It is a till. "
        assert handle.last_event is not None
        assert handle.last_event.status == "cancelled"
        with (
            closing(sqlite3.connect(file)) as database,
            pytest.raises(sqlite3.IntegrityError, match="the past was changed"),
        ):
            database.execute("UPDATE message SET body = '{}'")


async def test_turn_of_a_long_session_writes_no_more_rows_than_one_of_a_short(
    tmp_path: Path,
) -> None:
    """Others write with each turn the whole history, or a list that names all of it."""

    def changed(tx: Transaction) -> int:
        changes: int = tx.connection.exec_driver_sql("SELECT total_changes()").scalar_one()
        return changes

    written: list[int] = []
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'record.db'}") as store:
        session_id = await turn_with_calls(store, ["found"] * 3)
        for _ in range(30):
            before = await store._write(changed)
            await turn_with_calls(store, ["found"] * 3, session_id)
            written.append(await store._write(changed) - before)

    assert len(set(written)) == 1
    assert written[0] < 60


class Earlier(datetime):
    """A clock that goes backwards."""

    hours = 0

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        cls.hours += 1
        return datetime.now(tz) - timedelta(hours=cls.hours)


async def test_order_is_that_of_numbers_and_not_of_clocks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others sort by a time, in steps of a second, which is set back now and then."""
    for module in (additions, ending, runs):
        monkeypatch.setattr(module, "datetime", Earlier)
    session_id = await turn_with_calls(store, ["one"])
    for answer in ("two", "three"):
        await turn(store, "and now?", answer, session_id)

    events = [event async for event in store.sessions.all_events(session_id)]
    messages = await store.sessions.messages(session_id)
    found = await store.sessions.runs(session_id)

    assert events[0].at > events[-1].at
    assert found[0].started_at > found[-1].started_at
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [run.output for run in found] == ["done", "two", "three"]
    texts = [part.content for m in messages for part in m.parts if isinstance(part, TextPart)]
    assert texts == ["done", "two", "three"]


async def test_instructions_are_those_of_today_and_the_past_keeps_its_own(
    project: Path, tmp_path: Path
) -> None:
    """Others store them once as a message, and edited ones never reach an old session."""
    specs = tmp_path / "specs"
    specs.mkdir()
    given: list[str | None] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        given.append(info.instructions)
        yield "ok"

    session_id = None
    for words in ("Be brief.", "Be kind."):
        text = f"name: guide\ndescription: d\ninstructions: {words}\ncapabilities: []\n"
        (specs / "guide.yaml").write_text(text)
        async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as yard:
            model = FunctionModel(stream_function=stream)
            result = await yard.run("guide", "go", model=model, session_id=session_id)
            session_id = result.session_id
            messages = await yard.sessions.messages(session_id)
            assert given == [m.instructions for m in messages if isinstance(m, ModelRequest)]

    assert given == ["Be brief.", "Be kind."]


async def test_readers_who_stop_reading_keep_no_connection(project: Path, url: str) -> None:
    """Others read a stream within a session of the database: a few slow readers take them all."""
    settings = Settings(database_url=url)
    async with (
        Orchestrator.open(project, connect=InProcessConnection, settings=settings) as yard,
        AsyncExitStack() as stack,
    ):
        going_on = anyio.Event()
        handle = await yard.start("repo_guide", "go", model=playing([READ], going_on.wait))
        for _ in range(60):  # more than any pool has
            events = yard.follow(handle)
            stack.push_async_callback(events.aclose)  # type: ignore[attr-defined]  # a generator
            assert (await anext(events)).seq == 1
        with anyio.fail_after(20):
            going_on.set()
            await handle.result()
            record = await record_of(yard, handle.claimed.session_id)

    assert record[-1].event.type == "run_ended"


HOSTILE = ["'; DROP TABLE session; --", '" OR 1=1', "%", "_", "\\", "$1", ":x"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_what_is_looked_for_is_never_a_query(store: Store, text: str) -> None:
    """Others have put keys of filters into SQL as they came."""
    session_id = await turn(store, "plain words")

    assert (await store.sessions.list(agent=text)).sessions == ()
    assert (await store.sessions.list(root=text)).sessions == ()
    assert (await store.sessions.list(search="x" + text)).sessions == ()
    assert await store.sessions.usage(By.RUN, agent=text) == ()
    assert await store.sessions.usage(By.RUN, session=text, owner=text) == ()
    with pytest.raises(NotFoundError):
        await store.sessions.get(text)
    with pytest.raises(NotFoundError):
        await begin(store, "go", text)

    assert [session.id for session in await store.sessions.latest()] == [session_id]


async def test_what_a_model_has_thought_is_shown_to_no_reader(store: Store) -> None:
    """Others print their messages as they are, thoughts and signatures included."""
    run = await begin(store, "What is a till?")
    thought = ThinkingPart("I had better not say this", signature="signed")
    answer = ModelResponse(parts=[thought, TextPart("It adds.")])
    events = (ThinkingDelta(content=thought.content), AgentMessage(content="It adds."))
    await store.record(run, Additions(messages=[answer], events=events))

    pieces = [piece async for piece in store.sessions.export(run.session_id, "markdown")]
    found = [told(each.event) async for each in store.sessions.all_events(run.session_id)]

    assert "It adds." in "".join(pieces)
    for text in (*pieces, *filter(None, found)):
        assert "better not" not in text
        assert "signed" not in text
    assert (await store.sessions.list(search="better")).sessions == ()
    assert thought in (await store.sessions.messages(run.session_id))[0].parts


def test_nothing_on_record_is_an_object_of_a_program() -> None:
    """Others store pickles: who can write a row runs code in whoever reads it."""
    words = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
    for file in Path(orchestrator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not words & {alias.name for alias in node.names}, file
            if isinstance(node, ast.ImportFrom):
                assert node.module not in words, file

    types = {type(column.type) for table in Table.metadata.tables.values() for column in table.c}
    assert PickleType not in types


def test_no_column_has_a_name_that_the_models_need_themselves() -> None:
    """Others have called one `metadata`, which some versions refuse and some take silently."""
    names = {column.name for table in Table.metadata.tables.values() for column in table.c}

    assert not names & {"metadata", "registry", "model_config", "model_fields"}


async def test_arguments_are_hashed_by_what_they_say(store: Store) -> None:
    """Others hash how a dictionary happens to be printed."""
    run = await begin(store)
    calls = [
        ToolCalled(call_id="1", tool="t", arguments={"a": 1, "b": {"c": 2, "d": 3}}),
        ToolCalled(call_id="2", tool="t", arguments={"b": {"d": 3, "c": 2}, "a": 1}),
        ToolCalled(call_id="3", tool="t", arguments={"a": True, "b": {"c": 2, "d": 3}}),
    ]
    await store.record(run, Additions(events=calls))

    query = select(TOOL_CALL.c.arguments_sha256).order_by(TOOL_CALL.c.call_id)
    one, same, other = await store._write(lambda tx: tx.connection.execute(query).scalars().all())
    assert one == same != other
