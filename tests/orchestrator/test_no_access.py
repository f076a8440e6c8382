"""A record that may not be read or written, or is held for ever: one line says which, and where."""

import fcntl
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import pytest

from orchestrator.errors import StoreUnavailableError
from orchestrator.store.store import open_store
from tests.orchestrator.by_hand import workyard
from tests.orchestrator.turns import turn

Hindrance = Callable[[Path], None]

COMMANDS = (("sessions", "list"), ("usage",), ("db", "status"), ("db", "upgrade"))


@pytest.fixture
def file(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the file of a record, of a user who is not root and so can be refused something."""
    with TemporaryDirectory(prefix="workyard-", dir="/tmp") as name:
        directory = Path(name) / "record"
        file = directory / "workyard.db"
        monkeypatch.setenv("WORKYARD_DATA_DIR", str(directory))
        anyio.run(_made, file)
        nobody = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
        if nobody is not None:
            for path in (Path(name), directory, *directory.iterdir()):
                os.chown(path, nobody, -1)
            os.seteuid(nobody)
        yield file
        if nobody is not None:
            os.seteuid(0)
        directory.chmod(0o700)


async def _made(file: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{file}") as store:
        await turn(store, "kept")


def _replaced(path: Path, made: Callable[[Path], object]) -> None:
    path.unlink() if path.is_file() else shutil.rmtree(path)
    made(path)


HINDRANCES: dict[str, tuple[Hindrance, str]] = {
    "unreadable file": (lambda file: file.chmod(0), "workyard.db' may not be read"),
    "directory that is not for writing": (
        lambda file: file.parent.chmod(0o500),
        "record' may not be written to",
    ),
    "directory that is closed": (lambda file: file.parent.chmod(0), "Permission denied"),
    "lock that may not be taken": (
        lambda file: file.with_name("workyard.db-lock").chmod(0),
        "workyard.db-lock'",
    ),
    "directory in place of the lock": (
        lambda file: _replaced(file.with_name("workyard.db-lock"), Path.mkdir),
        "workyard.db-lock'",
    ),
    "file in place of the directory": (
        lambda file: _replaced(file.parent, Path.touch),
        "record'",
    ),
    "half of a file": (lambda file: os.truncate(file, 5000), "malformed"),
}


@pytest.mark.parametrize(("hinder", "told"), HINDRANCES.values(), ids=HINDRANCES)
def test_record_without_access_is_told_of_in_one_line(
    file: Path, hinder: Hindrance, told: str
) -> None:
    hinder(file)

    for command in COMMANDS:
        done = workyard(*command)
        if done.exit_code == 0:  # it sees no record in what is no directory
            assert "It holds no record yet" in done.stdout
            continue
        assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (6, "", 1), command
        assert told in done.stderr
        assert done.stderr.startswith("workyard: The record cannot be opened: ")


def test_record_that_may_only_be_read_is_shown(file: Path) -> None:
    file.chmod(0o400)

    (session,) = json.loads(workyard("sessions", "list", "--json").stdout)["sessions"]
    refused = workyard("sessions", "rename", session["id"], "another")
    assert session["title"] == "kept"
    assert (refused.exit_code, refused.stderr.count("\n")) == (6, 1)
    assert "The record cannot be written: attempt to write a readonly database" in refused.stderr


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can mount")
def test_read_only_disk_is_told_of_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKYARD_DATA_DIR", str(tmp_path))
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("not every root can mount a disk")
    try:
        anyio.run(_made, tmp_path / "workyard.db")
        subprocess.run(["mount", "-o", "remount,ro", tmp_path], check=True)

        listed = workyard("sessions", "list")
    finally:
        subprocess.run(["umount", tmp_path], check=True)

    assert (listed.exit_code, listed.stdout, listed.stderr.count("\n")) == (6, "", 1)
    assert "may not be written to" in listed.stderr or "Read-only file system" in listed.stderr


async def test_record_that_is_held_for_ever_is_an_error_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.store.sqlite.BUSY_TIMEOUT_S", 0.1)
    file = tmp_path / "workyard.db"
    url = f"sqlite+aiosqlite:///{file}"
    async with open_store(url) as store:
        await turn(store)
        with (tmp_path / "workyard.db-lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert await store.sessions.latest()  # reading waits for nobody
            with pytest.raises(StoreUnavailableError, match=r"another process has held it"):
                await turn(store)
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailableError, match="database is locked"):
                await turn(store)
        assert await turn(store)
