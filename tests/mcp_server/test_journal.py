"""The journal: first on the disk, for its user alone, and without it nothing is changed."""

import fcntl
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from mcp_server.errors import InvalidInputError, LimitError, StaleFileError, UnavailableError
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import Selection
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings
from tests.mcp_server.conftest import Yard, write_text
from tests.mcp_server.doomed import CALL_S, change, count_up, fork, hold_lock, opened, tree

DAY_S = 86_400


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def directory_in(state: Path) -> Path:
    """Return the directory of the one journal below `state`."""
    (directory,) = state.iterdir()
    return directory


def rows(state: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(directory_in(state) / "journal.db")) as database:
        return database.execute(query).fetchall()


def test_every_content_is_stored_once_compressed_and_by_its_hash(yard: Yard, state: Path) -> None:
    with opened(yard.root, state) as changer:
        for name in ("one", "two", "three"):
            change(changer, WriteFile(path=name, text="same " * 1000))
    ((size,),) = rows(state, "SELECT length(zlib) FROM content")
    assert isinstance(size, int)
    assert size < 100


@pytest.mark.parametrize("place", ["root", "root/a/b", ".", "to-root/state", "link"])
def test_the_journal_never_lies_below_the_root_or_the_root_among_journals(
    yard: Yard, place: str
) -> None:
    beside = yard.root.parent
    (beside / "to-root").symlink_to("root")
    (beside / "link").symlink_to("root/src")
    root = str(beside if place == "." else yard.root)
    before = tree(yard.root)
    with pytest.raises(InvalidInputError, match="below the root"):
        Journal(root, JournalSettings(beside / place))
    assert tree(yard.root) == before


def test_a_root_inside_the_journals_is_refused(yard: Yard, state: Path) -> None:
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="new", text="x"))
    with pytest.raises(InvalidInputError, match="below the root"):
        Journal(str(directory_in(state)), JournalSettings(state))


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_the_journal_is_its_users_alone_whatever_the_umask(
    yard: Yard, state: Path, umask: int
) -> None:
    old = os.umask(umask)
    try:
        with opened(yard.root, state / "deep") as changer:
            change(changer, WriteFile(path="new", text="x"))
            place = directory_in(state / "deep")
            modes = {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()}
    finally:
        os.umask(old)
    assert modes == dict.fromkeys(("journal.db", "journal.db-wal", "journal.db-shm", "lock"), 0o600)
    assert [each.stat().st_mode & 0o777 for each in (state, state / "deep", place)] == [0o700] * 3


def test_a_directory_that_others_could_read_is_closed_to_them(yard: Yard, state: Path) -> None:
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="new", text="x"))
    directory_in(state).chmod(0o755)
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="new", text="y"))
    assert directory_in(state).stat().st_mode & 0o777 == 0o700


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def spoil(state: Path, how: str) -> None:
    file = directory_in(state) / "journal.db"
    match how:
        case "not a database":
            file.write_bytes(b"no database at all" * 1000)
        case "torn":
            with file.open("r+b") as database:
                database.seek(4096)
                database.write(os.urandom(20_000))
        case "newer":
            with closing(sqlite3.connect(file)) as connection:
                connection.execute("PRAGMA user_version = 99")
        case "a directory":
            file.unlink()
            file.mkdir()
        case _:
            file.unlink()
            file.with_name("lock").unlink()
            file.with_name("lock").mkdir()


@pytest.mark.parametrize("how", ["not a database", "torn", "newer", "a directory", "no lock"])
async def test_with_a_journal_that_cannot_be_used_nothing_is_changed_and_reading_goes_on(
    yard: Yard, state: Path, how: str
) -> None:
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="new", text="x"))
    spoil(state, how)
    before = tree(yard.root)
    async with Workspace.open(yard.root, Grant.full(), journal=JournalSettings(state)) as workspace:
        for _ in range(2):
            with pytest.raises(UnavailableError, match="journal") as refused:
                await write_text(workspace, "src/app.py", "y")
            assert str(yard.root.parent) not in str(refused.value)
        assert (await workspace.read_text("src/app.py")).size == 25
    assert tree(yard.root) == before


