"""A yard to work in: a root with a little project, and beside it what must stay out of reach."""

import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mcp_server.fence import confinement
from mcp_server.fence.beneath import Root
from mcp_server.fence.changes.change import Caller, Change
from mcp_server.fence.changes.changer import Changer
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding.ripgrep import find_ripgrep
from mcp_server.fence.gate import Gate
from mcp_server.fence.grant import Grant, ToolName
from mcp_server.fence.journal import Journal
from mcp_server.fence.openers import Opener, open_by_kernel, open_by_walk
from mcp_server.fence.reading.seen import Seen
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings
from mcp_server.tools.registry import TOOLS
from mcp_server.tools.tool import Media

SECRET = "the secret outside"


@dataclass(frozen=True)
class Yard:
    """Where the test's files are."""

    root: Path
    outside: Path

    def write(self, path: str, content: str | bytes = "") -> Path:
        """Put a file beneath the root."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def link(self, path: str, target: str | Path) -> Path:
        """Put a symbolic link beneath the root."""
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)
        return link


@pytest.fixture
def yard(tmp_path: Path) -> Yard:
    """A root with `src/app.py` and `docs/guide.md`, beside a directory with a secret."""
    made = Yard(tmp_path / "root", tmp_path / "outside")
    made.write("src/app.py", "def main():\n    return 1\n")
    made.write("docs/guide.md", "# Guide\n\nRun main.\n")
    made.outside.mkdir()
    (made.outside / "secret.txt").write_text(SECRET)
    return made


@pytest.fixture
async def workspace(yard: Yard) -> AsyncIterator[Workspace]:
    """The yard's workspace with the full grant."""
    async with Workspace.open(yard.root, Grant.full()) as opened:
        yield opened


@pytest.fixture
def root(yard: Yard, opener: Opener) -> Iterator[Root]:
    """The yard's root, opened in each way."""
    opened = Root(str(yard.root), opener)
    yield opened
    opened.close()


@pytest.fixture
def changer(root: Root) -> Iterator[Changer]:
    """What makes changes beneath the root, in this thread: Landlock does not help it."""
    journal = Journal(root.names[-1], JournalSettings.load())
    yield Changer(Gate(root, Grant.full()), journal, Seen())
    journal.close()


def write(changer: Changer, path: str, text: str) -> Change:
    """Write a file as `write_file` does, and return the change of the file itself."""
    return changer.change(WriteFile(path=path, text=text), Caller(), Deadline(30)).changes[-1]


async def write_text(workspace: Workspace, path: str, text: str) -> Change:
    """Write a file through the workspace, and return the change of the file itself."""
    request = WriteFile(path=path, text=text)
    return await workspace.change(request, Caller(), lambda outcome: outcome.changes[-1])


@pytest.fixture
def confined(yard: Yard) -> Iterator[ThreadPoolExecutor]:
    """A thread that may use the yard's root and nothing else."""
    fd = os.open(yard.root, os.O_RDONLY)
    rules = confinement.Confinement(fd, find_ripgrep())
    os.close(fd)
    if not rules.status.is_on:
        pytest.skip(f"confinement is {rules.status}")
    with ThreadPoolExecutor(1, initializer=rules.apply) as executor:
        yield executor
    rules.close()


@pytest.fixture
def no_landlock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the kernel look as if it had no Landlock, so that the first lock stands alone."""
    monkeypatch.setattr(confinement, "_abi", lambda: 0)


@pytest.fixture
def no_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let no call wait for a disk, so that there are enough of them: the journal is in memory."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with TemporaryDirectory(dir=memory) as directory:
        monkeypatch.setenv("WORKYARD_STATE_DIR", directory)
        yield


@pytest.fixture(params=[open_by_kernel, open_by_walk])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Each way to open paths; the kernel's only where the kernel has it."""
    way: Opener = request.param
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        os.close(way(fd, (), os.O_RDONLY | os.O_DIRECTORY).fd)
    except OSError as error:
        pytest.skip(f"not on this kernel: {error}")
    finally:
        os.close(fd)
    return way


async def call(workspace: Workspace, name: ToolName, **arguments: object) -> str:
    """Call a tool and return its answer, which is text."""
    answer = await TOOLS[name].parse(arguments).call(workspace, Caller())
    assert not isinstance(answer, Media)
    return str(answer)
