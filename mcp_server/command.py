"""The program: serve one directory over stdin and stdout, or HTTP."""

import argparse
import gc
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NoReturn

import anyio

from mcp_server.errors import InvalidInputError, ServerError, UnavailableError
from mcp_server.fence.grant import TOOL_NAMES, WRITING_TOOLS, Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.front import Front
from mcp_server.ports import Embedder, Offers

PROGRAM = "python -m mcp_server"
EXIT_INVALID_INPUT = 2
EXIT_UNAVAILABLE = 6
_RUN_AGENT = "run_agent"
"""In `--tools`, the tools that run agents, all of them."""
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

logger = logging.getLogger("mcp_server")


class _Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_INVALID_INPUT, f"{self.prog}: {message}; see --help\n")


class _Reader(_Parser):
    """A parser for who only wants to know what arguments mean."""

    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"{self.prog}: {message}; see {self.prog} --help.")


def main(
    argv: Sequence[str] | None = None,
    *,
    program: str = PROGRAM,
    embedder: Embedder | None = None,
    front: Front | None = None,
) -> int:
    """Serve until the client closes stdin, and return the exit code.

    Args:
        argv: the arguments behind the program's name; those of the process when None.
        program: how the user has called it, for what it says.
        embedder: who offers more than files.
        front: who listens on stdin already, as it was opened before all this was imported.
    """
    argv = sys.argv[1:] if argv is None else argv
    front = front or Front.opened(program, argv)
    parser = _parser(program)
    if embedder is not None:
        embedder.add_arguments(parser)
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # --help and wrong arguments: argparse has said all
        return int(stop.code or 0)
    # stdout is the wire: a log line there would be a broken message.
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    try:
        runs_agents = embedder is not None and _take_agents_out(arguments)
        grant = _effective_grant(arguments)
        offered: AbstractAsyncContextManager[Offers] = nullcontext(Offers())
        if embedder is not None:
            grant = grant.denying(embedder.denied(arguments))
            offered = embedder.open(arguments, grant, runs_agents=runs_agents)
        if arguments.http is not None:
            return anyio.run(_serve_http, arguments, grant, offered)
        anyio.run(_serve, arguments, grant, offered, front)
    except ServerError as error:
        print(f"{program}: {error}", file=sys.stderr)
        is_input = isinstance(error, InvalidInputError)
        return EXIT_INVALID_INPUT if is_input else EXIT_UNAVAILABLE
    except KeyboardInterrupt:  # it came before `_exit_on_signal` listened
        return 128 + signal.SIGINT
    return 0


def granted_by(
    argv: Sequence[str], *, program: str = PROGRAM, embedder: Embedder | None = None
) -> Grant:
    """Return what callers may do at a server that is started with these arguments.

    Args:
        argv: the arguments behind the program's name; `--root` may be missing.
        program: how the server is called.
        embedder: who offers more than files there.

    Raises:
        InvalidInputError: no server would start with them.
    """
    parser = _parser(program, _Reader)
    if embedder is not None:
        embedder.add_arguments(parser)
    # Below no root lies the file of a grant, when none is named.
    arguments = parser.parse_args(["--root", os.devnull, *argv])
    _take_agents_out(arguments)
    return _effective_grant(arguments)


def _parser(program: str, kind: type[_Parser] = _Parser) -> argparse.ArgumentParser:
    parser = kind(
        prog=program,
        description="Serve the files of one directory to MCP hosts, over stdio or HTTP.",
        allow_abbrev=False,
        add_help=kind is _Parser,
    )
    # Hosts start a server without a shell, and pass on `~` as it stands in their settings.
    parser.add_argument(
        "--root",
        required=True,
        type=os.path.expanduser,
        metavar="DIR",
        help="the directory to serve",
    )
    parser.add_argument(
        "--grant",
        metavar="JSON|FILE",
        help="what callers may do, as JSON text or a file of it; all but what is denied by default",
    )
    _add_grant_flags(parser)
    _add_http_flags(parser)
    parser.add_argument(
        "--require-confinement",
        action="store_true",
        help="do not start where the kernel cannot confine threads to the root (Landlock)",
    )
    parser.add_argument(
        "--log-level", default="WARNING", type=str.upper, choices=_LEVELS, help="default: WARNING"
    )
    return parser


def _add_grant_flags(parser: argparse.ArgumentParser) -> None:
    flags = parser.add_argument_group(
        "what callers may do",
        "Beside --grant, these narrow it; none widens it. Each GLOB flag can be given again.",
    )
    flags.add_argument(
        "--tools", metavar="A,B", type=_names, help="the tools that may be called; default: all"
    )
    flags.add_argument("--read", metavar="GLOB", action="append", help="may be read; default: **")
    writing = flags.add_mutually_exclusive_group()
    writing.add_argument("--read-only", action="store_true", help="no tool that changes files")
    writing.add_argument(
        "--write", metavar="GLOB", action="append", help="may be written; default: **"
    )
    flags.add_argument(
        "--deny", metavar="GLOB", action="append", help="out of reach with all below it"
    )
    flags.add_argument(
        "--allow", metavar="GLOB", action="append", help="within reach although denied by default"
    )


def _take_agents_out(arguments: argparse.Namespace) -> bool:
    """Take what runs agents out of the file tools that were named; say whether it was meant.

    A grant is about files, and what an agent gets of it: it knows nothing of running agents.
    """
    if arguments.tools is None:
        return arguments.grant is None
    is_meant = _RUN_AGENT in arguments.tools
    arguments.tools = [name for name in arguments.tools if name != _RUN_AGENT]
    return is_meant


