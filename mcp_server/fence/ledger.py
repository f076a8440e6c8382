"""The journal's database: calls, their changes, and every content once, by its hash."""

import os
import sqlite3
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mcp_server.errors import UnavailableError
from mcp_server.fence.changes import Caller, Change, Kind, State

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
  undone_by INTEGER
);
CREATE TABLE IF NOT EXISTS change (
  call INTEGER NOT NULL REFERENCES call ON DELETE CASCADE,
  number INTEGER NOT NULL,
  path TEXT NOT NULL,
  moved_to TEXT,
  before_kind TEXT, before_mode INTEGER, before_sha256 TEXT,
  after_kind TEXT, after_mode INTEGER, after_sha256 TEXT,
  PRIMARY KEY (call, number)
) WITHOUT ROWID;
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
    """The number of the call that took this one back."""


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

    def insert(self, call: Call, on_number: Callable[[int], None]) -> int:
        """Store `call` and return its number, told to `on_number` before it is on the disk."""
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
                database.execute(
                    "INSERT INTO change VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        number,
                        at,
                        _stored(change.path),
                        _stored(change.moved_to),
                        *_columns(change.before),
                        *_columns(change.after),
                    ),
                )
                for state in (change.before, change.after):
                    self._keep(state)
            on_number(number)
        return number

    def delete(self, number: int) -> None:
        """Drop the call with this number."""
        with self._database as database:
            database.execute("DELETE FROM call WHERE number = ?", (number,))

    def mark_undone(self, numbers: Sequence[int], by: int) -> None:
        """Note that the call `by` took others back; what an undo among them took back is done."""
        marks = ",".join("?" * len(numbers))
        with self._database as database:
            database.execute(
                f"UPDATE call SET undone_by = NULL WHERE undone_by IN ({marks})", numbers
            )
            database.execute(
                f"UPDATE call SET undone_by = ? WHERE number IN ({marks})", (by, *numbers)
            )

    def _keep(self, state: State | None) -> None:
        if state is None:
            return
        known = self._database.execute("SELECT 1 FROM content WHERE sha256 = ?", (state.sha256,))
        if known.fetchone() is None:
            packed = zlib.compress(state.content, _FASTEST)
            self._database.execute("INSERT INTO content VALUES (?, ?)", (state.sha256, packed))

    def select(self, selection: Selection, limit: int) -> list[Call]:
        """Return the calls that are meant, the newest first; all of them for a limit of -1."""
        terms = {
            "number = ?": selection.number,
            f"? IN (session, substr(session, -{SHORT}))": selection.session,
            f"? IN (run, substr(run, -{SHORT}))": selection.run,
            "key = ?": selection.key,
            "undone_by IS NULL AND tool != ?": UNDO if selection.stands else None,
        }
        given = {term: value for term, value in terms.items() if value is not None}
        where, values = " AND ".join(given) or "TRUE", tuple(given.values())
        with closing(self._database.cursor()) as cursor:
            rows = cursor.execute(
                "SELECT number, at, tool, fingerprint, undone_by, actor, session, run, key"
                f" FROM call WHERE {where} ORDER BY number DESC LIMIT ?",
                (*values, limit),
            ).fetchall()
        return [
            Call(
                number=number,
                at=at,
                tool=tool,
                fingerprint=fingerprint,
                undone_by=undone_by,
                caller=Caller(actor=actor, session=session, run=run, key=key),
                changes=self._changes(number),
            )
            for number, at, tool, fingerprint, undone_by, actor, session, run, key in rows
        ]

    def content(self, path: str, start: str) -> bytes | None:
        """Return what `path` held when its SHA-256 began with `start`."""
        row = self._database.execute(
            "SELECT zlib FROM content WHERE sha256 LIKE ? || '%' AND sha256 IN"
            " (SELECT before_sha256 FROM change WHERE path = ?"
            " UNION SELECT after_sha256 FROM change WHERE path = ?)",
            (start, _stored(path), _stored(path)),
        ).fetchone()
        return zlib.decompress(row[0]) if row else None

    def _changes(self, call: int) -> list[Change]:
        rows = self._database.execute(
            "SELECT path, moved_to,"
            " before_kind, before_mode, b.zlib, after_kind, after_mode, a.zlib"
            " FROM change LEFT JOIN content b ON b.sha256 = before_sha256"
            " LEFT JOIN content a ON a.sha256 = after_sha256 WHERE call = ? ORDER BY number",
            (call,),
        )
        return [
            Change(_shown(path), _state(*states[:3]), _state(*states[3:]), _shown(moved_to) or None)
            for path, moved_to, *states in rows
        ]

    def prune(self, keep_s: float, keep_bytes: int) -> None:
        """Drop what is too old, then the oldest until the rest is small enough."""
        with self._database as database:
            oldest = time.time() - keep_s
            if database.execute("DELETE FROM call WHERE at < ?", (oldest,)).rowcount:
                self._drop_content()
            while self._size() > keep_bytes:
                # A tenth at a time: each round looks at all that is left.
                database.execute(
                    "DELETE FROM call WHERE number IN (SELECT number FROM call ORDER BY number"
                    " LIMIT 1 + (SELECT count(*) FROM call) / 10)"
                )
                self._drop_content()
        self._database.execute("PRAGMA incremental_vacuum").fetchall()

    def _drop_content(self) -> None:
        self._database.execute(
            "DELETE FROM content WHERE sha256 NOT IN (SELECT before_sha256 FROM change WHERE"
            " before_sha256 IS NOT NULL UNION SELECT after_sha256 FROM change WHERE"
            " after_sha256 IS NOT NULL)"
        )

    def _size(self) -> int:
        row = self._database.execute("SELECT coalesce(sum(length(zlib)), 0) FROM content")
        return int(row.fetchone()[0])


def _connect(file: Path) -> sqlite3.Connection:
    database = sqlite3.connect(file)
    database.execute("PRAGMA auto_vacuum = INCREMENTAL")
    # WAL, in every version of SQLite: what can go wrong with it takes two connections at work at
    # the same time, and the lock lets in one.
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA foreign_keys = ON")
    database.execute("PRAGMA temp_store = MEMORY")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _SCHEMA_VERSION:
        database.close()
        raise UnavailableError("The journal was made by a newer Workyard: install that one.")
    database.executescript(_SCHEMA)
    database.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    return database


def _stored(path: str | None) -> bytes | None:
    return None if path is None else os.fsencode(path)  # names need not be UTF-8


def _shown(path: bytes | None) -> str:
    return "" if path is None else os.fsdecode(path)


def _columns(state: State | None) -> tuple[str | None, int | None, str | None]:
    return (None, None, None) if state is None else (state.kind, state.mode, state.sha256)


def _state(kind: str | None, mode: int | None, packed: bytes | None) -> State | None:
    if kind is None:
        return None
    if packed is None:
        raise sqlite3.DatabaseError("the content of a change is missing")
    return State(Kind(kind), zlib.decompress(packed), mode)
