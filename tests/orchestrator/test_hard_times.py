"""A record that cannot be written for a while: clear errors, nothing lost, no session stuck."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    ExitStack,
    asynccontextmanager,
    contextmanager,
    suppress,
)
from pathlib import Path

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelRequest
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import StoreUnavailableError
from orchestrator.settings import Settings
from orchestrator.store.store import open_store
from tests.orchestrator.played import READ, playing, record_of

LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
"""


@contextmanager
def another_program(file: Path) -> Iterator[subprocess.Popen[str]]:
    """Have the database locked by a process that knows nothing of ours, until it is told."""
    command = [sys.executable, "-c", LOCKER, str(file)]
    with subprocess.Popen(
        command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        yield locker


async def runs_on_while_it_is_locked(project: Path, file: Path, seconds: float) -> None:
    locked, unlocked = anyio.Event(), anyio.Event()

    async def lock() -> None:
        locker = stack.enter_context(another_program(file))
        locked.set()
        tasks.start_soon(free_later, locker)

    async def free_later(locker: subprocess.Popen[str]) -> None:
        await anyio.sleep(seconds)
        unlocked.set()
        locker.communicate("\n")

    settings = Settings(database_url=f"sqlite+aiosqlite:///{file}")
    async with Orchestrator.open(project, connect=InProcessConnection, settings=settings) as yard:
        with ExitStack() as stack:
            async with anyio.create_task_group() as tasks:
                handle = await yard.start("repo_guide", "go", model=playing([READ], lock))
                session_id = handle.claimed.session_id
                await locked.wait()
                assert len(await record_of(yard, session_id)) >= 4  # it can be read
                result = await handle.result()
                assert unlocked.is_set()
        record = await record_of(yard, session_id)

    assert result.output == "So "
    assert [recorded.seq for recorded in record] == list(range(1, len(record) + 1))
    assert record[-1].event.type == "run_ended"


async def test_run_goes_on_after_another_program_has_locked_the_database(
    project: Path, tmp_path: Path
) -> None:
    await runs_on_while_it_is_locked(project, tmp_path / "record.db", seconds=2)


@pytest.mark.long
async def test_run_goes_on_after_the_database_was_locked_for_ten_seconds(
    project: Path, tmp_path: Path
) -> None:
    await runs_on_while_it_is_locked(project, tmp_path / "record.db", seconds=10)


Full = Callable[[Orchestrator], AbstractAsyncContextManager[None]]
"""What lets the disk be full while it is entered."""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of two megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(directory)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("only root can mount a small disk, and not everywhere")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


@pytest.fixture(params=["disk", "database"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Full]:
    """Return a directory, and what fills it: all of its disk, or what the database may take."""
    if request.param == "database":
        return tmp_path, pages_used_up
    disk: Path = request.getfixturevalue("small_disk")
    return disk, lambda yard: filled(disk / "filler")


@asynccontextmanager
async def filled(filler: Path) -> AsyncGenerator[None]:
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass
    yield
    filler.unlink()


@asynccontextmanager
async def pages_used_up(yard: Orchestrator) -> AsyncGenerator[None]:
    """Let SQLite find the disk full, where no small disk can be mounted."""

    async def set_limit(pages: int) -> None:
        pragma = f"PRAGMA max_page_count={pages}"
        await yard.sessions._access.write(lambda tx: tx.connection.exec_driver_sql(pragma))

    await set_limit(1)  # no less than there are
    yield
    await set_limit(1_000_000)


async def test_disk_that_is_full_is_an_error_and_what_was_written_stays(
    project: Path, place: tuple[Path, Full]
) -> None:
    directory, full = place
    settings = Settings(database_url=f"sqlite+aiosqlite:///{directory / 'record.db'}")
    async with Orchestrator.open(project, connect=InProcessConnection, settings=settings) as yard:
        first = await yard.run("repo_guide", "one", model=playing([READ], "Kept."))
        before = await record_of(yard, first.session_id)
        filling = AsyncExitStack()

        async def stream(
            messages: list[ModelMessage], info: AgentInfo
        ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
            if isinstance(messages[-1], ModelRequest) and len(messages) == 5:
                yield {0: DeltaToolCall(*READ, tool_call_id="second")}
                return
            yield "So "
            await filling.enter_async_context(full(yard))
            for _ in range(100):
                yield "much to say. " * 1000

        writing = FunctionModel(stream_function=stream)
        second = await yard.start("repo_guide", "two", model=writing, session_id=first.session_id)
        with pytest.raises(StoreUnavailableError, match="full"):
            await second.result()
        with pytest.raises(StoreUnavailableError, match="full"):
            await yard.run("repo_guide", "x" * 500_000, model=playing("Not written."))
        record = await record_of(yard, first.session_id)
        await filling.aclose()
        with anyio.fail_after(10):
            while (await yard.sessions.get(first.session_id)).active_run_id is not None:
                await anyio.sleep(0.05)
        third = await yard.run(
            "repo_guide", "four", model=playing("Here again."), session_id=first.session_id
        )

        assert record[: len(before)] == before
        kinds = [recorded.event.type for recorded in record[len(before) :]]
        assert kinds[:4] == ["run_started", "user_message", "tool_called", "tool_returned"]
        assert third.output == "Here again. "
        statuses = [run.status for run in await yard.sessions.runs(first.session_id)]
        assert statuses == ["succeeded", "failed", "succeeded"]
        whole = await record_of(yard, first.session_id)
        assert whole[: len(record)] == record
        assert [recorded.seq for recorded in whole] == list(range(1, len(whole) + 1))


async def test_record_is_not_made_on_a_full_disk_and_that_is_said(small_disk: Path) -> None:
    async with filled(small_disk / "filler"):
        with pytest.raises(StoreUnavailableError, match="The record cannot be"):
            async with open_store(f"sqlite+aiosqlite:///{small_disk / 'record.db'}"):
                pass
    async with open_store(f"sqlite+aiosqlite:///{small_disk / 'record.db'}") as store:
        assert await store.sessions.latest() == []
