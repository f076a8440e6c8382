"""`workyard sessions`: what is on record."""

from typing import Annotated

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import reported
from orchestrator.cli.forks import show_past
from orchestrator.cli.progress import as_text, describe
from orchestrator.cli.terminal import ago, one_line, print_table, printable, stdout
from orchestrator.events import AgentMessage, RunEnded, TextDelta, ThinkingDelta
from orchestrator.settings import load_settings

app = typer.Typer(help="The sessions on record.", no_args_is_help=True)


@app.command("list")
def list_sessions(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
) -> None:
    """List the sessions that were active last."""
    with reported():
        anyio.run(_list, limit)


@app.command()
def show(session_id: str) -> None:
    """Show every step of a session: prompts, tool calls, results, answers, usage."""
    with reported():
        anyio.run(_show, session_id)


async def _list(limit: int) -> None:
    async with orchestrator.open_store(load_settings().effective_database_url) as store:
        sessions = await store.sessions.latest(limit=limit)
    rows = (
        (
            session.id,
            session.agent,
            "running" if session.status == "running" else ago(session.updated_at),
            one_line(session.title, 60),
        )
        for session in sessions
    )
    print_table(("session", "agent", "active", "title"), rows)


async def _show(session_id: str) -> None:
    async with orchestrator.open_store(load_settings().effective_database_url) as store:
        session = await store.sessions.get(session_id)
        stdout.print(f"session {session.id}\nroot {printable(session.root)}", markup=False)
        await show_past(store.sessions, session.id)
        async for recorded in store.sessions.all_events(session_id):
            event = recorded.event
            if isinstance(event, TextDelta | ThinkingDelta):
                continue
            line = describe(event)
            if line is not None:
                stdout.print(line)
            if isinstance(event, AgentMessage):
                stdout.print(printable(event.content), markup=False)
            if isinstance(event, RunEnded):
                _show_end(event)


def _show_end(event: RunEnded) -> None:
    if event.error_text:
        stdout.print(printable(event.error_text), markup=False)
    if event.output is not None and not isinstance(event.output, str):
        # Text has been shown as the agent's message; a structured answer is none.
        stdout.print(printable(as_text(event.output)), markup=False)
