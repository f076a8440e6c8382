"""The second lock by itself: paths are opened by name, with no check, by every operation.

`follow_everything` stands for any mistake in the first lock. What the kernel does not mediate is
asserted too, so that it shows when that changes.
"""

import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_server.errors import PathEscapeError, PermissionDeniedError, ServerError
from mcp_server.fence import beneath, gate
from mcp_server.fence.beneath import Root
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opened, Parts, split
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import SECRET, Yard, write_text
from tests.mcp_server.layouts import follow_everything, untouched, with_doors
from tests.mcp_server.operations import OPERATIONS, answer

pytestmark = pytest.mark.usefixtures("no_disk")

ESCAPES = (
    "../outside/secret.txt",
    "../outside",
    "..",
    "to-file",
    "to-dir",
    "to-dir/secret.txt",
    "to-dir/",
    "to-dir/new.txt",
    "to-dir/one/two/new.txt",
    "absolute-to-file",
    "absolute-to-dir/secret.txt",
    "absolute-to-dir/new.txt",
    "chain",
    "src/up/outside/secret.txt",
    "dangling-out",
    "dangling-dir/new.txt",
    "slash/secret.txt",
    "to-etc/passwd",
    "to-proc/self/environ",
    "to-proc/self/root/etc/passwd",
)


@pytest.fixture
async def unchecked(yard: Yard) -> AsyncIterator[Workspace]:
    """A workspace of confined threads that follow every path."""
    yard.link("to-etc", "/etc")
    yard.link("to-proc", "/proc")
    way = follow_everything
    async with Workspace.open(with_doors(yard).root, Grant.full(), opener=way) as workspace:
        if not workspace.confinement.is_on:
            pytest.skip(f"confinement is {workspace.confinement}")
        yield workspace


@pytest.mark.parametrize("path", ESCAPES)
async def test_the_kernel_lets_no_operation_out(
    yard: Yard, unchecked: Workspace, path: str
) -> None:
    with untouched(yard.outside):
        for operation in OPERATIONS:
            said = await answer(unchecked, operation, path)
            assert SECRET not in str(said), operation
            assert "root:x:0" not in str(said), operation
            assert operation.acts_on_link or operation.collects or isinstance(said, ServerError)
    assert sorted(os.listdir(yard.root.parent)) == ["outside", "root"]


@pytest.mark.parametrize("path", ["../outside/secret.txt", "to-file", "to-dir/secret.txt"])
async def test_it_is_the_kernel_that_refuses(unchecked: Workspace, path: str) -> None:
    with pytest.raises(PermissionDeniedError, match="operating system") as refused:
        await unchecked.read_text(path)
    assert not isinstance(refused.value, PathEscapeError)


async def test_what_is_inside_is_served_as_ever(yard: Yard, unchecked: Workspace) -> None:
    assert (await unchecked.read_text("src/app.py")).text.startswith("def main")
    await write_text(unchecked, "src/new/deep.txt", "new")
    assert (yard.root / "src/new/deep.txt").read_text() == "new"
    assert (await unchecked.list_directory("src", depth=2)).entries


