"""The kernel's second lock, without the first one in front of it."""

import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_server.fence.confinement import Status
from mcp_server.fence.finding.ripgrep import find_ripgrep
from tests.mcp_server.conftest import SECRET, Yard


def test_a_confined_thread_cannot_read_outside_while_the_main_thread_can(
    yard: Yard, confined: ThreadPoolExecutor
) -> None:
    secret = yard.outside / "secret.txt"
    with pytest.raises(PermissionError):
        confined.submit(secret.read_text).result()
    assert secret.read_text() == SECRET


@pytest.mark.parametrize(
    "attempt",
    [
        lambda outside, root: (outside / "new").write_text("x"),
        lambda outside, root: (outside / "secret.txt").write_text("x"),
        lambda outside, root: (outside / "secret.txt").unlink(),
        lambda outside, root: (outside / "dir").mkdir(),
        lambda outside, root: os.listdir(outside),
        lambda outside, root: os.rename(root / "src/app.py", outside / "app.py"),
        lambda outside, root: os.link(outside / "secret.txt", root / "secret.txt"),
        lambda outside, root: os.truncate(outside / "secret.txt", 0),
        lambda outside, root: os.mkfifo(root / "pipe"),
        lambda outside, root: subprocess.run(["/bin/sh", "-c", "true"], check=True),
    ],
)
def test_a_confined_thread_cannot_change_or_list_or_start_anything_outside(
    yard: Yard, confined: ThreadPoolExecutor, attempt: Callable[[Path, Path], object]
) -> None:
    with pytest.raises(OSError, match=r"Permission denied|cross-device"):
        confined.submit(attempt, yard.outside, yard.root).result()
    assert (yard.outside / "secret.txt").read_text() == SECRET
    assert os.listdir(yard.outside) == ["secret.txt"]


def test_a_confined_thread_works_inside(yard: Yard, confined: ThreadPoolExecutor) -> None:
    file = yard.root / "src/app.py"
    assert confined.submit(file.read_text).result().startswith("def main")
    confined.submit(file.rename, yard.root / "docs/app.py").result()
    confined.submit((yard.root / "docs/app.py").write_text, "new").result()
    assert (yard.root / "docs/app.py").read_text() == "new"


def test_ripgrep_started_from_a_confined_thread_cannot_read_outside(
    yard: Yard, confined: ThreadPoolExecutor
) -> None:
    program = find_ripgrep()
    assert program is not None

    def count(directory: Path) -> bytes:
        command = [program, "--no-messages", "--count", ".", str(directory)]
        return subprocess.run(command, stdin=subprocess.PIPE, capture_output=True).stdout

    assert b"secret.txt:1" in count(yard.outside)
    assert confined.submit(count, yard.outside).result() == b""
    assert b"app.py:2" in confined.submit(count, yard.root / "src").result()


def test_what_is_on_can_be_told() -> None:
    assert str(Status(7)) == "Landlock (ABI 7)"
    assert str(Status(0)).startswith("none")
