"""`workyard sessions export` and `import`: to files and from them."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from io import BufferedReader
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO, Annotated

import anyio
import typer

from orchestrator.cli.exits import reported
from orchestrator.cli.sessions.opened import SessionArgument, opened_sessions
from orchestrator.cli.terminal import is_terminal, write
from orchestrator.errors import InvalidInputError
from orchestrator.roots import resolve_root

MAX_BYTES = 2**30
"""What is read is held in memory."""


class Format(StrEnum):
    """What a session is exported as."""

    JSONL = "jsonl"
    MARKDOWN = "markdown"
    MESSAGES = "messages"


def export(
    session_id: SessionArgument,
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="jsonl is complete and can be imported; messages is JSON for Pydantic AI.",
        ),
    ] = Format.JSONL,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Instead of stdout; it is replaced."),
    ] = None,
) -> None:
    """Write a session as JSON Lines, Markdown, or messages of Pydantic AI."""

    async def copy(file: IO[bytes] | None) -> None:
        async with opened_sessions() as sessions:
            async for piece in sessions.export(session_id, form.value):
                if file is None:
                    write(piece)
                else:
                    file.write(piece.encode(errors="backslashreplace"))

    with reported():
        if output is not None:
            with _replacing(output) as file:
                anyio.run(copy, file)
        elif is_terminal(sys.stdout):
            anyio.run(copy, None)
        else:
            anyio.run(copy, sys.stdout.buffer)


def import_session(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="An export as jsonl or messages; - is stdin.")
    ],
    root: Annotated[
        str | None,
        typer.Option(help="The directory that it is about here. By default, the export's."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option(help="The agent that messages are of; jsonl names it.")
    ] = None,
) -> None:
    """Put an exported session on record, all of it or nothing, and print its id.

    It keeps its id unless that is on record already.
    """
    with reported(), _reading(file) as source:
        place = None if root is None else str(resolve_root(root))
        write(f"{anyio.run(_import, source, place, agent)}\n")


async def _import(source: BufferedReader, root: str | None, agent: str | None) -> str:
    first = source.peek(64).lstrip()[:1]
    async with opened_sessions() as sessions:
        if first != b"[":
            return (await sessions.import_lines(source, root=root)).id
        if agent is None:
            raise InvalidInputError("A list of messages names no agent; name it with --agent.")
        text = source.read(MAX_BYTES).decode(errors="replace")
        place = root or str(resolve_root("."))
        return (await sessions.import_messages(text, agent=agent, root=place)).id


@contextmanager
def _reading(file: str) -> Iterator[BufferedReader]:
    if file == "-":
        # Whatever stands in for it in a test or a notebook need not let itself be peeked at.
        yield BufferedReader(sys.stdin.buffer)  # type: ignore[arg-type]  # it can be read into
        return
    try:
        with Path(file).open("rb") as source:
            yield source
    except OSError as error:
        raise InvalidInputError(f"{file!r} cannot be read: {error.strerror}.") from None


@contextmanager
def _replacing(output: Path) -> Iterator[IO[bytes]]:
    """Write a file that only its owner can read, and that is there only when it is whole."""
    try:
        with NamedTemporaryFile(dir=output.parent, prefix=output.name, delete=False) as file:
            try:
                yield file
                file.flush()
                os.replace(file.name, output)
            except BaseException:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise InvalidInputError(f"{str(output)!r} cannot be written: {error.strerror}.") from None
