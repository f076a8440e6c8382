"""No test talks to another machine, by whichever way it tries."""

import asyncio
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from contextlib import suppress

import anyio
import httpx2
import pytest

from tests.wire.loopback_only import OffMachineError, loopback_only

FAR_IPV4 = "192.0.2.1"
FAR_IPV6 = "2001:db8::1"
"""Both are reserved for documentation (RFC 5737, RFC 3849): nobody answers if the guard fails."""


def connect(host: str, family: socket.AddressFamily = socket.AF_INET) -> None:
    with socket.socket(family) as client:
        client.settimeout(0.1)
        client.connect((host, 80))


def connect_ex() -> None:
    with socket.socket() as client:
        client.settimeout(0.1)
        client.connect_ex((FAR_IPV4, 80))


def send_datagram() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"hello", (FAR_IPV4, 53))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "connect": lambda: connect(FAR_IPV4),
    "connect to IPv6": lambda: connect(FAR_IPV6, socket.AF_INET6),
    "connect to a name": lambda: connect("example.invalid"),
    "connect_ex": connect_ex,
    "create_connection": lambda: socket.create_connection((FAR_IPV4, 80), timeout=0.1),
    "datagram": send_datagram,
    "name lookup": lambda: socket.getaddrinfo("example.invalid", 80),
    "old name lookup": lambda: socket.gethostbyname("example.invalid"),
    "urllib": lambda: urllib.request.urlopen(f"http://{FAR_IPV4}/", timeout=0.1),
    "httpx2": lambda: httpx2.get(f"http://{FAR_IPV4}/", timeout=0.1, trust_env=False),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS.keys())
def test_other_machine_is_refused(attempt: Callable[[], object]) -> None:
    with loopback_only() as refused, pytest.raises(OffMachineError, match="leaves this machine"):
        attempt()

    assert len(refused) == 1


async def test_asyncio_connection_is_refused() -> None:
    with loopback_only() as refused, pytest.raises(OffMachineError):
        await asyncio.open_connection(FAR_IPV4, 80)

    assert refused == [f"socket.connect to {FAR_IPV4!r} port 80"]


async def test_anyio_name_is_refused() -> None:
    with loopback_only() as refused, pytest.raises(OffMachineError):
        await anyio.connect_tcp("example.invalid", 80)

    assert refused == ["socket.getaddrinfo of 'example.invalid'"]


def test_swallowed_refusal_is_on_the_list() -> None:
    """The SDKs wrap any exception in their own, and code under test may handle that."""
    with loopback_only() as refused, suppress(RuntimeError):
        connect(FAR_IPV4)

    assert refused == [f"socket.connect to {FAR_IPV4!r} port 80"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_this_machine_is_reached(host: str) -> None:
    with (
        loopback_only() as refused,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection((host, server.getsockname()[1]), timeout=5),
    ):
        pass

    assert refused == []


def test_pairs_and_unix_sockets_are_left_alone() -> None:
    with loopback_only():
        left, right = socket.socketpair()
        with left, right:
            left.sendall(b"hello")
            assert right.recv(5) == b"hello"


def test_guard_is_gone_afterwards() -> None:
    before = (socket.socket.connect, socket.getaddrinfo)

    with loopback_only():
        assert (socket.socket.connect, socket.getaddrinfo) != before

    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_guard_is_not_imported_with_a_server() -> None:
    """The top-level conftest imports it for every test, so it must stay cheap."""
    program = "import sys, tests.wire.loopback_only; print('uvicorn' in sys.modules)"

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert told.stdout.split() == [b"False"]
