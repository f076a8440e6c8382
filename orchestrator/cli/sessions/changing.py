"""`workyard sessions rename`, `delete` and `state`: what an owner does to a session."""

import json
from typing import TYPE_CHECKING, Annotated

import anyio
import typer
from pydantic import JsonValue

from orchestrator.cli.exits import reported
from orchestrator.cli.sessions.opened import SessionArgument, opened_sessions
from orchestrator.cli.terminal import is_terminal, stderr, write
from orchestrator.errors import InvalidInputError, SessionDamagedError
from orchestrator.state import State
from orchestrator.words import one_line

if TYPE_CHECKING:
    from orchestrator.store.sessions import Sessions

state = typer.Typer(help="A session's state, which agents and callers share.", no_args_is_help=True)


def rename(
    session_id: SessionArgument, title: Annotated[str, typer.Argument(help="The new title.")]
) -> None:
    """Give a session another title."""

    async def renamed() -> None:
        async with opened_sessions() as sessions:
            await sessions.rename(session_id, title)

    with reported():
        anyio.run(renamed)


def delete(
    session_id: SessionArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Delete it without asking.")] = False,
) -> None:
    """Delete a session, for good. Its forks keep what they share; files stay as they are."""
    with reported():
        anyio.run(_delete, session_id, yes)


@state.command("get")
def get_state(
    session_id: SessionArgument,
    key: Annotated[str | None, typer.Argument(help="One key, instead of all.")] = None,
) -> None:
    """Print a session's state as JSON, and its version on stderr."""

    async def read() -> State:
        async with opened_sessions() as sessions:
            return await sessions.state(session_id)

    with reported():
        found = anyio.run(read)
        if key is not None and key not in found.values:
            raise InvalidInputError(
                f"The state has no key {key!r}; it has {', '.join(sorted(found.values)) or 'none'}."
            )
        value = found.values if key is None else found.values[key]
        write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        stderr.print(f"version {found.version}")


@state.command("set")
def set_state(
    session_id: SessionArgument,
    changes: Annotated[
        list[str],
        typer.Argument(metavar="KEY=VALUE...", help="JSON, or else text; null removes the key."),
    ],
    expected_version: Annotated[
        int | None,
        typer.Option("--expect", metavar="VERSION", help="Only if it is this version still."),
    ] = None,
) -> None:
    """Change keys of a session's state; objects are merged into those that are there."""

    async def update() -> State:
        patch = dict(_change(text) for text in changes)
        async with opened_sessions() as sessions:
            return await sessions.update_state(session_id, patch, expected_version=expected_version)

    with reported():
        stderr.print(f"version {anyio.run(update).version}")


async def _delete(session_id: str, yes: bool) -> None:
    async with opened_sessions() as sessions:
        if not yes and not _is_meant(f"Delete {await _called(sessions, session_id)}?"):
            raise InvalidInputError("Nothing was deleted; say --yes to delete without being asked.")
        await sessions.delete(session_id)


async def _called(sessions: "Sessions", session_id: str) -> str:
    try:
        session = await sessions.get(session_id)
    except SessionDamagedError:
        return f"session {session_id}, which is damaged"
    return repr(one_line(session.title, 60))


def _is_meant(question: str) -> bool:
    return is_terminal(typer.get_text_stream("stdin")) and typer.confirm(question, err=True)


def _change(text: str) -> tuple[str, JsonValue]:
    key, is_there, value = text.partition("=")
    if not key or not is_there:
        raise InvalidInputError(f"{text!r} is no change; write KEY=VALUE.")
    try:
        parsed: JsonValue = json.loads(value)
    except (ValueError, RecursionError):
        parsed = value
    return key, parsed