def _add_http_flags(parser: argparse.ArgumentParser) -> None:
    flags = parser.add_argument_group(
        "over HTTP",
        "Beyond this machine, callers need a token; put TLS in front, or name its files.",
    )
    flags.add_argument("--http", metavar="HOST:PORT", help="serve /mcp there instead of stdio")
    flags.add_argument("--token-file", metavar="FILE", help="hashes of the tokens that are taken")
    flags.add_argument("--issuer", metavar="URL", help="whose OAuth access tokens are taken")
    flags.add_argument("--jwks-url", metavar="URL", help="where the issuer's keys are")
    flags.add_argument("--resource", metavar="URL", help="the audience that tokens must name")
    flags.add_argument("--allowed-host", metavar="HOST", action="append", help="a Host to answer")
    flags.add_argument(
        "--allowed-origin", metavar="ORIGIN", action="append", help="a page's origin"
    )
    flags.add_argument(
        "--rate", metavar="N", type=_count, default=600, help="requests a minute each"
    )
    flags.add_argument(
        "--at-once", metavar="N", type=_count, default=32, help="requests at once each"
    )
    flags.add_argument("--tls-cert", metavar="FILE", help="the certificate, with --tls-key")
    flags.add_argument("--tls-key", metavar="FILE", help="its key")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")
    return int(text)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _effective_grant(arguments: argparse.Namespace) -> Grant:
    """Return what is allowed both by --grant and by the flags beside it.

    Raises:
        InvalidInputError: one of them is broken.
    """
    everything = {"tools": TOOL_NAMES, "read": ("**",), "write": ("**",)}
    said = _said(arguments)
    if arguments.grant is None:
        return Grant.from_values({**everything, **said})
    given = _load_grant(arguments.grant, arguments.root)
    if not said:
        return given
    # Of what they do not speak of, the flags take nothing away.
    unsaid = {**everything, "allow": ("**",), "limits": given.limits}
    return given.narrowed_by(Grant.from_values({**unsaid, **said}))


def _said(arguments: argparse.Namespace) -> dict[str, Sequence[str]]:
    """Return the fields of a grant that flags speak of."""
    given = {name: getattr(arguments, name) for name in ("tools", "read", "write", "deny", "allow")}
    said: dict[str, Sequence[str]] = {k: v for k, v in given.items() if v is not None}
    if arguments.read_only:
        tools = said.get("tools", TOOL_NAMES)
        said |= {"tools": [name for name in tools if name not in WRITING_TOOLS], "write": ()}
    return said


def _load_grant(argument: str, root: str) -> Grant:
    """Return the grant given as JSON text or as the path of a file.

    Raises:
        InvalidInputError: it is broken, or a file below `root`, where a caller could change it.
    """
    if not argument or argument.lstrip().startswith("{"):
        return Grant.from_json(argument)
    try:
        file, directory = Path(os.path.expanduser(argument)), Path(root)  # as for --root
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


async def _serve(
    arguments: argparse.Namespace,
    grant: Grant,
    offered: AbstractAsyncContextManager[Offers],
    front: Front,
) -> None:
    if sys.__stdin__ is None or sys.__stdout__ is None:  # so Python says that it was born without
        raise UnavailableError("stdin and stdout have to be open: MCP goes there.")
    async with offered as offers, Workspace.open(arguments.root, grant) as workspace:
        _check_confinement(workspace, arguments.require_confinement)
        logger.info(
            "serving %s; confinement: %s; grant: %s",
            workspace.root_names[0],
            workspace.confinement,
            grant.model_dump_json(),
        )
        fault = None
        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as serving:
                tasks.start_soon(_exit_on_signal, workspace, serving)
                fault = await _serve_stdio(workspace, offers, front)
            tasks.cancel_scope.cancel()
    if fault:
        raise UnavailableError(f"Answers cannot be written to stdout: {fault.strerror}.") from fault


async def _serve_http(
    arguments: argparse.Namespace, grant: Grant, offered: AbstractAsyncContextManager[Offers]
) -> int:
    # The lazy seam: a host that speaks over stdio does not wait for a web server's import.
    from mcp_server.http.serving import access_from, serve_http

    access = access_from(arguments)
    async with offered as offers, Workspace.open(arguments.root, grant) as workspace:
        _check_confinement(workspace, arguments.require_confinement)
        return await serve_http(workspace, offers, arguments, access)


def _check_confinement(workspace: Workspace, is_required: bool) -> None:
    if is_required and not workspace.confinement.is_on:
        raise UnavailableError(
            "Confinement is required, but this kernel has no Landlock, or a container hides "
            "it. Without --require-confinement, the path checks stand alone."
        )


async def _serve_stdio(workspace: Workspace, offers: Offers, front: Front) -> OSError | None:
    # The lazy seam: the SDK takes most of a second to import, which nobody should wait for to be
    # told that the root does not exist.
    with _kept_for_good():
        from mcp_server.server import create_server, initialization_options
        from mcp_server.stdio import stdio_stream

    server = create_server(workspace, offers)
    places = () if offers.catalog is None else offers.catalog.places()
    async with stdio_stream(front, places) as stream:
        await server.run(stream, stream, initialization_options(server))
    return stream.fault


@contextmanager
def _kept_for_good() -> Iterator[None]:
    """Let no garbage be looked for among what is loaded meanwhile, now or later.

    The SDK is eighty thousand objects that stay: to look through them again and again takes an
    eighth of the time to import it, and makes each full collection while it serves a pause.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


async def _exit_on_signal(workspace: Workspace, serving: anyio.CancelScope) -> None:
    """End the process on SIGINT and SIGTERM once the work on files has ended.

    Nothing more is begun then, and nobody waits for answers to be read, or for a terminal on stdin:
    its thread cannot be interrupted, and a user would have to press Enter after Ctrl-C.
    """
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            serving.cancel()
            with anyio.CancelScope(shield=True):
                await workspace.close()
                os._exit(128 + number)
