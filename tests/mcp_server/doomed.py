"""Processes that change files and are killed: at a step of their own that is counted, or anywhere.

They are forked from a server that has everything imported, so that one costs milliseconds.
"""

import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from itertools import count
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from types import FrameType

import anyio

from mcp_server.errors import ServerError, StaleFileError
from mcp_server.fence.beneath import Root
from mcp_server.fence.changes.change import Caller, Change, Kind
from mcp_server.fence.changes.changer import Changer, ChangeRequest
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.changes.moving import DeletePath, MovePath
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.gate import Gate
from mcp_server.fence.grant import Grant
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import Selection
from mcp_server.fence.reading.seen import Seen
from mcp_server.fence.texts.edits import Edit
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings

CALL_S = 30
Entry = tuple[str, bytes, int]
"""Kind, content and mode of what is at a path."""

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["pytest", __name__])


def fork(work: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """Start a process that does `work`, a function of a module."""
    process = _FORKS.Process(target=work, args=arguments)
    process.start()
    return process


@contextmanager
def opened(root: Path, state: Path, settings: JournalSettings | None = None) -> Iterator[Changer]:
    """Open what makes changes beneath `root`, with its journal below `state`."""
    beneath = Root(str(root))
    journal = Journal(beneath.names[-1], settings or JournalSettings(state))
    try:
        yield Changer(Gate(beneath, Grant.full()), journal, Seen())
    finally:
        journal.close()
        beneath.close()


def change(changer: Changer, request: ChangeRequest, **caller: str) -> None:
    """Make one change on behalf of `caller`."""
    changer.change(request, Caller(**caller), Deadline(CALL_S))


def tree(root: Path) -> dict[str, Entry]:
    """Return all that is below `root`, whole."""
    found: dict[str, Entry] = {}
    for path in sorted(root.rglob("*")):
        name, mode = str(path.relative_to(root)), path.lstat().st_mode & 0o7777
        if path.is_symlink():
            found[name] = (Kind.LINK, os.fsencode(os.readlink(path)), 0)
        elif path.is_dir():
            found[name] = (Kind.DIRECTORY, b"", mode)
        else:
            found[name] = (Kind.FILE, path.read_bytes(), mode)
    return found


def replayed(start: dict[str, Entry], changes: list[Change]) -> dict[str, tuple[str, bytes]]:
    """Return what `changes`, made from `start`, lead to: kinds and contents."""
    left = {path: (kind, content) for path, (kind, content, _) in start.items()}
    for each in changes:
        if each.moved_to is not None:
            for path in [*left]:
                if path == each.path or path.startswith(each.path + "/"):
                    left[each.moved_to + path.removeprefix(each.path)] = left.pop(path)
        elif each.after is None:
            del left[each.path]
        else:
            left[each.path] = (each.after.kind, each.after.content)
    return left


def die_at(step: int) -> None:
    """Let this process kill itself just before the `step`th call of the system or the database."""
    steps = count(1)

    def watch(frame: FrameType, event: str, argument: object) -> None:
        if event != "c_call" or "mcp_server" not in frame.f_code.co_filename:
            return
        owner = type(getattr(argument, "__self__", None)).__module__
        module = getattr(argument, "__module__", None)
        if (owner == "sqlite3" or module in ("posix", "fcntl")) and next(steps) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(watch)
    sys.setprofile(watch)


def make_one(root: Path, state: Path, request: ChangeRequest, step: int) -> None:
    """Make one change and die at `step`, if there are as many."""
    die_at(step)
    with opened(root, state) as changer:
        change(changer, request, key=str(step))


def undo_all(root: Path, state: Path, session: str, step: int) -> None:
    """Undo a session and die at `step`, if there are as many."""
    die_at(step)
    with opened(root, state) as changer:
        changer.undo(Selection(session=session), Caller(), Deadline(CALL_S))


def look_only(root: Path, state: Path, step: int) -> None:
    """Open what an earlier process has left, which takes that back, and die at `step`."""
    die_at(step)
    with opened(root, state) as changer:
        changer.calls(Selection(), -1, Deadline(CALL_S))


def count_up(root: Path, state: Path, times: int) -> None:
    """Add 1 to the number in a file, as one that shares it with others must."""
    with opened(root, state) as changer:
        for _ in range(times):
            is_added = False
            while not is_added:
                text = (root / "count").read_text()
                wish = WriteFile(
                    path="count",
                    text=str(int(text) + 1),
                    expected_hash=sha256(text.encode()).hexdigest(),
                )
                with suppress(StaleFileError):
                    change(changer, wish)
                    is_added = True


def hold_lock(root: Path, state: Path, ready: Path) -> None:
    """Hold the lock of a root for as long as there is the file `ready`, which this makes."""
    with opened(root, state) as changer, changer.settled(Deadline(CALL_S)):
        ready.touch()
        while ready.exists():
            time.sleep(0.01)


def write_with_key(root: Path, state: Path, key: str) -> None:
    """Write a file as one that may have done so already."""
    with opened(root, state) as changer:
        change(changer, WriteFile(path="new", text="x"), key=key)


def numbered(number: int) -> str:
    """Return a text that tells whether it is whole."""
    body = f"{number}\n" * (1 + number % 4000)
    return f"{body}{sha256(body.encode()).hexdigest()}\n"


def is_whole(content: bytes) -> bool:
    """Tell whether `content` is such a text."""
    *_, body = content.rsplit(b"\n", 2)[:1]
    return content == body + b"\n" + sha256(body + b"\n").hexdigest().encode() + b"\n"


def work_on(root: Path, state: Path, seed: int) -> None:
    """Write, edit, move and delete without end, several calls at a time."""
    anyio.run(_work_on, root, state, random.Random(seed))


async def _work_on(root: Path, state: Path, dice: random.Random) -> None:
    async with (
        Workspace.open(root, Grant.full(), journal=JournalSettings(state)) as workspace,
        anyio.create_task_group() as tasks,
    ):

        async def go_on() -> None:
            while True:
                try:
                    await workspace.change(
                        _any_request(root, dice), Caller(session="doomed"), lambda _: None
                    )
                except ServerError:  # the file is not there, or the name is taken: as dice fall
                    continue

        for _ in range(3):
            tasks.start_soon(go_on)


def _any_request(root: Path, dice: random.Random) -> ChangeRequest:
    def name() -> str:
        return f"{dice.choice(('src', 'a', 'a/b', 'c'))}/{dice.randrange(4)}.txt"

    def edit(path: str) -> Edit:
        try:
            text = (root / path).read_text()
        except OSError:
            text = "x"
        return Edit(path=path, old_string=text, new_string=numbered(dice.randrange(10_000)))

    match dice.randrange(8):
        case 0 | 1 | 2:
            return WriteFile(path=name(), text=numbered(dice.randrange(10_000)))
        case 3:
            return EditFiles(edits=[edit(name())])
        case 4 | 5:
            return EditFiles(edits=[edit(path) for path in {name() for _ in range(3)}])
        case 6:
            return MovePath(source=dice.choice((name(), "a", "c")), destination=name())
        case _:
            return DeletePath(path=dice.choice((name(), "a/b", "c")), recursive=True)
