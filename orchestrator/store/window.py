"""A session's messages as they are read: along its origins, filled with what other rows say."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any  # rows of several queries

from pydantic_ai.messages import ModelMessage
from sqlalchemy import BindParameter, Connection, Select, Text, bindparam, case, select

from orchestrator.store.messages import (
    COMPACTION,
    IN_LEDGER,
    Elsewhere,
    StoredMessage,
    long_result,
    read_messages,
)
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import BLOB, MESSAGE, RUN, SESSION, TOOL_CALL


@dataclass(frozen=True)
class Stretch:
    """Messages that are a session's own: those after `after`, up to `upto`."""

    session_id: str
    session_pk: int
    after: int
    upto: int


def path_to(db: Connection, session_pk: int, upto: int) -> list[Stretch]:
    """Return where messages 1 to `upto` are, oldest first: in the session and in its origins."""
    path: list[Stretch] = []
    at: int | None = session_pk
    while at is not None:
        (session_id, origin_pk, origin_seq), *_ = _ORIGIN.rows(db, {"session": at})
        if any(stretch.session_pk == at for stretch in path):
            raise ValueError(f"session {session_id!r} is its own origin")
        if not isinstance(origin_seq, int | None):
            raise ValueError(f"session {session_id!r} names no message of its origin")
        path.append(Stretch(session_id, at, after=origin_seq or 0, upto=upto))
        at, upto = origin_pk, min(upto, origin_seq or 0)
    return path[::-1]


def load_messages(
    db: Connection, session_id: str, session_pk: int, *, upto: int, after: int = 0
) -> list[ModelMessage]:
    """Return a session's messages above `after` and up to `upto`, in ascending order.

    Raises:
        HistoryUnreadableError: If one of them cannot be read.
    """
    return read_messages(*find_messages(db, session_id, session_pk, upto=upto, after=after))


def find_messages(
    db: Connection, session_id: str, session_pk: int, *, upto: int, after: int = 0
) -> tuple[list[StoredMessage], Elsewhere]:
    """Return the rows of these messages and what other rows say of them, yet to be read."""
    found = stored_messages(db, path_to(db, session_pk, upto), after=after)
    rows = [row for row in found if row.kind != COMPACTION]
    return rows, elsewhere_of(db, session_id, rows)


def stored_messages(
    db: Connection, path: Sequence[Stretch], *, after: int = 0
) -> list[StoredMessage]:
    """Return the rows on a path whose number is above `after`, compactions included, ascending."""
    rows: list[StoredMessage] = []
    for stretch in path:
        bounds = {"after": max(after, stretch.after), "upto": stretch.upto}
        if bounds["upto"] > bounds["after"]:
            this = {"session": stretch.session_pk, "session_id": stretch.session_id, **bounds}
            own = [*map(StoredMessage._make, _STRETCH.rows(db, this))]
            rows += own
            if len(own) != bounds["upto"] - bounds["after"]:
                return _up_to_gap(rows, after)
    return rows


def _up_to_gap(rows: Sequence[StoredMessage], after: int) -> list[StoredMessage]:
    """Return the rows before the first that is missing, and one in its place, which is no message.

    What comes after it is no history.
    """
    whole = [row for seq, row in enumerate(rows, after + 1) if row.seq == seq]
    seq = after + len(whole) + 1
    gap = StoredMessage(seq=seq, run_pk=0, run_id="", kind="", body="", instructions_pk=None)
    return [*whole, gap]


def elsewhere_of(db: Connection, session_id: str, rows: Sequence[StoredMessage]) -> Elsewhere:
    """Return what other rows say of these messages."""
    requests = (row for row in rows if row.kind == "request")
    answered = sorted({row.run_pk for row in requests if IN_LEDGER in str(row.body)})
    # What is no key is missed when the messages are read.
    blobs = sorted({row.instructions_pk for row in rows if isinstance(row.instructions_pk, int)})
    return Elsewhere(
        session_id,
        results=results_of(db, answered),
        instructions=dict(_all(db, _BLOBS, blobs)),
    )


def results_of(db: Connection, runs: Sequence[int]) -> dict[tuple[int, str], str]:
    """Return what the ledger has of the calls of runs, by run and call: whole JSON of results."""
    found = _all(db, _RESULTS, runs)
    # What holds bytes is missed when the messages are read.
    whole = (row for row in found if not any(isinstance(value, bytes) for value in row))
    return {(pk, key): long_result(text, key, *said) for pk, key, text, *said in whole}


def _all(db: Connection, query: Select[Any], keys: Sequence[int]) -> list[Any]:
    """Return what a query finds by `keys`, in portions: a statement's parameters are limited."""
    found: list[Any] = []
    for start in range(0, len(keys), _PORTION):
        found += db.execute(query, {"keys": keys[start : start + _PORTION]}).all()
    return found


# Statements are made once: to put one together costs more than to run it.
_PORTION = 500
_KEYS: BindParameter[int] = bindparam("keys", expanding=True)
_ORIGIN = Prepared(
    select(SESSION.c.id, SESSION.c.origin_pk, SESSION.c.origin_seq).where(
        SESSION.c.pk == bindparam("session")
    )
)
_STRETCH = Prepared(
    select(
        MESSAGE.c.seq,
        MESSAGE.c.run_pk,
        RUN.c.id,
        MESSAGE.c.kind,
        MESSAGE.c.body,
        MESSAGE.c.instructions_pk,
        case((MESSAGE.c.seq == RUN.c.first_message_seq, RUN.c.prompt)),
        bindparam("session_id", type_=Text),
    )
    .join(RUN, RUN.c.pk == MESSAGE.c.run_pk)
    .where(
        MESSAGE.c.session_pk == bindparam("session"),
        MESSAGE.c.seq > bindparam("after"),
        MESSAGE.c.seq <= bindparam("upto"),
    )
    .order_by(MESSAGE.c.seq)
)
_RESULTS = select(
    TOOL_CALL.c.run_pk,
    TOOL_CALL.c.call_id,
    TOOL_CALL.c.result,
    TOOL_CALL.c.tool,
    TOOL_CALL.c.outcome,
).where(TOOL_CALL.c.run_pk.in_(_KEYS), TOOL_CALL.c.result.is_not(None))
_BLOBS = select(BLOB.c.pk, BLOB.c.content).where(BLOB.c.pk.in_(_KEYS))
