"""The pieces of work for runs that broke off: ended by others, from what is on record."""

from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any  # what JSON holds

from pydantic_ai.messages import ModelRequest, ModelResponse, ToolReturnPart
from sqlalchemy import Connection, bindparam, func, insert, select, update

from orchestrator.errors import HistoryUnreadableError, LeaseLostError
from orchestrator.events import RunEnded, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.store.additions import event_row
from orchestrator.store.claimed import ClaimedRun
from orchestrator.store.compaction import used_for_compaction
from orchestrator.store.ending import COUNTED, end_row
from orchestrator.store.facts import Said
from orchestrator.store.liveness import Liveness
from orchestrator.store.messages import (
    Elsewhere,
    StoredMessage,
    call_key,
    dump_result,
    message_body,
    read_messages,
)
from orchestrator.store.standing import calls_of, missing_results, read_ledger
from orchestrator.store.tables import EVENT, MESSAGE, RUN, SESSION, TOOL_CALL
from orchestrator.store.usage import added as usage_with
from orchestrator.store.usage import beyond, together, used_by
from orchestrator.store.window import load_messages
from orchestrator.store.writer import Transaction


@dataclass(frozen=True)
class _Broken:
    """A run that holds its session, and has nobody who could end it."""

    session_pk: int
    session_id: str
    active_run_pk: int | None
    last_event_seq: int
    last_message_seq: int
    session_usage: dict[str, Any]
    run_pk: int
    run_id: str
    lease_owner: str


def interrupt(tx: Transaction, session_pk: int, run_pk: int) -> None:
    """Mark a run interrupted, whose process is dead, and give its session free.

    Those that worked for it died with it. One of them that cannot be read stays as it is.

    Raises:
        HistoryUnreadableError: If a message of it cannot be read. Nothing is written then.
    """
    broken = _found(tx.connection, session_pk, run_pk)
    _interrupt(tx, broken)
    below = {"run": run_pk, "holder": broken.lease_owner}
    for delegate in tx.connection.execute(_BELOW, below).all():
        with suppress(HistoryUnreadableError):
            interrupt(tx, delegate.session_pk, delegate.pk)


def _interrupt(tx: Transaction, broken: _Broken) -> None:
    text = f"The process of run {broken.run_id!r} ended without a word."
    ended = RunEnded(status=RunStatus.INTERRUPTED, error_code="interrupted", error_text=text)
    _end(tx, broken, ended)


def interrupt_orphan(liveness: Liveness, session_pk: int, run_pk: int, tx: Transaction) -> None:
    """Mark a run interrupted, whose process is dead.

    Raises:
        HistoryUnreadableError: If a message of it cannot be read. Nothing is written then.
    """
    broken = _found(tx.connection, session_pk, run_pk)
    if broken.active_run_pk == run_pk and not liveness.living(tx.connection, [run_pk]):
        _interrupt(tx, broken)  # else others were quicker


def give_up(run: ClaimedRun, holder: str, ended: RunEnded, tx: Transaction) -> None:
    """End a run whose process is not sure how much of it is on record.

    Raises:
        LeaseLostError: If the run does not hold its session any more.
        HistoryUnreadableError: If a message of it cannot be read.
    """
    broken = _found(tx.connection, run.session_pk, run.pk)
    if broken.active_run_pk != run.pk or broken.lease_owner != holder:
        raise LeaseLostError(run.session_id, run.id)
    _end(tx, broken, ended)


def to_stop(runs: Collection[int], holder: str, tx: Transaction) -> set[int]:
    """Return which of these runs their process, the holder, must not go on with."""
    going_on = tx.connection.execute(_GOING_ON, {"runs": [*runs], "holder": holder}).scalars()
    return {*runs}.difference(going_on)


def _found(db: Connection, session_pk: int, run_pk: int) -> _Broken:
    session = db.execute(_SESSION, {"this": session_pk}).one()
    run = db.execute(_RUN, {"this": run_pk}).one()
    return _Broken(session_pk, *session, run_pk, *run)


def _end(tx: Transaction, broken: _Broken, ended: RunEnded) -> None:
    tx.flush()
    answers = answers_of(tx.connection, broken.session_pk, broken.run_pk)
    said = [answer for _, answer in answers]
    used = _used(tx.connection, (broken.session_pk, broken.run_pk), said)
    left = _results_left(tx.connection, broken, answers)
    already = tx.connection.execute(_COUNTED, {"this": broken.run_pk}).one()
    total = usage_with(broken.session_usage, beyond(used, Usage(**already._mapping)))
    ended = ended.model_copy(update={"usage": used})
    if left:
        _write(tx.connection, broken, left)
    seq = broken.last_event_seq + 1
    now = datetime.now(UTC)
    tx.insert(EVENT, event_row(broken.session_pk, broken.run_pk, seq, ended, Said(), now))
    end_row(tx.connection, (broken.run_pk, broken.run_id), ended)
    free = {
        "this": broken.session_pk,
        "to_event": seq,
        "to_message": broken.last_message_seq + bool(left),
        "now_used": total,
    }
    tx.connection.execute(_FREE, free)