async def test_where_no_journal_can_be_made_nothing_is_changed_until_one_can(
    yard: Yard, state: Path
) -> None:
    state.write_text("in the way")
    async with Workspace.open(
        yard.root, Grant.full(), journal=JournalSettings(state / "journals")
    ) as workspace:
        with pytest.raises(UnavailableError, match="serve read-only"):
            await write_text(workspace, "src/app.py", "y")
        assert (await workspace.read_text("src/app.py")).size == 25
        state.unlink()
        assert (await write_text(workspace, "src/app.py", "y")).before is not None


async def test_a_journal_that_is_removed_while_the_server_runs_stops_changes(
    yard: Yard, state: Path
) -> None:
    async with Workspace.open(yard.root, Grant.full(), journal=JournalSettings(state)) as workspace:
        await write_text(workspace, "new", "x")
        for file in directory_in(state).iterdir():
            file.unlink()
        with pytest.raises(UnavailableError, match="removed while the server runs"):
            await write_text(workspace, "new", "y")
    assert (yard.root / "new").read_text() == "x"


def test_a_full_disk_under_the_journal_changes_nothing_and_more_space_is_used(
    yard: Yard, tmp_path: Path
) -> None:
    before = tree(yard.root)
    with small_disk(tmp_path / "small", "1m") as disk:
        with opened(yard.root, disk / "state") as changer:
            change(changer, WriteFile(path="src/app.py", text="first"))
            ballast = disk / "ballast"
            with pytest.raises(OSError, match="space"):
                ballast.write_bytes(b"x" * 2_000_000)
            text = os.urandom(100_000).hex()
            with pytest.raises(UnavailableError, match="full"):
                change(changer, WriteFile(path="new/file", text=text))
            assert not (yard.root / "new").exists()
            ballast.unlink()
            change(changer, WriteFile(path="new/file", text=text))
            changer.undo(Selection(), Caller(), Deadline(CALL_S))
            changer.undo(Selection(), Caller(), Deadline(CALL_S))
        assert tree(yard.root) == before


def test_a_full_disk_under_the_root_leaves_every_file_as_it_was(
    state: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "small", "256k") as root:
        (root / "kept").write_bytes(b"k" * 100_000)
        before = tree(root)
        with opened(root, state) as changer:
            for path in ("kept", "new/deep/file"):
                with pytest.raises(UnavailableError, match="No space left"):
                    change(changer, WriteFile(path=path, text="x" * 400_000))
                assert tree(root) == before
            assert changer.calls(Selection(), -1, Deadline(CALL_S)) == []
            change(changer, WriteFile(path="kept", text="small"))


def test_updates_of_two_processes_with_a_hash_are_never_lost(yard: Yard, state: Path) -> None:
    yard.write("count", "0")
    workers = [fork(count_up, yard.root, state, 25) for _ in range(2)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert (yard.root / "count").read_text() == "50"
    with opened(yard.root, state) as changer:
        assert len(changer.calls(Selection(), -1, Deadline(CALL_S))) == 50


async def test_others_wait_for_a_stopped_holder_till_their_deadline_read_on_and_go_on_after_it(
    yard: Yard, state: Path
) -> None:
    ready = state.with_name("ready")
    holder = fork(hold_lock, yard.root, state, ready)
    wait_for(ready)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGSTOP)
    grant = Grant.full().model_copy(update={"limits": Limits(call_s=0.3)})
    try:
        async with Workspace.open(yard.root, grant, journal=JournalSettings(state)) as workspace:
            for _ in range(6):
                with pytest.raises(LimitError, match="another one is changing files here"):
                    await write_text(workspace, "new", "x")
                assert (await workspace.read_text("src/app.py")).size == 25
            assert not (yard.root / "new").exists()
            os.kill(holder.pid, signal.SIGCONT)
            ready.unlink()
            holder.join()
            await write_text(workspace, "new", "x")
    finally:
        holder.kill()
        holder.join()


