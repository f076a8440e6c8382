"""Another process that exchanges names beneath a root as fast as it can, and what it must not do.

`door` is a directory and `trap` a link to the one outside, whose names are the same; `file` is a
file and `file-trap` a link to the secret. Whoever looks a path up twice gets out sooner or later.
"""

import ctypes
import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.mcp_server.conftest import SECRET, Yard

INSIDE = "the secret inside"
PAIRS = (("door", "trap"), ("file", "file-trap"), ("tree/sub", "tree/sub-trap"))

needs_exchange = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "renameat2"), reason="this system cannot exchange two names"
)

_SWAP = """
import ctypes, sys
rename = ctypes.CDLL(None).renameat2
names = [name.encode() for name in sys.argv[1:]]
pairs = list(zip(names[::2], names[1::2]))
print("ready", flush=True)
while True:
    if not any([rename(-100, a, -100, b, 2) == 0 for a, b in pairs]):  # RENAME_EXCHANGE
        break
"""


@contextmanager
def exchanging(root: Path, pairs: tuple[tuple[str, str], ...]) -> Iterator[None]:
    """Let another process exchange the two names of each pair beneath `root`, over and over."""
    names = [str(root / name) for pair in pairs for name in pair]
    command = [sys.executable, "-S", "-c", _SWAP, *names]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
            assert process.poll() is None, "the exchange stopped early: nothing was raced"
        finally:
            process.kill()


def with_traps(yard: Yard) -> Yard:
    """Return the yard with three doors to be exchanged, and the same names behind each of them."""
    yard.write("door/secret.txt", INSIDE)
    yard.link("trap", "../outside")
    yard.write("file", INSIDE)
    yard.link("file-trap", "../outside/secret.txt")
    yard.write("tree/sub/secret.txt", INSIDE)
    yard.link("tree/sub-trap", "../../outside")
    for name in ("victim/secret.txt", "new-0/secret.txt"):
        (yard.outside / name).parent.mkdir(exist_ok=True)
        (yard.outside / name).write_text(SECRET)
    return yard


class Refill:
    """What operations have changed, made anew: by descriptor, as names lead through the trap."""

    def __init__(self, root: Path) -> None:
        self._root_fd = os.open(root, os.O_RDONLY)
        self._door_fd = os.open("door", os.O_RDONLY | os.O_NOFOLLOW, dir_fd=self._root_fd)

    def close(self) -> None:
        os.close(self._door_fd)
        os.close(self._root_fd)

    def __call__(self) -> None:
        self._keep(self._door_fd, ("secret.txt", "victim"))
        kept = ("door", "trap", "file", "file-trap", "tree", "src", "docs")
        self._keep(self._root_fd, kept)
        _put_file("secret.txt", self._door_fd)
        with _directory("victim", self._door_fd) as victim:
            _put_file("secret.txt", victim)
        with _directory("docs", self._root_fd) as docs:
            _put_file("guide.md", docs)
        _put_pair("file", "file-trap", "../outside/secret.txt", self._root_fd)
        with _directory("tree", self._root_fd) as tree:
            _put_pair("sub", "sub-trap", "../../outside", tree)

    @staticmethod
    def _keep(directory_fd: int, names: Iterable[str]) -> None:
        for name in set(os.listdir(directory_fd)).difference(names):
            _remove(name, directory_fd)


@contextmanager
def _directory(name: str, above_fd: int) -> Iterator[int]:
    with suppress(FileExistsError):
        os.mkdir(name, dir_fd=above_fd)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=above_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def _put_file(name: str, directory_fd: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    fd = os.open(name, flags, dir_fd=directory_fd)
    os.write(fd, INSIDE.encode())
    os.close(fd)


def _put_pair(real: str, trap: str, target: str, directory_fd: int) -> None:
    """Make a file, or a directory with one, and the link that it is exchanged with."""
    if {real, trap} <= set(os.listdir(directory_fd)):
        return
    for name in {real, trap} & set(os.listdir(directory_fd)):
        _remove(name, directory_fd)
    if real == "file":
        _put_file(real, directory_fd)
    else:
        with _directory(real, directory_fd) as inner:
            _put_file("secret.txt", inner)
    os.symlink(target, trap, dir_fd=directory_fd)


def _remove(name: str, directory_fd: int) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=directory_fd, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=directory_fd)
        return
    with _directory(name, directory_fd) as inner:
        for each in os.listdir(inner):
            _remove(each, inner)
    os.rmdir(name, dir_fd=directory_fd)
