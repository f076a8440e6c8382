"""What one piece of work adds to a session: messages, events, calls."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any  # what columns hold

from sqlalchemy import Connection, Update, bindparam, insert, select, update

from orchestrator.errors import LeaseLostError
from orchestrator.events import Event, ToolCalled, ToolReturned
from orchestrator.store.claimed import Additions, ClaimedRun
from orchestrator.store.compaction import write_compaction
from orchestrator.store.facts import Said, event_body, parts_of
from orchestrator.store.messages import as_json, dump_result, message_body
from orchestrator.store.tables import (
    BLOB,
    EVENT,
    MESSAGE,
    SESSION,
    TOOL_CALL,
    plain,
)
from orchestrator.store.writer import Transaction

MOVE_ON = (
    update(SESSION)
    .where(
        SESSION.c.pk == bindparam("session"),
        SESSION.c.active_run_pk == bindparam("run"),
        SESSION.c.last_event_seq == bindparam("from_event"),
        SESSION.c.last_message_seq == bindparam("from_message"),
    )
    .values(last_event_seq=bindparam("to_event"), last_message_seq=bindparam("to_message"))
)

_KNOWN_BLOB = select(BLOB.c.pk).where(BLOB.c.sha256 == bindparam("sha256"))
_NEW_BLOB = insert(BLOB).returning(BLOB.c.pk)
_ANSWERED = (
    update(TOOL_CALL)
    .where(TOOL_CALL.c.run_pk == bindparam("run"), TOOL_CALL.c.call_id == bindparam("call"))
    .values(
        outcome=bindparam("new_outcome"),
        result=bindparam("new_result"),
        returned_at=bindparam("now"),
    )
)


def append(
    tx: Transaction, run: ClaimedRun, added: Additions, move_on: Update = MOVE_ON, **columns: Any
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
    write_messages(tx, run, added)
    said = _said(run, added)
    now = datetime.now(UTC)
    for seq, event in enumerate(added.events, run.event_seq + 1):
        tx.insert(EVENT, event_row(run.session_pk, run.pk, seq, event, said, now))
    _keep_ledger(tx, run, added, now)


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
    tx: Transaction, run: ClaimedRun, added: Additions, move_on: Update, columns: dict[str, Any]
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
    if tx.connection.execute(move_on, step | columns).rowcount == 1:
        return True
    # A commit whose answer was lost, as when the database restarts, and which is tried again.
    where = select(SESSION.c.active_run_pk, SESSION.c.last_event_seq, SESSION.c.last_message_seq)
    found = tx.connection.execute(where.where(SESSION.c.pk == run.session_pk)).one_or_none()
    if found is not None and tuple(found) == (run.pk, step["to_event"], step["to_message"]):
        return False
    raise LeaseLostError(run.session_id, run.id)


def _said(run: ClaimedRun, added: Additions) -> Said:
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
        results={part.tool_call_id: part for part in added.results},
    )


def first_number(run: ClaimedRun, added: Additions) -> int:
    """Return the number that the first of the added messages has or would have."""
    return run.message_seq + added.before_messages + 1


def write_messages(tx: Transaction, run: ClaimedRun, added: Additions) -> None:
    """Add the messages' rows, which the session's counter has room for."""
    results = run.results | _dumped(added)
    for seq, message in enumerate(added.messages, first_number(run, added)):
        body, instructions = message_body(
            message,
            run_id=run.id,
            session_id=run.session_id,
            prompt=plain(run.draft.prompt) if seq == run.first_message_seq else None,
            results=results,
        )
        row = {
            "session_pk": run.session_pk,
            "seq": seq,
            "run_pk": run.pk,
            "kind": message.kind,
            "body": body,
            "instructions_pk": None if instructions is None else _blob(tx.connection, instructions),
        }
        tx.insert(MESSAGE, row)


def _blob(connection: Connection, text: str) -> int:
    content = text.encode(errors="backslashreplace")
    sha256 = hashlib.sha256(content).hexdigest()
    found = connection.execute(_KNOWN_BLOB, {"sha256": sha256}).scalar_one_or_none()
    if found is None:
        new = {"sha256": sha256, "content": content}
        found = connection.execute(_NEW_BLOB, new).scalar_one()
    pk: int = found
    return pk


def _dumped(added: Additions) -> dict[str, dict[str, Any]]:
    return {part.tool_call_id: dump_result(part) for part in added.results}


def _keep_ledger(tx: Transaction, run: ClaimedRun, added: Additions, now: datetime) -> None:
    """Write down which calls were made, and what became of them.

    A provider may give one id twice; the ledger keeps the first.
    """
    results = _dumped(added)
    returned = {e.call_id: e.outcome for e in added.events if isinstance(e, ToolReturned)}
    new = {
        event.call_id: event
        for event in reversed(added.events)
        if isinstance(event, ToolCalled) and event.call_id not in run.calls
    }
    for call_id, called in new.items():
        row = _called(run.pk, called, now) | _answer(returned.get(call_id), results.get(call_id))
        tx.insert(TOOL_CALL, row | {"returned_at": now if call_id in returned else None})
    for call_id in returned.keys() & run.calls - run.results.keys():
        answer = _answer(returned[call_id], results.get(call_id))
        tx.connection.execute(
            _ANSWERED,
            {
                "run": run.pk,
                "call": call_id,
                "now": now,
                "new_outcome": answer["outcome"],
                "new_result": answer["result"],
            },
        )


def _called(run_pk: int, called: ToolCalled, now: datetime) -> dict[str, Any]:
    canonical = as_json(dict(sorted(called.arguments.items())))
    return {
        "run_pk": run_pk,
        "call_id": called.call_id,
        "tool": called.tool,
        "arguments_sha256": hashlib.sha256(canonical.encode()).hexdigest(),
        "called_at": now,
    }


def _answer(outcome: str | None, result: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"outcome": outcome, "result": None if result is None else as_json(result)}


def moved(run: ClaimedRun, added: Additions) -> None:
    """Let the process know that an addition is on record."""
    run.parts = parts_of(added.messages, first=first_number(run, added)) or run.parts
    run.event_seq += len(added.events)
    run.message_seq += added.numbers
    run.calls |= {event.call_id for event in added.events if isinstance(event, ToolCalled)}
    for call_id, part in _dumped(added).items():
        run.results.setdefault(call_id, part)
