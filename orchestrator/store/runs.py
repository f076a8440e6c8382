"""The pieces of work that begin and end runs."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any  # what columns hold

from pydantic_ai import RunUsage
from sqlalchemy import Connection, Table, Update, bindparam, func, insert, select, update

from orchestrator.errors import LeaseLostError, NotFoundError, SessionBusyError, WrongRootError
from orchestrator.events import Event, RunEnded, RunStarted, Usage, UserMessage
from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import MOVE_ON, append, event_row, first_number
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.compaction import ModelWindow, load_window, used_for_compaction
from orchestrator.store.facts import Place, Said, parts_of
from orchestrator.store.messages import Elsewhere, StoredMessage, read_messages
from orchestrator.store.tables import EVENT, MESSAGE, RUN, SESSION, TOOL_CALL, plain
from orchestrator.store.usage import added as usage_with
from orchestrator.store.usage import dump_usage, together, used_by
from orchestrator.store.writer import Transaction

LEASE_S = 30.0
"""A run that has not renewed its lease for so long is taken for dead; it does so more often."""

LOCAL_OWNER = "local"
"""The owner of sessions where nobody has to say who they are: the terminal and scripts."""

TITLE_CHARS = 80

_ENDINGS = {
    RunStatus.SUCCEEDED: "run_succeeded",
    RunStatus.FAILED: "run_failed",
    RunStatus.CANCELLED: "run_cancelled",
    RunStatus.INTERRUPTED: "lease_lapsed",
}
"""What in the table of transitions leads to each final status."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A session, as its claim has left it."""

    run_pk: int
    session_pk: int
    session_id: str
    event_seq: int
    message_seq: int
    usage: dict[str, Any]
    past: ModelWindow


def claim(draft: RunDraft, run_id: str, holder: str, tx: Transaction) -> Claim:
    """Give a run its session, and write it down with its prompt.

    Raises:
        NotFoundError: If there is no such session.
        WrongRootError: If the session belongs to another directory.
        SessionBusyError: If another run holds the session.
        HistoryUnreadableError: If the session's past cannot be read.
    """
    now = datetime.now(UTC)
    if draft.session_id is None:
        session = _new_session(tx.connection, draft, now)
    else:
        session = _found(tx, draft, draft.session_id)
    run = {
        "id": run_id,
        "session_pk": session.session_pk,
        "status": RunStatus.RUNNING.value,
        "agent": draft.agent,
        "spec_sha256": draft.spec_sha256,
        "model": draft.model,
        "prompt": draft.prompt,
        "inputs": draft.inputs,
        "first_message_seq": session.message_seq + 1,
        "lease_owner": holder,
        "lease_until": lease_end(),
        "started_at": now,
        **_UNUSED,
    }
    run_pk = tx.connection.execute(_NEW_RUN, run).scalar_one()
    events: tuple[Event, ...] = (
        RunStarted(agent=draft.agent, model=draft.model, spec_sha256=draft.spec_sha256),
        UserMessage(content=draft.prompt, inputs=draft.inputs),
    )
    said = Said(run=run | {"prompt": plain(draft.prompt)})
    for seq, event in enumerate(events, session.event_seq + 1):
        tx.insert(EVENT, event_row(session.session_pk, run_pk, seq, event, said, now))
    taken = {
        "this": session.session_pk,
        "active_run_pk": run_pk,
        "last_event_seq": session.event_seq + len(events),
        "updated_at": now,
    }
    tx.connection.execute(_TAKE, taken)
    return replace(session, run_pk=run_pk, event_seq=session.event_seq + len(events))


def _new_session(connection: Connection, draft: RunDraft, now: datetime) -> Claim:
    session_id = new_id()
    row = {
        "id": session_id,
        "owner": LOCAL_OWNER,
        "agent": draft.agent,
        "root": draft.root,
        "title": " ".join(draft.prompt.split())[:TITLE_CHARS],
        "state": {},
        "state_version": 0,
        "window_seq": 0,
        "last_event_seq": 0,
        "last_message_seq": 0,
        "usage": {},
        "created_at": now,
        "updated_at": now,
    }
    pk = connection.execute(_NEW_SESSION, row).scalar_one()
    return Claim(
        run_pk=0,
        session_pk=pk,
        session_id=session_id,
        event_seq=0,
        message_seq=0,
        usage={},
        past=ModelWindow((), ()),
    )


def _found(tx: Transaction, draft: RunDraft, session_id: str) -> Claim:
    # An id is ASCII; what is not may be text that no database takes.
    this = {"this": session_id if session_id.isascii() else ""}
    found = tx.connection.execute(_FOR_CLAIM, this).one_or_none()
    if found is None:
        raise NotFoundError("session", session_id)
    if found.root != draft.root:
        raise WrongRootError(session_id, root=found.root)
    session = Claim(
        run_pk=0,
        session_pk=found.pk,
        session_id=session_id,
        event_seq=found.last_event_seq,
        message_seq=found.last_message_seq,
        usage=found.usage,
        past=ModelWindow((), ()),
    )
    if found.active_run_pk is not None:
        session = _take_from_the_dead(tx, session, found.active_run_pk)
    tx.flush()  # the run before may have ended in this very transaction
    past = load_window(
        tx.connection,
        session_id,
        found.pk,
        upto=found.last_message_seq,
        window_seq=found.window_seq,
    )
    return replace(session, past=past)


