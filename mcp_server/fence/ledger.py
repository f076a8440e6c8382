"""The journal's database: calls, their changes, and every content once, by its hash."""

import os
import sqlite3
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Self

from mcp_server.errors import UnavailableError
from mcp_server.fence.changes.change import Caller, Change, Kind, State

_SCHEMA = """
CREATE TABLE IF NOT EXISTS call (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  tool TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  actor TEXT NOT NULL,
  session TEXT NOT NULL,
  run TEXT NOT NULL,
  key TEXT UNIQUE,
  is_done INTEGER NOT NULL DEFAULT FALSE
);
CREATE INDEX IF NOT EXISTS under_way ON call (number) WHERE NOT is_done;
CREATE TABLE IF NOT EXISTS undoing (
  call INTEGER NOT NULL REFERENCES call ON DELETE CASCADE,
  undo INTEGER NOT NULL REFERENCES call ON DELETE CASCADE,
  PRIMARY KEY (call, undo)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undoing_undo ON undoing (undo);
CREATE TABLE IF NOT EXISTS change (
  call INTEGER NOT NULL REFERENCES call ON DELETE CASCADE,
  number INTEGER NOT NULL,
  path TEXT NOT NULL,
  moved_to TEXT,
  before_kind TEXT, before_mode INTEGER, before_sha256 TEXT,
  after_kind TEXT, after_mode INTEGER, after_sha256 TEXT,
  PRIMARY KEY (call, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS change_before ON change (before_sha256);
CREATE INDEX IF NOT EXISTS change_after ON change (after_sha256);
CREATE TABLE IF NOT EXISTS content (
  sha256 TEXT PRIMARY KEY,
  zlib BLOB NOT NULL
);
"""
_SCHEMA_VERSION = 1
UNDO = "undo"
"""What the journal calls the tool of a call that takes others back."""
SHORT = 12
"""Characters at the end of a session or a run by which a person tells it from others: UUIDs of
version 7 begin with the time."""
_MAX_DROPPED = 100  # calls at a time
_MAX_FREE_SHARE = 0.25  # of the file
_MAX_FREED_PAGES = 2000  # at a time
_MAX_WAL_BYTES = 16_000_000
_FASTEST = 1  # zlib's level: source code shrinks to a third in a tenth of the best one's time


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that changed something, or is about to."""

    tool: str
    fingerprint: str
    """Of tool and arguments."""
    caller: Caller
    changes: Sequence[Change]
    """In the order in which they are made."""
    number: int = 0
    """Counts the calls in this root."""
    at: float = 0
    """Seconds since 1970."""
    undone_by: int | None = None
    """The number of the call that took this one back, and was not taken back itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which calls are meant: those that fit everything that is given."""

    number: int | None = None
    session: str | None = None
    """Whole, or its last `SHORT` characters."""
    run: str | None = None
    """Whole, or its last `SHORT` characters."""
    key: str | None = None
    stands: bool = False
    """Only what has not been taken back, and takes nothing back itself."""

    @property
    def standing(self) -> "Selection":
        """The same without what does not stand, unless it is named by its number."""
        return self if self.number is not None else replace(self, stands=True)

    @property
    def limit(self) -> int:
        """How many calls are meant: the last when nothing is given, else all (-1)."""
        return 1 if self == Selection() else -1


class Ledger:
    """The open database; every method raises `sqlite3.Error` when it cannot be used."""

    def __init__(self, database: sqlite3.Connection) -> None:
        """Take what `open` has opened; use that."""
        self._database = database

    @classmethod
    def open(cls, file: Path) -> Self:
        """Open the database at `file`, which is made if there is none."""
        return cls(_connect(file))

    def close(self) -> None:
        """Close it."""
        self._database.close()

    def insert(self, call: Call, undone: Sequence[int]) -> int:
        """Store `call`, which is under way and takes those back that have the numbers `undone`.

        On return it is on the disk.
        """
        caller = call.caller
        with self._database as database:
            row = database.execute(
                "INSERT INTO call (at, tool, fingerprint, actor, session, run, key)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    time.time(),
                    call.tool,
                    call.fingerprint,
                    caller.actor,
                    caller.session,
                    caller.run,
                    caller.key,
                ),
            )
            number = row.lastrowid
            assert number is not None
            for at, change in enumerate(call.changes):
                self._add(number, at, change)
            database.executemany(
                "INSERT INTO undoing SELECT number, ? FROM call WHERE number = ?",
                [(number, each) for each in undone],
            )
        return number

    def finish(self, number: int) -> None:
        """Note that the call with this number has done what it was to do."""
        with self._unhurried() as database:
            database.execute("UPDATE call SET is_done = TRUE WHERE number = ?", (number,))

    def abandon(self, number: int) -> None:
        """Note that nobody works on the call any more, and that its key has not been served."""
        with self._unhurried() as database:
            database.execute(
                "UPDATE call SET is_done = TRUE, key = NULL WHERE number = ?", (number,)
            )

    def delete(self, number: int) -> None:
        """Drop the call with this number."""
        with self._unhurried():
            self._drop(number)

    @contextmanager
    def _unhurried(self) -> Iterator[sqlite3.Connection]:
        """Commit without waiting for the disk.

        A power cut can take the note back, but not without those that follow it: the call is then
        under way again, and is judged by what is there.
        """
        self._database.execute("PRAGMA synchronous = NORMAL")
        try:
            with self._database as database:
                yield database
        finally:
            self._database.execute("PRAGMA synchronous = FULL")

    def _add(self, call: int, number: int, change: Change) -> None:
        self._database.execute(
            "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                call,
                number,
                _path_bytes(change.path),
                _path_bytes(change.moved_to),
                *_columns(change.before),
                *_columns(change.after),
            ),
        )
        for state in (change.before, change.after):
            self._keep(state)

    def _keep(self, state: State | None) -> None:
        if state is None:
            return
        known = self._database.execute("SELECT 1 FROM content WHERE sha256 = ?", (state.sha256,))
        if known.fetchone() is None:
            packed = zlib.compress(state.content, _FASTEST)
            self._database.execute("INSERT INTO content VALUES (?, ?)", (state.sha256, packed))

    def under_way(self) -> int | None:
        """Return the number of the call that is not finished, if there is one."""
        row = self._database.execute("SELECT max(number) FROM call WHERE NOT is_done").fetchone()
        return None if row[0] is None else int(row[0])

    def select(self, selection: Selection, limit: int) -> list[Call]:
        """Return the calls that are meant, the newest first; all of them for a limit of -1."""
        where, values = _terms(selection)
        with closing(self._database.cursor()) as cursor:  # which is not always read to its end
            found = cursor.execute(
                "SELECT number, at, tool, fingerprint, actor, session, run, key"
                f" FROM call WHERE {where} ORDER BY number DESC",
                values,
            )
            meant = (row for row in found if not (selection.stands and self._undone_by(row[0])))
            rows = list(islice(meant, None if limit < 0 else limit))
        return [
            Call(
                number=number,
                at=at,
                tool=tool,
                fingerprint=fingerprint,
                undone_by=self._undone_by(number),
                caller=Caller(actor=actor, session=session, run=run, key=key),
                changes=self._changes(number),
            )
            for number, at, tool, fingerprint, actor, session, run, key in rows
        ]

    def content(self, path: str, start: str) -> bytes | None:
        """Return what `path` held when its SHA-256 began with `start`."""
        row = self._database.execute(
            "SELECT zlib FROM content WHERE sha256 LIKE ? || '%' AND sha256 IN"
            " (SELECT before_sha256 FROM change WHERE path = ?"
            " UNION SELECT after_sha256 FROM change WHERE path = ?) LIMIT 1",
            (start, _path_bytes(path), _path_bytes(path)),
        ).fetchone()
        return zlib.decompress(row[0]) if row else None

    def _undone_by(self, number: int) -> int | None:
        rows = self._database.execute(
            "SELECT undo FROM undoing WHERE call = ? ORDER BY undo DESC", (number,)
        ).fetchall()
        return next((undo for (undo,) in rows if self._undone_by(undo) is None), None)

    def _changes(self, call: int) -> list[Change]:
        rows = self._database.execute(
            "SELECT path, moved_to,"
            " before_kind, before_mode, b.zlib, after_kind, after_mode, a.zlib"
            " FROM change LEFT JOIN content b ON b.sha256 = before_sha256"
            " LEFT JOIN content a ON a.sha256 = after_sha256 WHERE call = ? ORDER BY number",
            (call,),
        ).fetchall()
        return [
            Change(
                path=os.fsdecode(path),
                before=_state(*states[:3]),
                after=_state(*states[3:]),
                moved_to=None if moved_to is None else os.fsdecode(moved_to),
            )
            for path, moved_to, *states in rows
        ]

    @property
    def used_bytes(self) -> int:
        """How large the database is, without what is free in it."""
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def prune(self, keep_s: float, keep_bytes: int) -> None:
        """Drop the oldest calls, those that are too old or too much; a part of them at a time.

        Others wait for it: what is left over goes with the next call.
        """
        too_old = time.time() - keep_s
        with self._database as database:
            for _ in range(_MAX_DROPPED):
                oldest = database.execute("SELECT number, at FROM call ORDER BY number LIMIT 1")
                number, at = oldest.fetchone() or (None, 0)
                if number is None or (at >= too_old and self.used_bytes <= keep_bytes):
                    break
                self._drop(number)
        # What is free is used again; only much of it is worth the work of giving it back.
        if self._pragma("freelist_count") > _MAX_FREE_SHARE * self._pragma("page_count"):
            # As a script: `execute` would take the first of its steps, a page, for its end.
            self._database.executescript(f"PRAGMA incremental_vacuum({_MAX_FREED_PAGES})")
            self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def _drop(self, number: int) -> None:
        """Drop a call, and the contents that no other call holds."""
        hashes = self._database.execute(
            "SELECT before_sha256 FROM change WHERE call = ?1"
            " UNION SELECT after_sha256 FROM change WHERE call = ?1",
            (number,),
        ).fetchall()
        self._database.execute("DELETE FROM call WHERE number = ?", (number,))
        self._database.executemany(
            "DELETE FROM content WHERE sha256 = ?1"
            " AND NOT EXISTS (SELECT 1 FROM change WHERE before_sha256 = ?1)"
            " AND NOT EXISTS (SELECT 1 FROM change WHERE after_sha256 = ?1)",
            hashes,
        )


def _connect(file: Path) -> sqlite3.Connection:
    # Never opened here once it exists: closing a file drops the locks that SQLite holds on it.
    with suppress(FileExistsError):
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)  # whatever the umask says; the files beside it get the same
        os.close(fd)
    database = sqlite3.connect(file)
    try:
        _prepare(database)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection) -> None:
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # WAL, in every version of SQLite: what can go wrong with it takes two connections at work at
    # the same time, and the lock lets in one.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute(f"PRAGMA journal_size_limit = {_MAX_WAL_BYTES}")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA temp_store = MEMORY")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        raise UnavailableError("The journal was made by a newer Workyard: install that one.")
    if version < _SCHEMA_VERSION:
        database.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")


def _terms(selection: Selection) -> tuple[str, tuple[int | str, ...]]:
    """Return the condition for the calls that are meant, and the values in it."""
    terms = {
        "number = ?": selection.number,
        f"? IN (session, substr(session, -{SHORT}))": selection.session,
        f"? IN (run, substr(run, -{SHORT}))": selection.run,
        "key = ?": selection.key,
        "tool != ?": UNDO if selection.stands else None,
    }
    given = {term: value for term, value in terms.items() if value is not None}
    return " AND ".join(given) or "TRUE", tuple(given.values())


def _path_bytes(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)  # names need not be UTF-8


def _columns(state: State | None) -> tuple[str | None, int | None, str | None]:
    return (None, None, None) if state is None else (state.kind, state.mode, state.sha256)


def _state(kind: str | None, mode: int | None, packed: bytes | None) -> State | None:
    if kind is None:
        return None
    if packed is None:
        raise sqlite3.DatabaseError("the content of a change is missing")
    return State(Kind(kind), zlib.decompress(packed), mode)
