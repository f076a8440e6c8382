"""Many at once: sessions in one process, processes on one record, turns in one session."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import SessionBusyError
from orchestrator.settings import Settings
from orchestrator.store.store import Store, open_store
from tests.orchestrator.crowd import check, take_turn, work
from tests.orchestrator.doomed import fork
from tests.orchestrator.played import READ, playing, record_of


async def crowd(store: Store, sessions: int, turns: int) -> None:
    begun: list[str] = []

    async def one_session() -> None:
        session_id = await take_turn(store)
        begun.append(session_id)
        for _ in range(turns - 1):
            await take_turn(store, session_id)

    async with anyio.create_task_group() as tasks:
        for _ in range(sessions):
            tasks.start_soon(one_session)
    assert len(set(begun)) == sessions
    for session_id in begun:
        await check(store, session_id, turns)


async def test_50_sessions_at_once_have_each_event_once_and_in_order(store: Store) -> None:
    await crowd(store, 50, 1)


@pytest.mark.long
async def test_200_sessions_at_once_have_each_event_once_and_in_order(store: Store) -> None:
    await crowd(store, 200, 1)


@pytest.mark.long
async def test_200_sessions_at_once_take_ten_turns_each(store: Store) -> None:
    await crowd(store, 200, 10)


async def processes(url: str, sessions: int, turns: int) -> None:
    """Let four processes work, and all that they do want a turn in one session as well."""
    async with open_store(url) as store:
        shared = await take_turn(store)
        at_work = [fork(work, url, sessions, turns, shared) for _ in range(4)]
        told: list[tuple[list[str], int]] = []
        for process, line in at_work:
            with line:
                told.append(await anyio.to_thread.run_sync(line.recv))
            process.join()
        begun = [session_id for sessions, _ in told for session_id in sessions]
        assert len(set(begun)) == 4 * sessions
        for session_id in begun:
            await check(store, session_id, turns)
        await check(store, shared, 1 + sum(won for _, won in told))


async def test_four_processes_write_one_record_and_no_event_is_lost_or_twice(url: str) -> None:
    await processes(url, sessions=4, turns=2)


@pytest.mark.long
async def test_four_processes_write_one_record_for_long(url: str) -> None:
    await processes(url, sessions=50, turns=10)


async def test_second_turn_at_once_asks_no_model(project: Path, url: str) -> None:
    """Also one of another process: here, of another yard on the same record."""
    asked: list[str] = []
    going_on, begun = anyio.Event(), anyio.Event()

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        asked.append("once more")
        begun.set()
        await going_on.wait()
        yield "ok"

    model = FunctionModel(stream_function=stream)
    settings = Settings(database_url=url)
    opened = [
        Orchestrator.open(project, connect=InProcessConnection, settings=settings) for _ in range(2)
    ]
    async with opened[0] as yard, opened[1] as other:
        first = await yard.start("repo_guide", "one", model=model)
        with anyio.fail_after(30):
            await begun.wait()
        for another in (yard, other):
            with pytest.raises(SessionBusyError) as caught:
                await another.run(
                    "repo_guide", "two", model=model, session_id=first.claimed.session_id
                )
            assert caught.value.run_id == first.claimed.id
        going_on.set()
        await first.result()

        assert asked == ["once more"]
        runs = await yard.sessions.runs(first.claimed.session_id)
        assert [run.status for run in runs] == ["succeeded"]


async def test_readers_of_many_runs_at_once_see_each_event_once(project: Path, url: str) -> None:
    """Each in the yard that runs it, and in another one."""
    seen: dict[tuple[str, int], list[int]] = {}
    settings = Settings(database_url=url)
    opened = [
        Orchestrator.open(project, connect=InProcessConnection, settings=settings) for _ in range(2)
    ]
    async with opened[0] as yard, opened[1] as other:

        async def run_and_read() -> None:
            handle = await yard.start("repo_guide", "go", model=playing([READ], "A till it is."))
            run = handle.claimed

            async def read(number: int, reader: Orchestrator) -> None:
                follow = reader.sessions.follow(run.session_id, run_id=run.id)
                seen[run.session_id, number] = [recorded.seq async for recorded in follow]

            async with anyio.create_task_group() as readers:
                readers.start_soon(read, 0, yard)
                readers.start_soon(read, 1, other)

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for _ in range(10):
                    tasks.start_soon(run_and_read)

        assert len(seen) == 20
        for (session_id, _), numbers in seen.items():
            assert numbers == [recorded.seq for recorded in await record_of(yard, session_id)]