def test_the_lock_of_a_killed_process_is_free(yard: Yard, state: Path) -> None:
    ready = state.with_name("ready")
    holder = fork(hold_lock, yard.root, state, ready)
    wait_for(ready)
    with (directory_in(state) / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.kill()
    holder.join()
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="new", text="x"))


def wait_for(file: Path) -> None:
    end = time.monotonic() + CALL_S
    while not file.exists():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_what_is_too_old_goes_with_its_contents_and_what_is_needed_stays(
    yard: Yard, state: Path
) -> None:
    with opened(yard.root, state) as changer:
        for text in ("one", "two", "three"):
            change(changer, WriteFile(path="new", text=text))
    with closing(sqlite3.connect(directory_in(state) / "journal.db")) as database, database:
        database.execute("UPDATE call SET at = at - ? WHERE number < 3", (31 * DAY_S,))
    with opened(yard.root, state) as changer:
        change(changer, WriteFile(path="other", text="x"))
        assert [call.number for call in changer.calls(Selection(), -1, Deadline(CALL_S))] == [4, 3]
        changer.undo(Selection(number=3), Caller(), Deadline(CALL_S))
    assert (yard.root / "new").read_text() == "two"
    assert len(rows(state, "SELECT 1 FROM content")) == 3  # two, three, x


def test_a_journal_that_grows_too_large_drops_its_oldest_calls_and_its_file_shrinks(
    yard: Yard, state: Path
) -> None:
    with opened(yard.root, state) as changer:
        for number in range(20):
            change(changer, WriteFile(path=f"{number}", text=os.urandom(50_000).hex()))
    file = directory_in(state) / "journal.db"
    full = file.stat().st_size
    assert full > 1_000_000
    settings = JournalSettings(state, keep_bytes=300_000)
    with opened(yard.root, state, settings) as changer:
        change(changer, WriteFile(path="last", text="x"))
        calls = changer.calls(Selection(), -1, Deadline(CALL_S))
        assert [call.number for call in calls] == list(range(21, 21 - len(calls), -1))
        assert 1 < len(calls) < 8
        assert file.stat().st_size < 400_000
        changer.undo(Selection(), Caller(), Deadline(CALL_S))


def test_a_journal_smaller_than_one_call_keeps_that_call_till_the_next(
    yard: Yard, state: Path
) -> None:
    with opened(yard.root, state, JournalSettings(state, keep_bytes=1)) as changer:
        for text in ("one", "two"):
            change(changer, WriteFile(path="new", text=text))
        changer.undo(Selection(), Caller(), Deadline(CALL_S))
    assert (yard.root / "new").read_text() == "one"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKYARD_JOURNAL_DAYS", "soon"),
        ("WORKYARD_JOURNAL_DAYS", "0"),
        ("WORKYARD_JOURNAL_DAYS", "-1"),
        ("WORKYARD_JOURNAL_DAYS", "nan"),
        ("WORKYARD_JOURNAL_MB", "inf"),
        ("WORKYARD_JOURNAL_MB", "1e400"),
        ("WORKYARD_STATE_DIR", "~nobody-of-this-name/state"),
    ],
)
def test_a_setting_that_cannot_be_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        JournalSettings.load({"WORKYARD_STATE_DIR": "/state", name: value})


def test_settings_are_taken_from_the_environment() -> None:
    settings = JournalSettings.load(
        {
            "WORKYARD_STATE_DIR": "/state",
            "WORKYARD_JOURNAL_DAYS": "0.5",
            "WORKYARD_JOURNAL_MB": "2",
        }
    )
    assert settings == JournalSettings(Path("/state/journals"), DAY_S / 2, 2_000_000)


def test_a_stale_hash_changes_nothing_and_leaves_no_entry(yard: Yard, state: Path) -> None:
    with opened(yard.root, state) as changer:
        with pytest.raises(StaleFileError):
            change(changer, WriteFile(path="src/app.py", text="x", expected_hash="0" * 64))
        assert changer.calls(Selection(), -1, Deadline(CALL_S)) == []
