"""`workyard sessions resume` and `cancel`: a session's run, made to go on or to stop."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

import orchestrator
from orchestrator.cli.at_work import Work, carry_out
from orchestrator.cli.exits import reported
from orchestrator.cli.progress import describe
from orchestrator.cli.run import JsonOption, ModelOption, SpecsOption
from orchestrator.cli.sessions.opened import SessionArgument, opened_sessions
from orchestrator.cli.terminal import stderr
from orchestrator.events import RunEnded


def resume(
    session_id: SessionArgument,
    model: ModelOption = None,
    specs: SpecsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a session's last run go on that has failed, was cancelled or whose process died.

    It goes on from its last settled step, in the directory of the session.
    """
    carry_out(resumed(session_id, model, specs), as_json=as_json)


def resumed(session_id: str, model: str | None, specs: Path | None) -> Work:
    """Return the work that lets a session's last run go on."""

    @asynccontextmanager
    async def opened() -> AsyncGenerator["orchestrator.Orchestrator"]:
        async with opened_sessions() as sessions:
            session = await sessions.get(session_id)
        async with orchestrator.Orchestrator.open(session.root, specs=specs) as yard:
            yield yard

    async def start(yard: "orchestrator.Orchestrator") -> "orchestrator.RunHandle":
        return await yard.resume(session_id, model=model)

    return Work(opened, start)


def cancel(session_id: SessionArgument) -> None:
    """Stop the run that is at work in a session, or waits for a yes, whoever has started it."""

    async def cancelled() -> RunEnded:
        async with opened_sessions() as sessions:
            return await sessions.cancel(session_id)

    with reported():
        stderr.print(describe(anyio.run(cancelled)))