def _take_from_the_dead(tx: Transaction, session: Claim, run_pk: int) -> Claim:
    """Mark the run that holds a session interrupted, if its process is dead."""
    this = {"this": run_pk}
    holder = tx.connection.execute(_HOLDER, this).one()
    if holder.lease_until > datetime.now(UTC):
        raise SessionBusyError(session.session_id, holder.id)
    now = datetime.now(UTC)
    used = usage_on_record(tx.connection, session.session_pk, run_pk)
    text = f"The process of run {holder.id!r} ended without a word."
    ended = RunEnded(
        status=RunStatus.INTERRUPTED, usage=used, error_code="interrupted", error_text=text
    )
    tx.connection.execute(_END_RUN, this | _end_of_run(holder.id, ended, now))
    seq = session.event_seq + 1
    tx.insert(EVENT, event_row(session.session_pk, run_pk, seq, ended, Said(), now))
    total = usage_with(session.usage, used)
    tx.connection.execute(_USED, {"this": session.session_pk, "usage": total})
    return replace(session, event_seq=seq, usage=total)


def usage_on_record(connection: Connection, session_pk: int, run_pk: int) -> Usage:
    """Return what a run has used as far as its messages tell: its process cannot."""
    bodies = connection.execute(
        select(MESSAGE.c.seq, MESSAGE.c.body).where(
            MESSAGE.c.session_pk == session_pk,
            MESSAGE.c.run_pk == run_pk,
            MESSAGE.c.kind == "response",
        )
    )
    rows = [
        StoredMessage(
            seq=seq, run_pk=run_pk, run_id="", kind="response", body=body, instructions_pk=None
        )
        for seq, body in bodies
    ]
    done = select(func.count()).where(
        TOOL_CALL.c.run_pk == run_pk, TOOL_CALL.c.outcome == "success"
    )
    tool_calls = connection.execute(done).scalar_one()
    used = used_by(read_messages(rows, Elsewhere(session_id="")), tool_calls=tool_calls)
    return together(used, used_for_compaction(connection, session_pk, run_pk))


def end(
    tx: Transaction,
    run: ClaimedRun,
    ended: RunEnded,
    added: Additions,
    session_usage: RunUsage | None,
) -> None:
    """Write how a run ended, and give its session free.

    Raises:
        LeaseLostError: If the run does not hold its session any more.
    """
    added = replace(added, events=(*added.events, ended))
    if session_usage is None:
        append(tx, run, added, _LEAVE)
    else:
        append(tx, run, added, _LEAVE_USED, usage=dump_usage(session_usage))
    now = datetime.now(UTC)
    parts = run.parts | parts_of(added.messages, first=first_number(run, added))
    place = Said(parts=parts).place_of_text(ended.output)
    values = _end_of_run(run.id, ended, now, place)
    tx.connection.execute(_END_RUN, {"this": run.pk, **values})


def _end_of_run(
    run_id: str, ended: RunEnded, now: datetime, place: Place | None = None
) -> dict[str, Any]:
    seq, part = place or (None, None)
    return {
        "status": next_status(run_id, RunStatus.RUNNING, _ENDINGS[ended.status]).value,
        "output": ended.output if place is None else None,
        "output_seq": seq,
        "output_part": part,
        "error_code": ended.error_code,
        "error_text": ended.error_text,
        "ended_at": now,
        **{name: value for name, value in ended.usage if name != "version"},
    }


def renew_lease(tx: Transaction, run: ClaimedRun) -> None:
    """Say that the run's process is alive.

    Raises:
        LeaseLostError: If the run was taken for dead.
    """
    if tx.connection.execute(_RENEW, {"this": run.pk, "lease_until": lease_end()}).rowcount != 1:
        raise LeaseLostError(run.session_id, run.id)


def lease_end() -> datetime:
    """Return until when a run that is alive now is not taken for dead."""
    return datetime.now(UTC) + timedelta(seconds=LEASE_S)


_UNUSED = {
    "attempt": 1,
    "requests": 0,
    "tool_calls": 0,
    "input_tokens": 0,
    "cache_read_tokens": 0,
    "output_tokens": 0,
}
# Statements are made once: to put one together costs more than to run it.
_NEW_RUN = insert(RUN).returning(RUN.c.pk)
_NEW_SESSION = insert(SESSION).returning(SESSION.c.pk)
_FOR_CLAIM = (
    select(
        SESSION.c.pk,
        SESSION.c.root,
        SESSION.c.active_run_pk,
        SESSION.c.last_event_seq,
        SESSION.c.last_message_seq,
        SESSION.c.window_seq,
        SESSION.c.usage,
    )
    .where(SESSION.c.id == bindparam("this"))
    .with_for_update()
)
_HOLDER = select(RUN.c.id, RUN.c.lease_until).where(RUN.c.pk == bindparam("this"))


def _changing(table: Table, *columns: str) -> Update:
    values: dict[str, Any] = {name: bindparam(name) for name in columns}
    return update(table).where(table.c.pk == bindparam("this")).values(values)


_TAKE = _changing(SESSION, "active_run_pk", "last_event_seq", "updated_at")
_USED = _changing(SESSION, "usage")
_LEAVE = MOVE_ON.values(active_run_pk=None)
_LEAVE_USED = _LEAVE.values(usage=bindparam("usage"))
_RENEW = _changing(RUN, "lease_until").where(RUN.c.status == RunStatus.RUNNING.value)
_END_RUN = _changing(
    RUN,
    "status",
    "output",
    "output_seq",
    "output_part",
    "error_code",
    "error_text",
    "ended_at",
    *(name for name in Usage.model_fields if name != "version"),
)
