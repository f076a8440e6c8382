"""`workyard sessions fork`: a second way on from a point of a session."""

from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from orchestrator.cli.exits import reported
from orchestrator.cli.progress import describe
from orchestrator.cli.sessions.opened import SessionArgument, opened_sessions
from orchestrator.cli.terminal import stderr, stdout, write
from orchestrator.errors import HistoryUnreadableError
from orchestrator.events import AgentMessage

if TYPE_CHECKING:
    from orchestrator.store.sessions import Sessions


def fork(
    session_id: SessionArgument,
    at: Annotated[
        int | None,
        typer.Option(
            "--at",
            metavar="N",
            min=0,
            help="The last message to share. By default all, or all before the run under way.",
        ),
    ] = None,
    title: Annotated[str | None, typer.Option(help="The title of the new session.")] = None,
) -> None:
    """Begin a session that shares another's past, and print its id."""
    with reported():
        anyio.run(_fork, session_id, at, title)


async def _fork(session_id: str, at: int | None, title: str | None) -> None:
    async with opened_sessions() as sessions:
        session = await sessions.fork(session_id, at=at, title=title)
    write(f"{session.id}\n")
    stderr.print(_shared(session.origin_seq or 0, session_id))


async def show_past(sessions: "Sessions", session_id: str) -> None:
    """Show where a fork comes from, and what it shares, each line with its message's number."""
    try:
        past = await sessions.inherited(session_id)
    except HistoryUnreadableError as error:
        stdout.print(str(error))
        return
    if past is None:
        return
    stdout.print(_shared(past.upto, past.session_id))
    for number, event in past.events:
        line = describe(event)
        if line is not None:
            stdout.print(f"[{number}]", line)
        if isinstance(event, AgentMessage):
            stdout.print(f"[{number}]", event.content)


def _shared(upto: int, origin_id: str | None) -> str:
    origin = "a session that is deleted" if origin_id is None else f"session {origin_id}"
    if not upto:
        return f"a fork of {origin}, with none of its messages"
    return f"a fork of {origin}, whose messages 1 to {upto} it shares"
