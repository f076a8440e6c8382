"""A run that a command has started: shown while it works, or told as one JSON object."""

import json
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import typer
from pydantic import JsonValue

import orchestrator
from orchestrator.cli.asking import ask_all, can_ask
from orchestrator.cli.exits import exit_code, reported, run_until_signal
from orchestrator.cli.progress import Progress
from orchestrator.errors import ApprovalNeededError, OrchestratorError


@dataclass(frozen=True)
class Work:
    """What a command starts, and where."""

    opened: Callable[[], AbstractAsyncContextManager["orchestrator.Orchestrator"]]
    start: Callable[["orchestrator.Orchestrator"], Awaitable["orchestrator.RunHandle"]]


def carry_out(work: Work, *, as_json: bool) -> None:
    """Do the work to its end; what went wrong is the exit code."""
    if as_json:
        _print_json(work)
        return
    with reported():
        run_until_signal(_show, work)


async def _show(work: Work) -> None:
    progress = Progress()
    handle = None
    try:
        async with work.opened() as yard:
            handle = await work.start(yard)
            await _follow(yard, handle, progress)
            while isinstance(handle.error, ApprovalNeededError) and can_ask():
                if not await ask_all(yard, handle.claimed.id):
                    break
                handle = await yard.resume(handle.claimed.session_id)
                await _follow(yard, handle, progress)
            progress.answer((await handle.result()).output)
    finally:
        if handle is not None:
            # A run that was stopped has come to its end only now.
            progress.leave(handle.last_event, handle.claimed.session_id)


async def _follow(
    yard: "orchestrator.Orchestrator", handle: "orchestrator.RunHandle", progress: Progress
) -> None:
    async for recorded in yard.follow(handle):
        progress.show(recorded.event)


def _print_json(work: Work) -> None:
    answer: dict[str, JsonValue] = {}
    code = 0
    try:
        run_until_signal(_collect, work, answer)
    except OrchestratorError as error:
        answer["error"] = {"code": error.code, "message": str(error)}
        code = exit_code(error)
    typer.echo(json.dumps(answer))
    raise typer.Exit(code)


async def _collect(work: Work, answer: dict[str, JsonValue]) -> None:
    """Fill in the answer as far as the run gets."""
    handle = None
    try:
        async with work.opened() as yard:
            handle = await work.start(yard)
            answer["session_id"] = handle.claimed.session_id
            answer["run_id"] = handle.claimed.id
            answer["agent"] = handle.claimed.draft.agent
            answer["model"] = handle.model
            await handle.result()
    finally:
        if handle is not None and handle.last_event is not None:
            parts = {"status", "output", "usage"}
            answer.update(handle.last_event.model_dump(mode="json", include=parts))
