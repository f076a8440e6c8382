"""The piece of work that begins a run."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pydantic_ai import RunUsage
from sqlalchemy import Connection, Text, bindparam, cast, insert, select, update

from orchestrator.errors import NotFoundError, SessionBusyError, WrongRootError
from orchestrator.events import Event, RunStarted, UserMessage
from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus
from orchestrator.session import LOCAL_OWNER, title_of
from orchestrator.store.additions import event_row
from orchestrator.store.broken import interrupt
from orchestrator.store.claimed import RunDraft
from orchestrator.store.compaction import ModelWindow
from orchestrator.store.facts import Said
from orchestrator.store.finding import askable, check_numbers
from orchestrator.store.liveness import Liveness
from orchestrator.store.pasts import Pasts
from orchestrator.store.prepared import Prepared
from orchestrator.store.tables import EVENT, RUN, SESSION, plain
from orchestrator.store.usage import read_usage
from orchestrator.store.writer import Transaction

MODEL_CHARS = 200
"""How much of a model's name its column takes; the event has the whole."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A session, as its claim has left it."""

    run_pk: int
    session_pk: int
    session_id: str
    event_seq: int
    message_seq: int
    usage: RunUsage
    past: ModelWindow


def claim(draft: RunDraft, run_id: str, liveness: Liveness, pasts: Pasts, tx: Transaction) -> Claim:
    """Give a run its session, and write it down with its prompt.

    Raises:
        NotFoundError: If there is no such session.
        WrongRootError: If the session belongs to another directory.
        SessionBusyError: If another run holds the session.
        HistoryUnreadableError: If the session's past cannot be read.
    """
    if tx.again and (claimed := _claimed(tx, draft, run_id, pasts)) is not None:
        return claimed
    now = datetime.now(UTC)
    if draft.session_id is None:
        session = _new_session(tx.connection, draft, now)
    else:
        session = _found(tx, draft, draft.session_id, liveness, pasts)
    run = {
        "id": run_id,
        "session_pk": session.session_pk,
        "parent_pk": draft.parent_pk,
        "status": RunStatus.RUNNING.value,
        "agent": draft.agent,
        "spec_sha256": draft.spec_sha256,
        "model": plain(draft.model)[:MODEL_CHARS],
        "prompt": draft.prompt,
        "inputs": draft.inputs,
        "first_message_seq": session.message_seq + 1,
        "lease_owner": liveness.holder,
        "started_at": now,
        **_UNUSED,
    }
    run_pk: int = _NEW_RUN.rows(tx.connection, run)[0][0]
    liveness.keep(tx.connection, [run_pk])
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
    TAKE.change(tx.connection, taken)
    return replace(session, run_pk=run_pk, event_seq=session.event_seq + len(events))


def _claimed(tx: Transaction, draft: RunDraft, run_id: str, pasts: Pasts) -> Claim | None:
    """Return the claim of this very run, if it is on record."""
    found = tx.connection.execute(_BY_RUN, {"this": run_id}).one_or_none()
    if found is None:
        return None
    past = ModelWindow((), ())
    if draft.session_id is not None:
        past = pasts.window(
            tx.connection,
            found.id,
            found.session_pk,
            upto=found.last_message_seq,
            window_seq=found.window_seq,
        )
    return Claim(
        run_pk=found.run_pk,
        session_pk=found.session_pk,
        session_id=found.id,
        event_seq=found.last_event_seq,
        message_seq=found.last_message_seq,
        usage=read_usage(found.usage),
        past=past,
    )


def _new_session(connection: Connection, draft: RunDraft, now: datetime) -> Claim:
    session_id = new_id()
    row = {
        "id": session_id,
        "owner": draft.owner or LOCAL_OWNER,
        "agent": draft.agent,
        "root": draft.root,
        "title": title_of(draft.prompt),
        "state": {},
        "state_version": 0,
        "window_seq": 0,
        "last_event_seq": 0,
        "last_message_seq": 0,
        "usage": {},
        "created_at": now,
        "updated_at": now,
    }
    pk = _NEW_SESSION.rows(connection, row)[0][0]
    return Claim(
        run_pk=0,
        session_pk=pk,
        session_id=session_id,
        event_seq=0,
        message_seq=0,
        usage=RunUsage(),
        past=ModelWindow((), ()),
    )


