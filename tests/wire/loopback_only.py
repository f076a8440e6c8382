"""Keep a process from talking to any other machine, names included.

For the whole suite, in the top-level conftest:

    @pytest.fixture(autouse=True)
    def _loopback_only() -> Iterator[None]:
        with loopback_only() as refused:
            yield
        assert refused == []  # also when the code under test swallowed the error

asyncio, anyio, httpx, requests and ssl all connect through `socket.socket`. Not covered:
subprocesses, which install the guard themselves; C code that opens sockets without Python.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address
from typing import Any
from unittest.mock import patch

GUARDED_METHODS = ("connect", "connect_ex", "sendto")
GUARDED_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex")
LOCAL_NAMES = frozenset({"localhost", ""})


class OffMachineError(RuntimeError):
    """Code under test tried to reach another machine.

    No `OSError`: a client would take it for a network fault and try again.
    """

    def __init__(self, asked: str) -> None:
        super().__init__(f"{asked} leaves this machine. Tests reach 127.0.0.1 and ::1 only.")
        self.asked = asked


@contextmanager
def loopback_only() -> Iterator[list[str]]:
    """Refuse every connection and lookup that is not for this machine; yield what was refused.

    Raises: OffMachineError, in the code that connects.
    """
    refused: list[str] = []

    def refuse(asked: str) -> None:
        refused.append(asked)
        raise OffMachineError(asked)

    with ExitStack() as patches:
        for name in GUARDED_METHODS:
            guard = _guarded_method(name, refuse)
            patches.enter_context(patch.object(socket.socket, name, guard))
        for name in GUARDED_LOOKUPS:
            patches.enter_context(patch.object(socket, name, _guarded_lookup(name, refuse)))
        yield refused


Refuse = Callable[[str], None]


def _guarded_method(name: str, refuse: Refuse) -> Callable[..., Any]:  # as `socket`'s own
    original = getattr(socket.socket, name)

    def method(self: socket.socket, *args: Any) -> Any:
        address = args[-1]  # sendto(bytes[, flags], address)
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_local(address[0]):
            self.close()  # `socket.create_connection` would do so for an OSError only
            refuse(f"socket.{name} to {address[0]!r} port {address[1]}")
        return original(self, *args)

    return method


def _guarded_lookup(name: str, refuse: Refuse) -> Callable[..., Any]:  # as `socket`'s own
    original = getattr(socket, name)

    def lookup(host: str | bytes | None, *args: Any, **options: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host or ""
        if text not in LOCAL_NAMES and not _is_numeric(text):
            refuse(f"socket.{name} of {text!r}")
        return original(host, *args, **options)

    return lookup


def _is_numeric(host: str) -> bool:
    """Tell whether `host` is an address, which needs no lookup."""
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_local(host: str) -> bool:
    if not _is_numeric(host):
        return host in LOCAL_NAMES
    return ip_address(host.partition("%")[0]).is_loopback
