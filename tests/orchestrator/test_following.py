"""Following a session: every event once, from any number on, and no reader matters to a run."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any  # JSON

import anyio
import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.errors import NotFoundError
from orchestrator.events import RunEnded, TextDelta
from orchestrator.lifecycle import RunStatus
from orchestrator.store.claimed import Additions
from orchestrator.store.store import Store, open_store
from tests.orchestrator.played import READ, playing
from tests.orchestrator.turns import begin, begun_by_the_dead, finish, turn

DONE = RunEnded(status=RunStatus.SUCCEEDED)


async def numbers(store: Store, session_id: str, *, after: int = 0) -> list[int]:
    with anyio.fail_after(10):
        follow = store.sessions.follow_session(session_id, after=after)
        return [recorded.seq async for recorded in follow]


async def test_idle_session_is_read_to_its_end(store: Store) -> None:
    session_id = await turn(store)
    await turn(store, session_id=session_id)

    assert await numbers(store, session_id) == list(range(1, 9))
    assert await numbers(store, session_id, after=5) == [6, 7, 8]
    assert await numbers(store, session_id, after=8) == []


async def test_reader_of_another_process_sees_a_run_go_on_to_its_end(
    store: Store, url: str
) -> None:
    run = await begin(store)
    seen: list[int] = []

    async def read(other: Store) -> None:
        seen.extend(await numbers(other, run.session_id, after=1))

    async with open_store(url) as other:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read, other)
                for n in range(3):
                    await store.record(run, Additions(events=[TextDelta(content=str(n))]))
                await store.end(run, DONE, session_usage=None)

    assert seen == [2, 3, 4, 5, 6]


async def test_reader_who_waits_sees_the_runs_to_come(store: Store) -> None:
    session_id = await turn(store)
    seen: list[int] = []
    enough = anyio.Event()

    async def read() -> None:
        async for recorded in store.sessions.follow_session(session_id, after=4, wait=True):
            seen.append(recorded.seq)
            if isinstance(recorded.event, RunEnded) and recorded.seq > 8:
                enough.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(read)
            await turn(store, session_id=session_id)
            await turn(store, session_id=session_id)
            await enough.wait()
            tasks.cancel_scope.cancel()

    assert seen == list(range(5, 13))


async def test_session_whose_process_died_is_read_to_its_end(store: Store, url: str) -> None:
    dead = await begun_by_the_dead(url)

    assert await numbers(store, dead.session_id) == [1, 2]


async def test_reader_of_a_session_that_is_deleted_is_told(store: Store) -> None:
    session_id = await turn(store)
    follow = store.sessions.follow_session(session_id, wait=True)
    with anyio.fail_after(10):
        for _ in range(4):
            await anext(follow)
        await store.sessions.delete(session_id)

        with pytest.raises(NotFoundError):
            await anext(follow)


async def test_reader_who_stops_in_the_middle_holds_nothing_up(store: Store) -> None:
    run = await begin(store)
    slow = store.sessions.follow_session(run.session_id)
    await anext(slow)

    with anyio.fail_after(10):
        for n in range(100):
            await store.record(run, Additions(events=[TextDelta(content=str(n))]))
        await finish(store, run, "hello", "hi")
        rest = [recorded.seq async for recorded in slow]

    assert rest == list(range(2, 105))


@contextmanager
def following(session_id: str, *options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `workyard sessions follow --json` in a process of its own."""
    code = "from orchestrator.cli import main; main()"
    command = [sys.executable, "-c", code, "sessions", "follow", session_id, "--json", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            yield process
        finally:
            process.kill()


async def line_of(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    line: dict[str, Any] = json.loads(await anyio.to_thread.run_sync(process.stdout.readline))
    return line


async def test_readers_in_other_processes_neither_hold_up_a_run_nor_end_it(
    yard: Orchestrator,
) -> None:
    """One reads along, the other is stopped and never goes on."""
    going_on = anyio.Event()
    handle = await yard.start("repo_guide", "go", model=playing([READ], going_on.wait))
    session_id = handle.claimed.session_id
    with (
        anyio.fail_after(60),
        following(session_id) as one,
        following(session_id, "--after", "1") as stopped,
    ):
        first = [await line_of(one) for _ in range(2)]
        assert not handle.ended.is_set()
        assert (await line_of(stopped))["seq"] == 2
        stopped.send_signal(signal.SIGSTOP)
        going_on.set()
        await handle.result()
        rest = [await line_of(one)]
        while rest[-1]["event"]["type"] != "run_ended":
            rest.append(await line_of(one))
        assert await anyio.to_thread.run_sync(one.wait) == 0

    recorded = [each async for each in yard.sessions.all_events(session_id)]
    assert [line["seq"] for line in first + rest] == [each.seq for each in recorded]
    assert [line["event"] for line in first + rest] == [
        each.event.model_dump(mode="json") for each in recorded
    ]
    assert {line["run_id"] for line in first + rest} == {handle.claimed.id}
