"""`workyard sessions show` and `follow`: what was done, and what is being done."""

import json
from typing import Annotated

import anyio
import typer

from orchestrator.cli.exits import reported
from orchestrator.cli.progress import Progress, describe
from orchestrator.cli.sessions.forking import show_past
from orchestrator.cli.sessions.opened import SessionArgument, opened_sessions
from orchestrator.cli.terminal import stdout, write
from orchestrator.events import (
    AgentMessage,
    RecordedEvent,
    RunEnded,
    RunStarted,
    TextDelta,
    ThinkingDelta,
)
from orchestrator.words import as_text, in_line


def show(session_id: SessionArgument) -> None:
    """Show every step of a session: prompts, tool calls, results, answers, usage."""
    with reported():
        anyio.run(_show, session_id)


def follow(
    session_id: SessionArgument,
    after: Annotated[
        int, typer.Option(metavar="N", min=0, help="Begin after the event of this number.")
    ] = 0,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the runs to come; Ctrl-C ends it.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one event a line, as JSON with its number.")
    ] = False,
) -> None:
    """Show what happens in a session, from its first event on, until no run is at work in it.

    Whoever follows does not hold up the run, which may be another process's, nor end it.
    """
    with reported():
        anyio.run(_print_events if as_json else _watch, session_id, after, wait)


async def _show(session_id: str) -> None:
    async with opened_sessions() as sessions:
        session = await sessions.get(session_id)
        stdout.print(f"session {session.id}\nroot {in_line(session.root)}")
        await show_past(sessions, session.id)
        first = {run.id: run.first_message_seq for run in await sessions.runs(session_id)}
        async for recorded in sessions.all_events(session_id):
            event = recorded.event
            if isinstance(event, TextDelta | ThinkingDelta):
                continue
            if isinstance(event, RunStarted):
                number = first.get(recorded.run_id, session.last_message_seq + 1)
                stdout.print(f"run {recorded.run_id}, from message {number} on", style="dim")
            line = describe(event)
            if line is not None:
                stdout.print(line)
            if isinstance(event, AgentMessage):
                stdout.print(event.content)
            if isinstance(event, RunEnded):
                _show_end(event)


async def _watch(session_id: str, after: int, wait: bool) -> None:
    progress = Progress(live=True, lines=stdout)
    async with opened_sessions() as sessions:
        async for recorded in sessions.follow_session(session_id, after=after, wait=wait):
            progress.show(recorded.event)
            if isinstance(recorded.event, RunEnded):
                _show_end(recorded.event)


async def _print_events(session_id: str, after: int, wait: bool) -> None:
    async with opened_sessions() as sessions:
        async for recorded in sessions.follow_session(session_id, after=after, wait=wait):
            write(json.dumps(_as_json(recorded)) + "\n")


def _as_json(recorded: RecordedEvent) -> dict[str, object]:
    return {
        "seq": recorded.seq,
        "run_id": recorded.run_id,
        "at": recorded.at.isoformat(),
        "event": recorded.event.model_dump(mode="json"),
    }


def _show_end(event: RunEnded) -> None:
    if event.error_text:
        stdout.print(event.error_text)
    if event.output is not None and not isinstance(event.output, str):
        # Text has been shown as the agent's message; a structured answer is none.
        stdout.print(as_text(event.output))
