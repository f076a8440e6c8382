"""What one piece of work adds to a session: messages, events, calls."""

import hashlib
from datetime import UTC, datetime
from typing import Any  # what columns hold

from sqlalchemy import and_, bindparam, insert, select, update

from orchestrator.errors import LeaseLostError
from orchestrator.events import Event
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.compaction import write_compaction
from orchestrator.store.facts import Said, event_body, parts_of
from orchestrator.store.ledger import News, keep, kept, news_of
from orchestrator.store.messages import message_body, read_result
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import (
    BLOB,
    EVENT,
    MESSAGE,
    RUN,
    SESSION,
    SESSION_BLOB,
    plain,
)
from orchestrator.store.writer import Transaction

MOVING_ON = (
    update(SESSION)
    .where(
        SESSION.c.pk == bindparam("session"),
        SESSION.c.active_run_pk == bindparam("run"),
        SESSION.c.last_event_seq == bindparam("from_event"),
        SESSION.c.last_message_seq == bindparam("from_message"),
    )
    .values(last_event_seq=bindparam("to_event"), last_message_seq=bindparam("to_message"))
)
MOVE_ON = Prepared(MOVING_ON)

_WHERE = (
    select(RUN.c.pk, RUN.c.attempt, SESSION.c.last_event_seq, SESSION.c.last_message_seq)
    .join(RUN, RUN.c.pk == SESSION.c.active_run_pk)
    .where(SESSION.c.pk == bindparam("session"))
)
# Whoever deletes the last session that refers to a blob waits until this one does.
_KNOWN_BLOB = Prepared(
    select(BLOB.c.pk, SESSION_BLOB.c.session_pk)
    .outerjoin(
        SESSION_BLOB,
        and_(
            SESSION_BLOB.c.blob_pk == BLOB.c.pk, SESSION_BLOB.c.session_pk == bindparam("session")
        ),
    )
    .where(BLOB.c.sha256 == bindparam("sha256"))
    .with_for_update(read=True, key_share=True, of=BLOB)
)
_NEW_BLOB = Prepared(insert(BLOB).returning(BLOB.c.pk))
_REFER = Prepared(insert(SESSION_BLOB))


def append(
    tx: Transaction, run: ClaimedRun, added: Additions, move_on: Prepared = MOVE_ON, **columns: Any
) -> None:
    """Add what has happened in a run, numbered from where the process that holds it stands.

    Args:
        tx: Where to write.
        run: The run.
        added: What to add.
        move_on: How the session's row moves on.
        columns: What else `move_on` writes.

    Raises:
        LeaseLostError: If the run does not hold the session any more.
    """
    if not _moved_on(tx, run, added, move_on, columns):
        return
    if added.compacted is not None:
        write_compaction(tx, run, added.compacted)
    news = news_of(run, added)
    write_messages(tx, run, added, news)
    said = _said(run, added, news)
    now = datetime.now(UTC)
    for seq, event in enumerate(added.events, run.event_seq + 1):
        tx.insert(EVENT, event_row(run.session_pk, run.pk, seq, event, said, now))
    keep(tx, run, news, now)


def event_row(  # noqa: PLR0913 - the columns of a row
    session_pk: int, run_pk: int, seq: int, event: Event, said: Said, now: datetime
) -> dict[str, Any]:
    """Return the row of an event."""
    return {
        "session_pk": session_pk,
        "seq": seq,
        "run_pk": run_pk,
        "type": event.type,
        "body": event_body(event, said),
        "at": now,
    }


def _moved_on(
    tx: Transaction, run: ClaimedRun, added: Additions, move_on: Prepared, columns: dict[str, Any]
) -> bool:
    """Move the session's counters on; False if this very addition is on record already."""
    step = {
        "session": run.session_pk,
        "run": run.pk,
        "from_event": run.event_seq,
        "from_message": run.message_seq,
        "to_event": run.event_seq + len(added.events),
        "to_message": run.message_seq + added.numbers,
    }
    if move_on.change(tx.connection, step | columns) == 1:
        return True
    # A commit whose answer was lost, as when the database restarts, and which is tried again. Not
    # what another process has added that goes on with the same run: that is another attempt.
    found = tx.connection.execute(_WHERE, {"session": run.session_pk}).one_or_none()
    this = (run.pk, run.attempt, step["to_event"], step["to_message"])
    if found is not None and tuple(found) == this:
        return False
    raise LeaseLostError(run.session_id, run.id)


def _said(run: ClaimedRun, added: Additions, news: News) -> Said:
    draft = run.draft
    return Said(
        run={
            "agent": draft.agent,
            "model": draft.model,
            "spec_sha256": draft.spec_sha256,
            "prompt": plain(draft.prompt),
            "inputs": draft.inputs,
        },
        parts=run.parts | parts_of(added.messages, first=first_number(run, added)),
        # As they will be read: what JSON has no word for is then another.
        results={key: read_result(text) for key, text in news.results.items()},
    )


def first_number(run: ClaimedRun, added: Additions) -> int:
    """Return the number that the first of the added messages has or would have."""
    return run.message_seq + added.before_messages + 1


def add_to_free(tx: Transaction, session_pk: int, run_pk: int, event: Event) -> None:
    """Add an event of a run to its session, which no run holds and others may be adding to."""
    seq = tx.connection.execute(_LAST_EVENT, {"this": session_pk}).scalar_one() + 1
    tx.insert(EVENT, event_row(session_pk, run_pk, seq, event, Said(), datetime.now(UTC)))
    tx.connection.execute(_NUMBER_ON, {"this": session_pk, "to": seq})


def write_messages(tx: Transaction, run: ClaimedRun, added: Additions, news: News) -> None:
    """Add the messages' rows, which the session's counter has room for."""
    results = run.results | news.results
    for seq, message in enumerate(added.messages, first_number(run, added)):
        body, instructions = message_body(
            message,
            run_id=run.id,
            session_id=run.session_id,
            prompt=plain(run.draft.prompt) if seq == run.first_message_seq else None,
            results=results,
        )
        blob = None if instructions is None else refer_to_blob(tx, run.session_pk, instructions)
        row = {
            "session_pk": run.session_pk,
            "seq": seq,
            "run_pk": run.pk,
            "kind": message.kind,
            "body": body,
            "instructions_pk": blob,
        }
        tx.insert(MESSAGE, row)


def refer_to_blob(tx: Transaction, session_pk: int, text: str) -> int:
    """Return the key of a text that messages of a session refer to."""
    content = text.encode(errors="surrogatepass")
    sha256 = hashlib.sha256(content).hexdigest()
    this = {"sha256": sha256, "session": session_pk}
    found = _KNOWN_BLOB.rows(tx.connection, this)
    new = {"sha256": sha256, "content": content}
    pk: int = (found or _NEW_BLOB.rows(tx.connection, new))[0][0]
    if not found or found[0][1] is None:
        _REFER.change(tx.connection, {"session_pk": session_pk, "blob_pk": pk})
    return pk


def moved(run: ClaimedRun, added: Additions) -> None:
    """Let the process know that an addition is on record."""
    kept(run, added)
    run.parts = parts_of(added.messages, first=first_number(run, added)) or run.parts
    run.event_seq += len(added.events)
    run.message_seq += added.numbers


_LAST_EVENT = (
    select(SESSION.c.last_event_seq).where(SESSION.c.pk == bindparam("this")).with_for_update()
)
_NUMBER_ON = (
    update(SESSION).where(SESSION.c.pk == bindparam("this")).values(last_event_seq=bindparam("to"))
)
