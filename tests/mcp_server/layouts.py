"""Trees written as lines, and what a tree holds, byte for byte."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mcp_server.fence.beneath import Root
from mcp_server.fence.openers import READ_FLAGS, Opened, Opener, Parts
from tests.mcp_server.conftest import Yard


def build(root: Path, lines: Iterable[str]) -> Path:
    """Make a tree: `d/` is a directory, `a => b` a link, `f` a file that holds its own path.

    Directories above are made, `$ABS` stands for the absolute path of `root`.
    Source: the notation of makefs in golang/go src/os/root_test.go.
    """
    root.mkdir(exist_ok=True, parents=True)
    for line in lines:
        name, _, target = line.partition(" => ")
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if target:
            path.symlink_to(target.replace("$ABS", str(root)))
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            path.write_text(name)
    return root


def snapshot(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of everything below: of files, links and directories alike."""
    held = {}
    for at, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = os.path.join(at, name)
            mode = os.lstat(path).st_mode
            content = b""
            if stat.S_ISLNK(mode):
                content = os.fsencode(os.readlink(path))
            elif stat.S_ISREG(mode):
                content = Path(path).read_bytes()
            held[os.path.relpath(path, directory)] = (mode, content)
    return held


@contextmanager
def untouched(directory: Path) -> Iterator[None]:
    """Assert that nothing in `directory` is changed, made, moved or deleted meanwhile."""
    before = snapshot(directory)
    assert before, "an empty directory proves nothing"
    yield
    assert snapshot(directory) == before, f"what is in {directory.name!r} was changed"


@contextmanager
def root_at(directory: Path, opener: Opener) -> Iterator[Root]:
    """Hold a root open, on a thread that Landlock does not help."""
    root = Root(str(directory), opener)
    try:
        yield root
    finally:
        root.close()


def read(root: Root, path: str) -> str:
    """Return the text of a file, or the sorted names in a directory."""
    with root.open(path, READ_FLAGS) as opened:
        if stat.S_ISDIR(os.fstat(opened.fd).st_mode):
            return " ".join(sorted(os.listdir(opened.fd)))
        return os.read(opened.fd, 1000).decode()


def with_doors(yard: Yard) -> Yard:
    """Return the yard with a link of every kind that leads out of it."""
    lines = (
        "to-file => ../outside/secret.txt",
        "to-dir => ../outside",
        "absolute-to-file => $ABS/../outside/secret.txt",
        "absolute-to-dir => $ABS/../outside",
        "absolute-inside => $ABS/src/app.py",
        "to-root-by-name => ../root",
        "chain => to-file",
        "src/up => ../..",
        "dangling-out => ../outside/not-there",
        "dangling-dir => ../outside/not/there",
        "dot => ../outside/.",
        "slash => ../outside/",
    )
    build(yard.root, lines)
    return yard


def follow_everything(root_fd: int, parts: Parts, flags: int) -> Opened:
    """Open by name, with no check at all."""
    path = "/".join(parts) or "."
    return Opened(os.open(path, flags, dir_fd=root_fd), path)
