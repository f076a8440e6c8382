"""The journal of one root: what every change found and left, stored before the change is made.

It lies in the user's state directory, never below the root: a directory for each root, with a
database and a lock file in it. Whoever changes the root or reads the journal holds the lock, so
there is one change at a time in a root, of all processes: who gets the lock and finds a call that
is not finished knows that its process was killed. Source: docs/decisions/0011-the-journal.md.
"""

import fcntl
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from mcp_server.errors import UnavailableError
from mcp_server.fence.confinement import Confinement
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.ledger import Call, Ledger, Selection
from mcp_server.settings import JournalSettings

_POLL_S = 0.002

ResultT = TypeVar("ResultT")


class Journal:
    """The journal of one root, opened when it is first asked for.

    A thread of its own works on the database. The kernel confines it to the journal's directory,
    which the threads that work on files cannot reach: no mistake in a path rewrites history.
    Every method but `alone` and `close` is for the one who holds the lock, and raises
    `UnavailableError` when the journal cannot be used.
    """

    def __init__(self, root: str, settings: JournalSettings) -> None:
        """Find the place for the journal of the directory `root`, an absolute path without links.

        Raises:
            InvalidInputError: it would lie below the root, or the root among the journals.
        """
        self._directory = settings.directory_for(root)
        self._settings = settings
        self._mutex = threading.Lock()
        self._lock_fd = -1
        self._opened: Ledger | None = None
        self._is_confined = False
        self._thread = ThreadPoolExecutor(1, "journal")
        # A thread inherits the confinement of the one that starts it: not of one that works on
        # files.
        self._thread.submit(lambda: None).result()

    def close(self) -> None:
        """Close the journal; no change can be made any more."""
        # Without the lock, which another process may hold for long: SQLite tidies up only when
        # nobody else has the database open, and keeps others out meanwhile.
        try:
            if self._opened is not None:
                self._on_thread(self._opened.close)
        finally:
            self._thread.shutdown()
            if self._lock_fd >= 0:
                os.close(self._lock_fd)

    @contextmanager
    def alone(self, deadline: Deadline) -> Iterator[None]:
        """Hold the lock: nobody else changes the root through a server meanwhile.

        Raises:
            LimitError: others held it until the deadline.
            UnavailableError: the journal cannot be opened.
        """
        with deadline.waiting("another one is changing files here and has not come to its end"):
            if not self._mutex.acquire(timeout=deadline.remaining_s):
                raise deadline.error()
            try:
                self._wait_for_lock(deadline)
            except BaseException:
                self._mutex.release()
                raise
        try:
            if self._opened is None:
                self._opened = self._on_thread(self._open)
            yield
        finally:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            self._mutex.release()

    def under_way(self) -> Call | None:
        """Return the call that is not finished, if there is one: its process was killed."""
        number = self._on_thread(lambda: self._ledger.under_way())
        return None if number is None else self.calls(Selection(number=number))[0]

    def begin(self, call: Call, undone: Sequence[int] = ()) -> int:
        """Store a call with all that its changes find and leave, and return its number.

        On return it is on the disk; the changes can be made, and `finish`, `forget` or `abandon`
        follows.

        Args:
            call: what is about to be done.
            undone: the numbers of the calls that it takes back.
        """
        return self._on_thread(lambda: self._insert(call, undone))

    def finish(self, number: int) -> None:
        """Note that the call under way is done."""
        self._on_thread(lambda: self._ledger.finish(number))

    def forget(self, number: int) -> None:
        """Drop the call under way: none of its changes is there."""
        self._on_thread(lambda: self._ledger.delete(number))

    def abandon(self, number: int) -> None:
        """Keep the call under way, of which something is left; its key is free again."""
        self._on_thread(lambda: self._ledger.abandon(number))

    def calls(self, selection: Selection, limit: int = -1) -> list[Call]:
        """Return the calls that are meant, the newest first; all of them for a limit of -1."""
        return self._on_thread(lambda: self._ledger.select(selection, limit))

    def content(self, path: str, start: str) -> bytes | None:
        """Return what `path` held when its SHA-256 began with `start`, if that is on record."""
        return self._on_thread(lambda: self._ledger.content(path, start))

    @property
    def _ledger(self) -> Ledger:
        assert self._opened is not None, "the lock is not held"
        return self._opened

    def _wait_for_lock(self, deadline: Deadline) -> None:
        if self._lock_fd < 0:
            self._lock_fd = self._on_thread(lambda: _opened_lock(self._directory))
        while not _is_locked(self._lock_fd):
            deadline.check()
            time.sleep(_POLL_S)
        if os.fstat(self._lock_fd).st_nlink == 0:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            raise _unusable("it was removed while the server runs; start it anew")

    def _open(self) -> Ledger:
        if not self._is_confined:
            _confine_to(self._directory)
            self._is_confined = True
        return Ledger.open(self._directory / "journal.db")

    def _insert(self, call: Call, undone: Sequence[int]) -> int:
        self._ledger.prune(self._settings.keep_s, self._settings.keep_bytes)
        return self._ledger.insert(call, undone)

    def _on_thread(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return self._thread.submit(work).result()
        except (sqlite3.Error, zlib.error) as error:
            raise _unusable(str(error)) from error
        except OSError as error:
            raise _unusable(error.strerror or "the system refused") from error


def _opened_lock(directory: Path) -> int:
    """Open the lock file, with the directories above it made, all for this user alone."""
    for each in (*reversed(directory.parents), directory):
        if not each.is_dir():
            _make_directory(each)
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _restrict(fd, 0o700)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        lock_fd = os.open("lock", flags, 0o600, dir_fd=fd)
    finally:
        os.close(fd)
    try:
        _restrict(lock_fd, 0o600)
    except BaseException:
        os.close(lock_fd)
        raise
    return lock_fd


def _make_directory(directory: Path) -> None:
    with suppress(FileExistsError):  # another process was quicker
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)  # whatever the umask says
    with suppress(PermissionError):  # a directory that may be written need not be readable
        fd = os.open(directory.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)  # what is in it must survive a power cut
        finally:
            os.close(fd)


def _restrict(fd: int, mode: int) -> None:
    if os.fstat(fd).st_mode & 0o777 != mode:
        os.fchmod(fd, mode)


def _confine_to(directory: Path) -> None:
    """Confine this thread to the directory."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        confinement = Confinement(fd, None)
    finally:
        os.close(fd)
    try:
        confinement.apply()
    finally:
        confinement.close()


def _is_locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _unusable(reason: str) -> UnavailableError:
    return UnavailableError(
        f"The journal of changes cannot be used: {reason}. Nothing is changed without it; see to "
        "the directory that WORKYARD_STATE_DIR names, or serve read-only."
    )
