"""A session read page by page for an export, whose reader holds nothing up however slow it is.

An export holds what there was when it began. Of a run under way, that is its beginning.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar  # Any: rows of several tables

from pydantic_ai.messages import ModelMessage
from sqlalchemy import Connection, Row, bindparam, select

from orchestrator.errors import HistoryUnreadableError, SessionDamagedError
from orchestrator.events import RecordedEvent
from orchestrator.store.finding import check_run
from orchestrator.store.log import load_events
from orchestrator.store.messages import COMPACTION, StoredMessage, long_result, read_messages
from orchestrator.store.tables import MESSAGE, RUN, TOOL_CALL, SessionRow
from orchestrator.store.window import elsewhere_of, path_to, stored_messages

PAGE = 500
"""Rows that one query brings."""

T = TypeVar("T")


class Look(Protocol):
    """Returns what a function finds of one session, all of it at one moment."""

    async def __call__(self, work: Callable[[Connection, SessionRow], T], /) -> T:
        """Let it look."""
        ...


@dataclass(frozen=True)
class Head:
    """A session and the runs of its messages, a fork's shared ones included, in their order."""

    session: SessionRow
    runs: Sequence[Row[Any]]

    def is_own(self, run: Row[Any]) -> bool:
        """Say whether a run is the session's own, and no origin's."""
        return bool(run.session_pk == self.session.pk)

    def output_at(self, run: Row[Any]) -> tuple[int, int] | None:
        """Return where a run's answer is, if it is the text of a message of the session."""
        upto = self.session.last_message_seq if self.is_own(run) else self.session.origin_seq or 0
        if run.output_seq is None or run.output_seq > upto:
            return None
        return run.output_seq, run.output_part


@dataclass(frozen=True)
class Told:
    """A row among the messages, and the message that it holds unless it is a compaction."""

    row: StoredMessage
    message: ModelMessage | None


@dataclass(frozen=True)
class Call:
    """A row of the ledger of calls."""

    run_id: str
    row: Row[Any]

    @property
    def result(self) -> str | None:
        """The whole JSON of its result."""
        row = self.row
        if row.result is None:
            return None
        return long_result(row.result, row.call_id, row.tool, row.outcome)


def head_of(db: Connection, session: SessionRow) -> Head:
    """Return what an export begins with."""
    assert session.pk is not None, "it was read"
    keys = set(db.execute(_OWN, {"session": session.pk}).scalars())
    for stretch in path_to(db, session.pk, session.last_message_seq):
        bounds = {"after": stretch.after, "upto": stretch.upto}
        keys |= set(db.execute(_SHARED, {"session": stretch.session_pk, **bounds}).scalars())
    runs: list[Row[Any]] = []
    # A message whose run's key is none is missed when the messages are read.
    ordered = sorted(key for key in keys if isinstance(key, int))
    for start in range(0, len(ordered), PAGE):
        runs += db.execute(_RUNS, {"keys": ordered[start : start + PAGE]})
    for run in runs:
        check_run(session.id, run)
    return Head(session, runs)


async def messages_of(look: Look, head: Head) -> AsyncIterator[Told]:
    """Yield a session's messages, compactions among them, oldest first.

    Raises:
        HistoryUnreadableError: If one of them cannot be read.
    """
    last = head.session.last_message_seq
    for after in range(0, last, PAGE):
        page = await look(partial(_messages, after=after, upto=min(after + PAGE, last)))
        for told in page:
            yield told


def compaction_of(told: Told, session_id: str) -> dict[str, Any]:
    """Return what a compaction's row holds.

    Raises:
        HistoryUnreadableError: If it is none.
    """
    try:
        body = json.loads(told.row.body)
        return {"upto": body["upto"], "given": body["given"], "usage": body["usage"]}
    except (ValueError, LookupError, TypeError) as error:
        raise HistoryUnreadableError(session_id, told.row.seq) from error


async def calls_of(look: Look, head: Head) -> AsyncIterator[Call]:
    """Yield the calls of a session's runs, run by run, in the order in which they were made.

    Raises:
        SessionDamagedError: If one holds what no column takes.
    """
    for run in head.runs:
        rows = await look(partial(_calls, run_pk=run.pk))
        if any(isinstance(value, bytes) for row in rows for value in row):
            raise SessionDamagedError(head.session.id, "a call in it holds bytes")
        # Not by the database: two of them need not sort text alike.
        for row in sorted(rows, key=lambda row: (row.called_at, row.call_id)):
            yield Call(run.id, row)


async def events_of(look: Look, head: Head) -> AsyncIterator[RecordedEvent]:
    """Yield a session's own events, in their order.

    Raises:
        HistoryUnreadableError: If one of them cannot be read, or is missing.
    """
    last, told = head.session.last_event_seq, 0
    while told < last:
        page = await look(partial(load_events, after=told, limit=min(PAGE, last - told)))
        upto = told + len(page)
        # None, too: a number of the session that is damaged would lead to no end.
        if not page or [one.seq for one in page] != [*range(told + 1, upto + 1)]:
            raise HistoryUnreadableError(head.session.id, told + 1, what="Event")
        for recorded in page:
            yield recorded
        told = upto


def _messages(db: Connection, session: SessionRow, *, after: int, upto: int) -> list[Told]:
    assert session.pk is not None, "it was read"
    rows = stored_messages(db, path_to(db, session.pk, upto), after=after)
    texts = [row for row in rows if row.kind != COMPACTION]
    read = iter(read_messages(texts, elsewhere_of(db, session.id, texts)))
    return [Told(row, None if row.kind == COMPACTION else next(read)) for row in rows]


def _calls(db: Connection, _: SessionRow, *, run_pk: int) -> Sequence[Row[Any]]:
    return db.execute(_CALLS, {"run": run_pk}).all()


_OWN = select(RUN.c.pk).where(RUN.c.session_pk == bindparam("session"))
_SHARED = (
    select(MESSAGE.c.run_pk)
    .where(
        MESSAGE.c.session_pk == bindparam("session"),
        MESSAGE.c.seq > bindparam("after"),
        MESSAGE.c.seq <= bindparam("upto"),
    )
    .distinct()
)
_RUNS = select(RUN).where(RUN.c.pk.in_(bindparam("keys", expanding=True))).order_by(RUN.c.pk)
_CALLS = select(TOOL_CALL).where(TOOL_CALL.c.run_pk == bindparam("run"))