async def test_a_path_that_is_taken_as_it_is_given_gets_nowhere(
    yard: Yard, unchecked: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the text of the path is looked at: absolute ones are opened as they stand."""

    def from_the_top(root_fd: int, parts: Parts, flags: int) -> Opened:
        return Opened(os.open(f"/{'/'.join(parts)}", flags), "/".join(parts) or ".")

    monkeypatch.setattr(Root, "parts", lambda self, path: split(path))
    way = from_the_top
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        with untouched(yard.outside):
            for operation in OPERATIONS:
                for path in (str(yard.outside / "secret.txt"), str(yard.outside), "/etc/passwd"):
                    said = await answer(workspace, operation, path)
                    assert SECRET not in str(said), operation
                    assert "root:x:0" not in str(said), operation


async def test_links_are_not_even_read_by_the_code_and_still_lead_nowhere(
    yard: Yard, unchecked: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The place of a new file is found without a look at links: the kernel follows them."""
    for module in (beneath, gate):
        if hasattr(module, "link_target"):
            monkeypatch.setattr(module, "link_target", lambda name, directory_fd: None)
    with untouched(yard.outside):
        for path in ("to-dir/new.txt", "absolute-to-dir/new.txt", "dangling-dir/new.txt"):
            with pytest.raises(ServerError):
                await write_text(unchecked, path, "new")


Act = Callable[[Path, Path], object]

DENIED: dict[str, Act] = {
    "read": lambda outside, root: (outside / "secret.txt").read_bytes(),
    "write": lambda outside, root: (outside / "secret.txt").write_text("x"),
    "append": lambda outside, root: (outside / "secret.txt").open("a").close(),
    "truncate": lambda outside, root: os.truncate(outside / "secret.txt", 0),
    "create": lambda outside, root: (outside / "new").write_text("x"),
    "list": lambda outside, root: os.listdir(outside),
    "make a directory": lambda outside, root: os.mkdir(outside / "new"),
    "make a link": lambda outside, root: os.symlink("x", outside / "new"),
    "make a pipe": lambda outside, root: os.mkfifo(outside / "new"),
    "delete": lambda outside, root: os.unlink(outside / "secret.txt"),
    "delete a directory": lambda outside, root: os.rmdir(outside / "empty"),
    "move out": lambda outside, root: os.rename(root / "src/app.py", outside / "app.py"),
    "move in": lambda outside, root: os.rename(outside / "secret.txt", root / "secret.txt"),
    "move beside": lambda outside, root: os.rename(outside / "secret.txt", outside / "new"),
    "link in": lambda outside, root: os.link(outside / "secret.txt", root / "hard"),
    "link out": lambda outside, root: os.link(root / "src/app.py", outside / "hard"),
    "read by a link": lambda outside, root: (root / "to-file").read_bytes(),
    "write by a link": lambda outside, root: (root / "to-file").write_text("x"),
    "create by a link": lambda outside, root: (root / "to-dir/new").write_text("x"),
    "read by /proc": lambda outside, root: Path(f"/proc/self/root{outside}/secret.txt").read_text(),
}


@pytest.mark.parametrize("act", DENIED.values(), ids=DENIED)
def test_the_kernel_denies(yard: Yard, confined: ThreadPoolExecutor, act: Act) -> None:
    (yard.outside / "empty").mkdir()
    with_doors(yard)
    refused = pytest.raises(OSError, match=r"Permission denied|cross-device")
    with untouched(yard.outside), untouched(yard.root), refused:
        confined.submit(act, yard.outside, yard.root).result()


def test_a_link_made_inside_by_a_confined_thread_leads_it_nowhere(
    yard: Yard, confined: ThreadPoolExecutor
) -> None:
    """CVE-2026-39861: links may be made, as agents need them; what follows them is confined too."""
    link = yard.root / "made-inside"
    confined.submit(os.symlink, "../outside/secret.txt", link).result()
    assert link.read_text() == SECRET
    for attempt in (link.read_text, lambda: link.write_text("x")):
        with pytest.raises(PermissionError):
            confined.submit(attempt).result()


UNMEDIATED: dict[str, Callable[[Path], object]] = {
    "stat": lambda outside: os.stat(outside / "secret.txt").st_size,
    "exists": lambda outside: os.path.exists(outside / "secret.txt"),
    "chmod": lambda outside: os.chmod(outside / "secret.txt", 0o600),
    "utime": lambda outside: os.utime(outside / "secret.txt", (1, 1)),
    "readlink": lambda outside: os.readlink(outside / "link"),
    "O_PATH": lambda outside: os.close(os.open(outside / "secret.txt", os.O_PATH)),
}
"""What this kernel lets a confined thread do outside: the first lock alone stands before it."""


@pytest.mark.parametrize("act", UNMEDIATED.values(), ids=UNMEDIATED)
def test_the_kernel_does_not_mediate(
    yard: Yard, confined: ThreadPoolExecutor, act: Callable[[Path], object]
) -> None:
    (yard.outside / "link").symlink_to("secret.txt")
    confined.submit(act, yard.outside).result()


def test_a_hard_link_that_lies_inside_already_is_inside(
    yard: Yard, confined: ThreadPoolExecutor
) -> None:
    """Documented as not covered: by no lock can a file be told from its other name."""
    os.link(yard.outside / "secret.txt", yard.root / "hard")
    assert confined.submit((yard.root / "hard").read_text).result() == SECRET


def test_an_open_descriptor_stays_usable(yard: Yard, confined: ThreadPoolExecutor) -> None:
    """So nothing that leads out may be open when a thread works on a path."""
    with (yard.outside / "secret.txt").open("rb") as file:
        assert confined.submit(os.read, file.fileno(), 100).result() == SECRET.encode()
