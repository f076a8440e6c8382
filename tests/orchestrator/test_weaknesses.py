"""What other programs do wrong with sessions, and that this one does not.

`faults.py` has the faults, each with the tests that show it. Those are here that belong to no other
file; that all of them are there is a test too.
"""

import ast
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, closing
from datetime import datetime, timedelta, tzinfo
from functools import partial
from pathlib import Path
from typing import Any  # what a transaction returns, and what tracers take

import anyio
import pytest
from opentelemetry.trace import NoOpTracer, NoOpTracerProvider, Tracer
from pydantic_ai import Agent
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, ThinkingPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from sqlalchemy import Connection, PickleType, Row, Table, insert, select

import orchestrator
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import NotFoundError, StoreUnavailableError
from orchestrator.events import AgentMessage, RunEnded, ThinkingDelta, ToolCalled
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import Recorder
from orchestrator.settings import Settings
from orchestrator.store import additions, ending, runs
from orchestrator.store.claimed import Additions
from orchestrator.store.store import Store, open_store
from orchestrator.store.tables import EVENT, MESSAGE, TOOL_CALL
from orchestrator.store.tables import Table as Tables
from orchestrator.store.writer import Transaction
from orchestrator.totals import By
from orchestrator.words import told
from tests.orchestrator.faults import FAULTS
from tests.orchestrator.played import READ, playing, record_of
from tests.orchestrator.turns import begin, by_hand, turn, turn_with_calls

HERE = Path(__file__)
NAMED = sorted({name for names in FAULTS.values() for name in names})


def functions_of(file: Path) -> dict[str, ast.AsyncFunctionDef | ast.FunctionDef]:
    functions = [
        node
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
    ]
    return {each.name: each for each in functions if each.name.startswith("test_")}


@pytest.mark.parametrize("name", NAMED)
def test_tests_that_are_named_for_faults_are_there_and_run_with_all_others(name: str) -> None:
    module, _, test = name.rpartition(".")

    decorators = functions_of(HERE.parent / f"{module}.py")[test].decorator_list

    assert not {"pytest.mark.long", "long"} & {ast.unparse(each) for each in decorators}


def test_every_test_here_is_named_for_a_fault() -> None:
    here = {name for name in functions_of(HERE) if f"test_weaknesses.{name}" not in NAMED}

    assert here == {
        "test_tests_that_are_named_for_faults_are_there_and_run_with_all_others",
        "test_every_test_here_is_named_for_a_fault",
    }


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


def last_row(table: Table, db: Connection) -> Row[Any]:
    return db.execute(select(table).order_by(table.c.seq.desc()).limit(1)).one()


async def test_database_itself_refuses_a_number_that_is_there(store: Store) -> None:
    """Others have no key on it, and two writers who read the same highest number both add one."""
    session_id = await turn(store)

    for table in (EVENT, MESSAGE):
        row = await store.sessions._access.read(partial(last_row, table))
        with pytest.raises(StoreUnavailableError, match=r"(?i)unique"):
            await by_hand(store, insert(table).values(**row._mapping))

    assert len(await store.sessions.messages(session_id)) == 2


async def test_streamed_answer_takes_few_transactions(store: Store) -> None:
    """Others commit each piece of it: a hundred times a turn, and all other writers wait."""
    run = await begin(store)
    transact, commits = store._access._writer._transact, []

    async def counting(work: Callable[[Connection], Any]) -> Any:
        commits.append(work)
        return await transact(work)

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        for _ in range(5000):
            yield "word "

    store._access._writer._transact = counting
    recorder = Recorder(store, run)
    result = await Agent(FunctionModel(stream_function=stream)).run(
        "hello", capabilities=[recorder]
    )
    await recorder.end(RunEnded(status=RunStatus.SUCCEEDED, output=result.output))

    assert 2 <= len(commits) < 50


async def test_whoever_waits_and_whoever_reads_along_get_the_same_record(
    yard: Orchestrator,
) -> None:
    """Others put the question on record at another time, and in another order, for each of them."""
    model = playing([READ], "It is a till.")
    waited = await record_of(yard, (await yard.run("repo_guide", "go", model=model)).session_id)

    read = [each async for each in yard.stream("repo_guide", "go", model=model)]

    kinds = [[each.event.type for each in record] for record in (waited, read)]
    assert kinds[0] == kinds[1]
    assert kinds[0][:2] == ["run_started", "user_message"]


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


@pytest.mark.parametrize("again", [False, True], ids=["in one process", "opened again"])
async def test_instructions_are_those_of_today_and_the_past_keeps_its_own(
    project: Path, tmp_path: Path, again: bool
) -> None:
    """Others keep the agent that they built first, or store its instructions as a message."""
    specs = tmp_path / "specs"
    specs.mkdir()
    given: list[str | None] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        given.append(info.instructions)
        yield "ok"

    session_id = None
    async with AsyncExitStack() as stack:
        yard = None
        for words in ("Be brief.", "Be kind."):
            text = f"name: guide\ndescription: d\ninstructions: {words}\ncapabilities: []\n"
            (specs / "guide.yaml").write_text(text)
            if yard is None or again:
                opened = Orchestrator.open(project, specs=specs, connect=InProcessConnection)
                yard = await stack.enter_async_context(opened)
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


async def test_no_log_and_no_trace_tells_what_was_said(
    yard: Orchestrator, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Others trace each request with its prompt from the start, and log what they are given."""
    tracers, asked = NoOpTracerProvider(), []

    def get_tracer(name: str, *args: Any, **options: Any) -> Tracer:
        asked.append(name)
        return NoOpTracer()

    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", tracers)
    monkeypatch.setattr(tracers, "get_tracer", get_tracer)
    secrets = ("asked-secretly", "prices", "answered-secretly", "denied-secretly")
    write = ("write_file", '{"path": "README.md", "content": "denied-secretly"}')
    with caplog.at_level(logging.DEBUG):
        model = playing([READ, write], "answered-secretly")
        await yard.run("repo_guide", "asked-secretly", model=model)

    ours = [each for each in caplog.records if each.name.startswith(("orchestrator", "mcp_server"))]
    told = "\n".join(each.getMessage() for each in ours)
    assert not [secret for secret in secrets if secret in told]
    assert "pydantic-ai" not in asked


NAIVE = {"utcnow", "utcfromtimestamp", "today"}


def test_no_time_is_asked_for_without_its_zone() -> None:
    """Others have asked for one that says nothing of it, and have written it beside others."""
    for file in Path(orchestrator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called, without = node.func.attr, not (node.args or node.keywords)
                assert called not in NAIVE, f"{file}:{node.lineno}"
                assert not (called == "now" and without), f"{file}:{node.lineno}"


def test_nothing_on_record_is_an_object_of_a_program() -> None:
    """Others store pickles: who can write a row runs code in whoever reads it."""
    words = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "jsonpickle"}
    for file in Path(orchestrator.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not words & {alias.name for alias in node.names}, file
            if isinstance(node, ast.ImportFrom):
                assert node.module not in words, file

    types = {type(column.type) for table in Tables.metadata.tables.values() for column in table.c}
    assert PickleType not in types


def test_no_column_has_a_name_that_the_models_need_themselves() -> None:
    """Others have called one `metadata`, which some versions refuse and some take silently."""
    names = {column.name for table in Tables.metadata.tables.values() for column in table.c}

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