def _found(
    tx: Transaction, draft: RunDraft, session_id: str, liveness: Liveness, pasts: Pasts
) -> Claim:
    found = free_session(tx, draft, session_id, liveness)
    if not found.title:
        entitled = {"this": found.pk, "title": title_of(draft.prompt)}
        tx.connection.execute(_ENTITLE, entitled)
    past = pasts.window(
        tx.connection,
        session_id,
        found.pk,
        upto=found.last_message_seq,
        window_seq=found.window_seq,
    )
    return Claim(
        run_pk=0,
        session_pk=found.pk,
        session_id=session_id,
        event_seq=found.last_event_seq,
        message_seq=found.last_message_seq,
        usage=read_usage(json.loads(found.usage)),
        past=past,
    )


@dataclass(frozen=True)
class FreeSession:
    """A session that no run holds."""

    pk: int
    owner: str
    root: str
    title: str
    active_run_pk: int | None
    last_event_seq: int
    last_message_seq: int
    window_seq: int
    usage: str
    """JSON."""


def free_session(
    tx: Transaction, draft: RunDraft, session_id: str, liveness: Liveness
) -> FreeSession:
    """Return a session that can be claimed, and that nobody else changes in this transaction.

    Raises:
        NotFoundError: If there is no such session.
        WrongRootError: If it belongs to another directory.
        SessionBusyError: If a run holds it whose process is alive.
    """
    tx.flush()  # the run before may have ended in this very transaction
    found = _locked(tx.connection, session_id)
    if draft.owner not in (None, found.owner):
        raise NotFoundError("session", session_id)
    if found.root != draft.root:
        raise WrongRootError(session_id, root=found.root)
    if found.active_run_pk is None:
        return found
    if liveness.living(tx.connection, [found.active_run_pk]):
        holder = tx.connection.execute(_RUN_ID, {"this": found.active_run_pk}).scalar_one()
        raise SessionBusyError(session_id, holder)
    interrupt(tx, found.pk, found.active_run_pk)
    tx.flush()
    return _locked(tx.connection, session_id)


def _locked(db: Connection, session_id: str) -> FreeSession:
    # An id is ASCII; what is not may be text that no database takes.
    this = {"this": askable(session_id)}
    found = _FOR_CLAIM.rows(db, this)
    if not found:
        raise NotFoundError("session", session_id)
    session = FreeSession(*found[0])
    counted = (session.last_event_seq, session.last_message_seq, session.window_seq)
    check_numbers(session_id, (*counted, session.active_run_pk or 0))
    return session


_UNUSED = {
    "attempt": 1,
    "requests": 0,
    "tool_calls": 0,
    "input_tokens": 0,
    "cache_read_tokens": 0,
    "output_tokens": 0,
}
# Statements are made once: to put one together costs more than to run it.
_NEW_RUN = Prepared(insert(RUN).returning(RUN.c.pk))
_NEW_SESSION = Prepared(insert(SESSION).returning(SESSION.c.pk))
_BY_RUN = (
    select(
        RUN.c.pk.label("run_pk"),
        RUN.c.session_pk,
        SESSION.c.id,
        SESSION.c.last_event_seq,
        SESSION.c.last_message_seq,
        SESSION.c.window_seq,
        SESSION.c.usage,
    )
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.id == bindparam("this"))
)
_FOR_CLAIM = Prepared(
    select(
        SESSION.c.pk,
        SESSION.c.owner,
        SESSION.c.root,
        SESSION.c.title,
        SESSION.c.active_run_pk,
        SESSION.c.last_event_seq,
        SESSION.c.last_message_seq,
        SESSION.c.window_seq,
        cast(SESSION.c.usage, Text),
    )
    .where(SESSION.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
    .with_for_update()
)
_ENTITLE = update(SESSION).where(SESSION.c.pk == bindparam("this")).values(title=bindparam("title"))
_RUN_ID = select(RUN.c.id).where(RUN.c.pk == bindparam("this"))
TAKE = Prepared(
    update(SESSION)
    .where(SESSION.c.pk == bindparam("this"))
    .values(
        active_run_pk=bindparam("active_run_pk"),
        last_event_seq=bindparam("last_event_seq"),
        updated_at=bindparam("updated_at"),
    )
)
