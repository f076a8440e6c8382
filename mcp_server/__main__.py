"""`python -m mcp_server --root DIR`: serve one directory over stdin and stdout."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import anyio

from mcp_server.errors import InvalidInputError, ServerError
from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace

EXIT_INVALID_INPUT = 2
EXIT_UNAVAILABLE = 6
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

logger = logging.getLogger("mcp_server")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INVALID_INPUT, f"{self.prog}: {message}; see --help\n")


def main(argv: Sequence[str] | None = None, *, program: str = "python -m mcp_server") -> int:
    """Serve until the client closes stdin, and return the exit code.

    Args:
        argv: the arguments behind the program's name; those of the process when None.
        program: how the user has called it, for what it says.
    """
    try:
        arguments = _parser(program).parse_args(argv)
    except SystemExit as stop:  # --help and wrong arguments: argparse has said all
        return int(stop.code or 0)
    # stdout is the wire: a log line there would be a broken message.
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        anyio.run(_serve, arguments.root, _load_grant(arguments.grant, arguments.root))
    except ServerError as error:
        print(f"{program}: {error}", file=sys.stderr)
        is_input = isinstance(error, InvalidInputError)
        return EXIT_INVALID_INPUT if is_input else EXIT_UNAVAILABLE
    except KeyboardInterrupt:  # it came before `_exit_on_signal` listened
        return 128 + signal.SIGINT
    return 0


def _parser(program: str) -> argparse.ArgumentParser:
    parser = _Parser(
        prog=program,
        description="Serve the files of one directory to an MCP host, over stdin and stdout.",
        allow_abbrev=False,
    )
    parser.add_argument("--root", required=True, metavar="DIR", help="the directory to serve")
    parser.add_argument(
        "--grant",
        metavar="JSON|FILE",
        help="what callers may do, as JSON text or a file of it; all but what is denied by default",
    )
    parser.add_argument(
        "--log-level", default="WARNING", type=str.upper, choices=_LEVELS, help="default: WARNING"
    )
    return parser


def _load_grant(argument: str | None, root: str) -> Grant:
    """Return the grant given as JSON text or as the path of a file; the full one for None.

    Raises:
        InvalidInputError: it is broken, or a file below `root`, where a caller could change it.
    """
    if argument is None:
        return Grant.full()
    if not argument or argument.lstrip().startswith("{"):
        return Grant.from_json(argument)
    try:
        file, directory = Path(argument), Path(root)
        text = file.read_text(encoding="utf-8")
        names = (file.absolute(), file.resolve())
        if any(name.is_relative_to(directory.resolve()) for name in names):
            raise InvalidInputError(
                f"The grant file {argument!r} lies below the root, where it could be written. Keep "
                "it outside."
            )
        return Grant.from_json(text)
    except OSError as error:
        reason = error.strerror
        raise InvalidInputError(f"The grant file {argument!r} cannot be read: {reason}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"The grant file {argument!r} is not UTF-8 text.") from error


async def _serve(root: str, grant: Grant) -> None:
    async with Workspace.open(root, grant) as workspace, anyio.create_task_group() as tasks:
        tasks.start_soon(_exit_on_signal, workspace)
        logger.info(
            "serving %s; tools: %s; confinement: %s",
            workspace.root_names[0],
            ", ".join(grant.tools) or "none",
            workspace.confinement,
        )
        await _serve_stdio(workspace)
        tasks.cancel_scope.cancel()


async def _serve_stdio(workspace: Workspace) -> None:
    # The lazy seam: the SDK takes most of a second to import, which nobody should wait for to be
    # told that the root does not exist.
    from mcp.server.stdio import stdio_server

    from mcp_server.server import create_server

    server = create_server(workspace)
    try:
        async with stdio_server() as (reader, writer):
            await server.run(reader, writer, server.create_initialization_options())
    except* BrokenPipeError:  # an end like any other
        logger.info("the client went away before it had read its answers")


async def _exit_on_signal(workspace: Workspace) -> None:
    """End the process on SIGINT and SIGTERM once the work on files has ended.

    Cancelling the server is not enough: its thread that waits for stdin cannot be interrupted, and
    a terminal user would have to press Enter after Ctrl-C.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            await workspace.close()
            os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