def answers_of(db: Connection, session_pk: int, run_pk: int) -> list[tuple[int, ModelResponse]]:
    """Return what models have said in a run, with the numbers of these messages.

    Raises:
        HistoryUnreadableError: If one of them cannot be read.
    """
    rows = [
        StoredMessage(
            seq=seq, run_pk=run_pk, run_id="", kind="response", body=body, instructions_pk=None
        )
        for seq, body in db.execute(_ANSWERS, {"session": session_pk, "run": run_pk})
    ]
    messages = read_messages(rows, Elsewhere(session_id=""))
    numbered = zip((row.seq for row in rows), messages, strict=True)
    return [(seq, message) for seq, message in numbered if isinstance(message, ModelResponse)]


def usage_on_record(db: Connection, session_pk: int, run_pk: int) -> Usage:
    """Return what a run has used as far as the record tells: its process cannot.

    Raises:
        HistoryUnreadableError: If an answer of its model cannot be read.
    """
    answers = answers_of(db, session_pk, run_pk)
    return _used(db, (session_pk, run_pk), [answer for _, answer in answers])


def _used(db: Connection, of: tuple[int, int], answers: Iterable[ModelResponse]) -> Usage:
    session_pk, run_pk = of
    tool_calls = db.execute(_DONE, {"run": run_pk}).scalar_one()
    used = used_by(answers, tool_calls=tool_calls)
    return together(used, used_for_compaction(db, session_pk, run_pk))


def _results_left(
    db: Connection, broken: _Broken, answers: Sequence[tuple[int, ModelResponse]]
) -> list[ToolReturnPart]:
    """Return the results of the last calls that are in no message yet."""
    if not answers:
        return []
    seq, answer = answers[-1]
    upto = broken.last_message_seq
    after = load_messages(db, broken.session_id, broken.session_pk, upto=upto, after=seq)
    before = calls_of([answer for _, answer in answers[:-1]])
    try:
        return missing_results(answer, after, before, read_ledger(db, broken.run_pk))
    except ValueError as error:
        raise HistoryUnreadableError(broken.session_id, seq) from error


def _write(db: Connection, broken: _Broken, left: Sequence[ToolReturnPart]) -> None:
    """Add the results as a message that broke off."""
    message = ModelRequest(
        parts=left,
        timestamp=datetime.now(UTC),
        run_id=broken.run_id,
        conversation_id=broken.session_id,
        state="interrupted",
    )
    results = {call_key(part.tool_call_id): dump_result(part) for part in left}
    body, _ = message_body(
        message, run_id=broken.run_id, session_id=broken.session_id, prompt=None, results=results
    )
    row = {
        "session_pk": broken.session_pk,
        "seq": broken.last_message_seq + 1,
        "run_pk": broken.run_pk,
        "kind": message.kind,
        "body": body,
    }
    db.execute(_NEW_MESSAGE, row)


# Statements are made once: to put one together costs more than to run it.
_SESSION = (
    select(
        SESSION.c.id,
        SESSION.c.active_run_pk,
        SESSION.c.last_event_seq,
        SESSION.c.last_message_seq,
        SESSION.c.usage,
    )
    .where(SESSION.c.pk == bindparam("this"))
    .with_for_update()
)
_RUN = select(RUN.c.id, RUN.c.lease_owner).where(RUN.c.pk == bindparam("this"))
_BELOW = select(RUN.c.pk, RUN.c.session_pk).where(
    RUN.c.parent_pk == bindparam("run"),
    RUN.c.status == RunStatus.RUNNING.value,
    RUN.c.lease_owner == bindparam("holder"),
)
_COUNTED = select(*(RUN.c[name] for name in COUNTED)).where(RUN.c.pk == bindparam("this"))
_GOING_ON = select(RUN.c.pk).where(
    RUN.c.pk.in_(bindparam("runs", expanding=True)),
    RUN.c.lease_owner == bindparam("holder"),
    RUN.c.status == RunStatus.RUNNING.value,
    RUN.c.cancel_asked_at.is_(None),
)
_ANSWERS = (
    select(MESSAGE.c.seq, MESSAGE.c.body)
    .where(
        MESSAGE.c.session_pk == bindparam("session"),
        MESSAGE.c.run_pk == bindparam("run"),
        MESSAGE.c.kind == "response",
    )
    .order_by(MESSAGE.c.seq)
)
_DONE = select(func.count()).where(
    TOOL_CALL.c.run_pk == bindparam("run"), TOOL_CALL.c.outcome == "success"
)
_NEW_MESSAGE = insert(MESSAGE)
_FREE = (
    update(SESSION)
    .where(SESSION.c.pk == bindparam("this"))
    .values(
        active_run_pk=None,
        last_event_seq=bindparam("to_event"),
        last_message_seq=bindparam("to_message"),
        usage=bindparam("now_used"),
    )
)
