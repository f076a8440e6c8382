"""Serve a root over HTTP until a signal comes."""

import argparse
import ipaddress
import signal
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import uvicorn
from mcp.server.lowlevel import Server
from starlette.applications import Starlette

from mcp_server.calls import Calls
from mcp_server.errors import InvalidInputError, UnavailableError
from mcp_server.fence.grant import Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.http.app import Access, create_app
from mcp_server.http.connections import BoundedProtocol
from mcp_server.http.holders import Holder, apart
from mcp_server.http.limits import HttpLimits
from mcp_server.http.oauth import Issuer
from mcp_server.http.scopes import AGENTS_RUN, FILES_WRITE, read_only
from mcp_server.http.tokens import StaticTokens
from mcp_server.ports import Offers
from mcp_server.server import create_server

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_FINISH_S = 10
_MAX_CONNECTIONS = 2000


class _Server(uvicorn.Server):
    """uvicorn, without its way to end the process: the workspace has to be closed before that."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def access_from(arguments: argparse.Namespace) -> Access:
    """Return who may come in, as the command line says.

    Raises:
        InvalidInputError: it lets anybody in from elsewhere, or something is missing or broken.
    """
    host, _ = address_from(arguments.http)
    oauth = (arguments.issuer, arguments.jwks_url, arguments.resource)
    if any(oauth) and not all(oauth):
        raise InvalidInputError("--issuer, --jwks-url and --resource belong together; give all.")
    is_local = _is_local(host)
    names = (*(_LOCAL if is_local else ()), *(arguments.allowed_host or ()))
    access = Access(
        hosts=tuple(each for name in names for each in _with_ports(name)),
        origins=(
            *((f"http://{name}:*" for name in _LOCAL) if is_local else ()),
            *(arguments.allowed_origin or ()),
        ),
        tokens=_tokens(arguments),
        issuer=Issuer(*oauth) if all(oauth) else None,
    )
    if not is_local and not access.is_authenticated:
        raise InvalidInputError(
            f"--http {arguments.http} is open to other machines, and nobody would be asked "
            "for a token. Give --token-file, or --issuer with --jwks-url and --resource, or bind "
            "127.0.0.1."
        )
    if not access.hosts:
        raise InvalidInputError(
            "Name the host that clients call with --allowed-host: requests for others are refused."
        )
    return access


def address_from(text: str) -> tuple[str, int]:
    """Return host and port of `HOST:PORT`; an IPv6 address stands in brackets.

    Raises:
        InvalidInputError: it is not of that form.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise InvalidInputError(f"--http takes HOST:PORT, such as 127.0.0.1:8000, not {text!r}.")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def serve_http(
    workspace: Workspace, offers: Offers, arguments: argparse.Namespace, access: Access
) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code.

    No request is taken then; those under way have ten seconds to finish.

    Raises:
        UnavailableError: the address cannot be bound.
    """
    host, port = address_from(arguments.http)
    limits = HttpLimits(arguments.rate, arguments.at_once)
    async with open_app(workspace, offers, access, limits) as app:
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            http=BoundedProtocol,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_FINISH_S,
            ssl_certfile=arguments.tls_cert,
            ssl_keyfile=arguments.tls_key,
        )
        return await _until_signal(_Server(config), arguments.http)


@asynccontextmanager
async def open_app(
    workspace: Workspace, offers: Offers, access: Access, limits: HttpLimits
) -> AsyncGenerator[Starlette]:
    """Open the application: with tokens asked for, each caller has a server of its own in it."""
    if not access.is_authenticated:
        yield create_app(lambda _: create_server(workspace, offers), access, limits)
        return
    # A grant of its own behind its own gate: a bug in the choice of tools opens no file to write.
    async with Workspace.open(workspace.root_names[0], read_only(workspace.grant)) as reading:
        yield create_app(_each_apart(reading, workspace, offers), access, limits)


def _each_apart(
    reading: Workspace, writing: Workspace, offers: Offers
) -> Callable[[Holder], Server[object]]:
    """Return what makes the server of each caller."""
    limit = writing.grant.limits.calls
    # For good: a caller whose server has made room for another's has not got its calls back.
    calls: dict[str, Calls] = {}

    def server_for(holder: Holder) -> Server[object]:
        workspace = writing if FILES_WRITE in holder.scopes else reading
        counted = calls.setdefault(holder.name, Calls(limit))
        own = _offers_of(holder, workspace.grant, offers)
        return create_server(workspace, own, identify=apart, calls=counted)

    return server_for


def _offers_of(holder: Holder, grant: Grant, offers: Offers) -> Offers:
    """Return what of the operator's offers a caller has: its own runs and sessions, or none."""
    if AGENTS_RUN not in holder.scopes or offers.runner is None:
        return replace(offers, runner=None, transcripts=None)
    transcripts = offers.transcripts and offers.transcripts.of(holder.name, grant)
    return replace(offers, runner=offers.runner.of(holder.name, grant), transcripts=transcripts)


async def _until_signal(server: uvicorn.Server, address: str) -> int:
    received = 0

    async def listen() -> None:
        nonlocal received
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                received, server.should_exit = number, True

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        try:
            await server.serve()
        except SystemExit:  # so uvicorn says that it could not bind; its log has the reason
            raise UnavailableError(f"{address} cannot be served: is the port in use?") from None
        finally:
            tasks.cancel_scope.cancel()
    return 128 + received if received else 0


def _tokens(arguments: argparse.Namespace) -> StaticTokens | None:
    if arguments.token_file is None:
        return None
    file = Path(arguments.token_file).expanduser()
    return StaticTokens(file, root=Path(arguments.root))


def _with_ports(name: str) -> tuple[str, ...]:
    bare = name.removeprefix("[").partition("]")[2] if name.startswith("[") else name
    return (name,) if ":" in bare else (name, f"{name}:*")


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
