"""Each column of each table put to values that it cannot hold: what reads it says so, or does.

No error is Python's own, nothing goes on for ever, and the other sessions are as they were.
"""

import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from orchestrator.errors import OrchestratorError
from orchestrator.store.approvals import Answer
from orchestrator.store.store import Store, open_store
from orchestrator.totals import By
from tests.orchestrator.test_damage import ACTIONS, Record, exported, mould, turn

VALUES = (
    *("'x'", "x'ff'", "CAST(x'ff' AS TEXT)", "NULL", "''", "'{'", "'[]'", "'null'"),
    *("-1", "1e300", "1 << 62"),
)
ROWS = {
    "session": ["pk = 1"],
    "run": ["pk = 1"],
    "message": [f"session_pk = 1 AND seq = {seq}" for seq in (1, 2, 3)],
    "event": ["session_pk = 1 AND seq = 1", "session_pk = 1 AND seq = 3"],
    "tool_call": ["run_pk = 1"],
    "blob": ["pk = 1"],
    "session_blob": ["session_pk = 1"],
}
PATIENCE_S = 20
SHARE = 60
"""One of so many damages is tried in the ordinary run."""

__all__ = ["mould"]  # a fixture


def damages(record: Record) -> Iterator[str]:
    """Yield statements, each of which damages one column of one row."""
    with closing(sqlite3.connect(record.file)) as database:
        for table, rows in ROWS.items():
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for column in columns:
                for value in VALUES:
                    yield from (
                        f"UPDATE {table} SET {column} = {value} WHERE {row}" for row in rows
                    )


def ways_to_read(
    store: Store, record: Record, run_id: str
) -> Iterator[Callable[[], Awaitable[object]]]:
    """Yield all that can be asked of the session, of its run and of its fork; deletions last."""
    sessions, this, fork = store.sessions, record.session_id, record.fork_id
    yield from (lambda ask=ask: ask(store, this) for ask in ACTIONS.values())
    yield from (
        lambda form=form: exported(store, this, form) for form in ("jsonl", "messages", "markdown")
    )
    yield from (lambda by=by: sessions.usage(by) for by in By)
    yield lambda: sessions.run(run_id)
    yield lambda: sessions.recorded_run(run_id)
    yield lambda: sessions.given_before(this, 3)
    yield lambda: sessions.questions(run_id)
    yield lambda: sessions.answer(run_id, Answer(is_approved=True, by="sam"))
    yield lambda: sessions.list(search="found")
    yield lambda: sessions.messages(fork)
    yield lambda: exported(store, fork)
    yield lambda: sessions.rename(this, "new")
    yield lambda: sessions.update_state(this, {"a": 1})
    yield lambda: turn(store, this)
    yield lambda: sessions.delete(this)
    yield lambda: sessions.delete(fork)


@pytest.mark.parametrize("share", [SHARE, pytest.param(1, marks=pytest.mark.long)])
async def test_whatever_a_column_holds_the_record_says_so_and_comes_to_an_end(
    mould: Record, tmp_path: Path, share: int
) -> None:
    with closing(sqlite3.connect(mould.file)) as database:
        (run_id,) = database.execute("SELECT id FROM run WHERE pk = 1").fetchone()
    tried = 0
    for number, sql in enumerate([*damages(mould)][::share]):
        place = tmp_path / str(number)
        place.mkdir()
        record = replace(mould, file=Path(shutil.copy(mould.file, place / "record.db")))
        with suppress(sqlite3.IntegrityError):  # the tables themselves refuse it
            record.damage(sql)
            await _tried(record, run_id, sql)
            tried += 1
        shutil.rmtree(place)

    assert tried > 0


async def _tried(record: Record, run_id: str, sql: str) -> None:
    async with open_store(record.url) as store:
        for ask in ways_to_read(store, record, run_id):
            try:
                with anyio.fail_after(PATIENCE_S), suppress(OrchestratorError):
                    await ask()
            except Exception as error:
                raise AssertionError(f"After {sql!r}: {error!r}") from error
        await turn(store, record.whole_id)
