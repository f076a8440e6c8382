"""The journal of one root: what every change found and left, stored before the change is made.

It lies in the user's state directory, never below the root: a directory for each root, with a
database and a lock file in it. Whoever changes the root or reads the journal holds the lock, so
there is one change at a time in a root, of all processes. While a call is under way, the lock file
holds its number: who gets the lock and finds a number there knows that its holder was killed.
"""

import fcntl
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from mcp_server.errors import UnavailableError
from mcp_server.fence.confinement import Confinement
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.ledger import Call, Ledger, Selection
from mcp_server.settings import JournalSettings

_POLL_S = 0.002
_NUMBER_BYTES = 20
_OPEN_S = 30
_PRUNE_EVERY = 1000  # calls of one process

ResultT = TypeVar("ResultT")


class Journal:
    """The journal of one root, open.

    A thread of its own works on the database. The kernel confines it to the journal's directory,
    which the threads that work on files cannot reach: no mistake in a path rewrites history.
    Every method but `alone` and `close` is for the one who holds the lock.
    """

    def __init__(self, root: str, settings: JournalSettings) -> None:
        """Open the journal of the directory `root`, an absolute path without links.

        Raises:
            InvalidInputError: it would lie below the root.
            UnavailableError: it cannot be opened.
        """
        self._settings = settings
        self._mutex = threading.Lock()
        self._inserted = 0
        directory = settings.directory_for(root)
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._lock_fd = os.open(directory / "lock", flags, 0o600)
            confinement = _confinement_to(directory)
        except OSError as error:
            raise _unusable(error.strerror or str(error)) from error
        self._thread = ThreadPoolExecutor(1, "journal", initializer=confinement.apply)
        try:
            with self.alone(Deadline(_OPEN_S)):
                self._ledger = self._on_thread(lambda: Ledger.open(directory / "journal.db"))
                self._on_thread(self._prune)
        except BaseException:
            self._thread.shutdown()
            os.close(self._lock_fd)
            raise
        finally:
            confinement.close()

    def close(self) -> None:
        """Close the journal; no change can be made any more."""
        try:
            with self.alone(Deadline(_OPEN_S)):  # closing writes into the database file
                self._on_thread(self._ledger.close)
        finally:
            self._thread.shutdown()
            os.close(self._lock_fd)

    @contextmanager
    def alone(self, deadline: Deadline) -> Iterator[None]:
        """Hold the lock: nobody else changes the root through a server meanwhile.

        Raises:
            LimitError: others held it until the deadline.
        """
        if not self._mutex.acquire(timeout=deadline.remaining_s):
            raise deadline.error()
        try:
            while not _is_locked(self._lock_fd):
                deadline.check()
                time.sleep(_POLL_S)
            try:
                yield
            finally:
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
        finally:
            self._mutex.release()

    def interrupted(self) -> Call | None:
        """Return the call whose process was killed while it was under way, if there is one."""
        number = os.pread(self._lock_fd, _NUMBER_BYTES, 0)
        if not number:
            return None
        calls = self.calls(Selection(number=int(number)))
        return calls[0] if calls else None  # killed before it was on record: nothing was changed

    def begin(self, call: Call) -> int:
        """Store a call with all that its changes find and leave, and return its number.

        On return it is on the disk; the changes can be made, and `end` or `forget` follows.
        """
        try:
            return self._on_thread(lambda: self._insert(call))
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Note that the call under way is done."""
        os.ftruncate(self._lock_fd, 0)

    def forget(self, number: int) -> None:
        """Drop the call under way: none of its changes is there."""
        self._on_thread(lambda: self._ledger.delete(number))
        self.end()

    def mark_undone(self, numbers: Sequence[int], by: int) -> None:
        """Note that the call `by` took others back; what an undo among them took back is done."""
        self._on_thread(lambda: self._ledger.mark_undone(numbers, by))

    def calls(self, selection: Selection, limit: int = -1) -> list[Call]:
        """Return the calls that are meant, the newest first; all of them for a limit of -1."""
        return self._on_thread(lambda: self._ledger.select(selection, limit))

    def content(self, path: str, start: str) -> bytes | None:
        """Return what `path` held when its SHA-256 began with `start`, if that is on record."""
        return self._on_thread(lambda: self._ledger.content(path, start))

    def _insert(self, call: Call) -> int:
        self._inserted += 1
        if self._inserted % _PRUNE_EVERY == 0:
            self._prune()

        def note(number: int) -> None:
            os.pwrite(self._lock_fd, str(number).encode(), 0)

        return self._ledger.insert(call, note)

    def _prune(self) -> None:
        self._ledger.prune(self._settings.keep_s, self._settings.keep_bytes)

    def _on_thread(self, work: Callable[[], ResultT]) -> ResultT:
        try:
            return self._thread.submit(work).result()
        except (sqlite3.Error, zlib.error) as error:
            raise _unusable(str(error)) from error
        except BrokenExecutor as error:
            raise UnavailableError("The server's threads could not be confined.") from error


def _confinement_to(directory: Path) -> Confinement:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return Confinement(fd, None)
    finally:
        os.close(fd)


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
