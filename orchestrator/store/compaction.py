"""Compactions on record: what a model is given instead of a conversation's older part.

A compaction is a row among the messages, with a number of its own; the messages that it stands for
stay. A session points to its last one; what was given at any point of the past, where a fork may
begin, is found by the last one before that point.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any  # what JSON holds

from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter
from sqlalchemy import Connection, bindparam, select, update

from orchestrator.errors import HistoryUnreadableError
from orchestrator.events import Usage
from orchestrator.store.claimed import ClaimedRun, Compacted
from orchestrator.store.messages import (
    COMPACTION,
    StoredMessage,
    as_json,
    messages_of,
    read_messages,
)
from orchestrator.store.tables import MESSAGE, SESSION
from orchestrator.store.window import Stretch, elsewhere_of, path_to, stored_messages
from orchestrator.store.writer import Transaction


@dataclass(frozen=True)
class ModelWindow:
    """What a model is given of a session: what stands for the older part, then its messages."""

    given: Sequence[ModelMessage]
    rest: Sequence[tuple[int, ModelMessage]]
    """Messages as they were written, with their numbers."""
    last: StoredMessage | None = None
    """The last row of them."""
    chars: int = 0
    """How much JSON they have been."""

    @property
    def messages(self) -> list[ModelMessage]:
        """All of it, oldest first."""
        return [*self.given, *(message for _, message in self.rest)]


def write_compaction(tx: Transaction, run: ClaimedRun, compacted: Compacted) -> None:
    """Add a compaction, as the message after the last one, and let the session begin there."""
    seq = run.message_seq + 1
    this = {"session": run.session_pk}
    body = {
        "upto": compacted.upto,
        "given": ModelMessagesTypeAdapter.dump_python(list(compacted.given), mode="json"),
        "usage": compacted.usage.model_dump(mode="json", exclude_defaults=True),
    }
    row = {
        "session_pk": run.session_pk,
        "seq": seq,
        "run_pk": run.pk,
        "kind": COMPACTION,
        "body": as_json(body),
        "instructions_pk": None,
    }
    tx.insert(MESSAGE, row)
    tx.connection.execute(_MOVE_WINDOW, this | {"to": seq})


def load_window(
    db: Connection, session_id: str, session_pk: int, *, upto: int, window_seq: int
) -> ModelWindow:
    """Return what a model is given of a session up to a message.

    Args:
        db: An open connection.
        session_id: The session.
        session_pk: Its key.
        upto: The last message.
        window_seq: The compaction to begin with, or 0.

    Raises:
        HistoryUnreadableError: If it cannot be read; it names session and message.
    """
    path = path_to(db, session_pk, upto)
    given: Sequence[ModelMessage] = ()
    after = 0
    if window_seq:
        body = _body_at(db, session_id, path, window_seq)
        given, after = body["given"], body["upto"]
    rows = stored_messages(db, path, after=after)
    return _with(db, session_id, ModelWindow(given, ()), rows)


def longer_window(
    db: Connection, session_id: str, session_pk: int, known: ModelWindow, *, upto: int
) -> ModelWindow | None:
    """Return a window with the messages that have come since it was loaded.

    None if its last message is not on record any more: then it is that of another session, which
    was put on record in the place of a deleted one.

    Raises:
        HistoryUnreadableError: If one of them cannot be read; it names session and message.
    """
    if known.last is None:
        return None
    path = path_to(db, session_pk, upto)
    rows = stored_messages(db, path, after=known.last.seq - 1)
    if rows[:1] != [known.last]:
        return None
    return _with(db, session_id, known, rows[1:])


def _with(
    db: Connection, session_id: str, known: ModelWindow, rows: Sequence[StoredMessage]
) -> ModelWindow:
    said = [row for row in rows if row.kind != COMPACTION]
    elsewhere = elsewhere_of(db, session_id, said)
    messages = read_messages(said, elsewhere)
    numbers = [row.seq for row in said]
    texts = [*(row.body for row in said), *elsewhere.results.values()]
    return ModelWindow(
        known.given,
        [*known.rest, *zip(numbers, messages, strict=True)],
        last=rows[-1] if rows else known.last,
        chars=known.chars + sum(map(len, texts)),
    )


def window_at(db: Connection, session_pk: int, seq: int) -> int:
    """Return the compaction with which a model's history begins at a message, or 0."""
    for stretch in reversed(path_to(db, session_pk, seq)):
        bounds = {"after": stretch.after, "upto": stretch.upto}
        found = db.execute(_LAST, {"session": stretch.session_pk, **bounds}).scalars().first()
        if found is not None:
            return int(found)
    return 0


def used_for_compaction(db: Connection, session_pk: int, run_pk: int) -> Usage:
    """Return what a run has used for its compactions, which none of its responses says."""
    body = db.execute(_LAST_OF_RUN, {"session": session_pk, "run": run_pk}).scalars().first()
    return Usage() if body is None else Usage.model_validate(json.loads(body)["usage"])


def _body_at(db: Connection, session_id: str, path: Sequence[Stretch], seq: int) -> dict[str, Any]:
    (stretch,) = (one for one in path if one.after < seq <= one.upto)
    text = db.execute(_BODY, {"session": stretch.session_pk, "seq": seq}).scalar_one_or_none()
    try:
        body: dict[str, Any] = json.loads(text or "")
        body["given"] = messages_of(as_json(body["given"]))
        body["upto"] += 0  # a number, or it is none
    except (ValueError, LookupError, TypeError) as error:
        raise HistoryUnreadableError(session_id, seq, what="Compaction") from error
    return body


_MOVE_WINDOW = (
    update(SESSION).where(SESSION.c.pk == bindparam("session")).values(window_seq=bindparam("to"))
)
_BODY = select(MESSAGE.c.body).where(
    MESSAGE.c.session_pk == bindparam("session"),
    MESSAGE.c.seq == bindparam("seq"),
    MESSAGE.c.kind == COMPACTION,
)
_LAST = (
    select(MESSAGE.c.seq)
    .where(
        MESSAGE.c.session_pk == bindparam("session"),
        MESSAGE.c.seq > bindparam("after"),
        MESSAGE.c.seq <= bindparam("upto"),
        MESSAGE.c.kind == COMPACTION,
    )
    .order_by(MESSAGE.c.seq.desc())
    .limit(1)
)
_LAST_OF_RUN = (
    select(MESSAGE.c.body)
    .where(
        MESSAGE.c.session_pk == bindparam("session"),
        MESSAGE.c.run_pk == bindparam("run"),
        MESSAGE.c.kind == COMPACTION,
    )
    .order_by(MESSAGE.c.seq.desc())
    .limit(1)
)
