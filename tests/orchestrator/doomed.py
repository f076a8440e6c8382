"""Processes that hold runs, to be killed and stopped by a test.

They are forked from a server that has everything imported, so that one costs milliseconds.
"""

import multiprocessing
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import NotResumableError, OrchestratorError
from orchestrator.events import TextDelta
from orchestrator.settings import Settings
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.store import open_store
from tests.orchestrator.moments import MomentsOfAll, passing
from tests.orchestrator.played import READ, playing
from tests.orchestrator.scripted import Place
from tests.orchestrator.team_at_work import Home, begin

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", "tests.mcp_server.doomed", __name__])


def fork(work: Callable[..., None], *arguments: object) -> tuple[ForkServerProcess, Connection]:
    """Start a process that does `work`, a function of a module; return it and a line to it."""
    ours, theirs = _FORKS.Pipe()
    process = _FORKS.Process(target=work, args=(theirs, *arguments))
    process.start()
    theirs.close()
    return process, ours


def draft(session_id: str | None = None) -> RunDraft:
    """Return a run to begin."""
    return RunDraft(
        agent="a",
        spec_sha256="0" * 64,
        model="m",
        prompt="hello",
        inputs={},
        root="/r",
        session_id=session_id,
    )


def hold(line: Connection, url: str) -> None:
    """Claim a session and name it; at each word, write and tell what came of it."""
    anyio.run(_hold, line, url)


async def _hold(line: Connection, url: str) -> None:
    async with open_store(url) as store:
        run: ClaimedRun = await store.claim(draft())
        line.send(run.session_id)
        while True:
            word = await anyio.to_thread.run_sync(line.recv)
            try:
                await store.record(run, Additions(events=[TextDelta(content=word)]))
                line.send("written")
            except Exception as error:  # to be judged by the test
                line.send(type(error).__name__)


def follow_script(line: Connection, place: Place, session_id: str | None) -> None:
    """Begin the script, or go on with it in a session; tell of each event by its number."""
    anyio.run(_follow_script, line, place, session_id)


async def _follow_script(line: Connection, place: Place, session_id: str | None) -> None:
    async with place.yard() as yard:
        if session_id is None:
            handle = await yard.start("worker", "go", model=place.model())
        else:
            handle = await yard.resume(session_id, model=place.model())
        line.send(handle.claimed.session_id)
        async for recorded in yard.follow(handle):
            line.send(recorded.seq)
    line.send(None)


def work_until_killed(line: Connection, home: Home, moments: MomentsOfAll) -> None:
    """Let a team go on until it ends, and say how; or die when it comes to a moment."""
    moments.act = lambda: os.kill(os.getpid(), signal.SIGKILL)
    anyio.run(_work_until_killed, line, replace(home, passing=moments))


async def _work_until_killed(line: Connection, home: Home) -> None:
    with passing(home.passing):
        async with home.yard() as yard:
            try:
                await (await begin(yard, home)).result()
            except NotResumableError:
                line.send("done")  # by the one before, which could not say so any more
            except OrchestratorError as error:
                line.send(error.code)
            else:
                line.send("done")


def work_until_stopped(line: Connection, project: Path, home: Path) -> None:
    """Run an agent that never comes to an end; name its session, and the error that ended it."""
    anyio.run(_work_until_stopped, line, project, home)


async def _work_until_stopped(line: Connection, project: Path, home: Path) -> None:
    settings = Settings(
        data_dir=home / "data", config_dir=home / "config", state_dir=home / "state"
    )
    async with Orchestrator.open(project, settings=settings, connect=InProcessConnection) as yard:
        model = playing([READ], anyio.sleep_forever)
        handle = await yard.start("worker", "go", model=model)
        async for recorded in yard.follow(handle):
            if isinstance(recorded.event, TextDelta):
                break
        line.send(handle.claimed.session_id)
        try:
            await handle.result()
        except OrchestratorError as error:
            line.send(type(error).__name__)
