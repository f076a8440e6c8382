"""The piece of work that lets a run go on which has ended without success."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any  # rows of several tables

from pydantic import JsonValue
from pydantic_ai import Conversation
from pydantic_ai.messages import ModelMessage, ModelResponse, repair_messages
from sqlalchemy import Connection, Select, bindparam, select, update

from orchestrator.errors import ConflictError, HistoryUnreadableError, NotResumableError
from orchestrator.events import RunResumed, Usage
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import event_row
from orchestrator.store.approvals import decisions_of, refuse_undecided
from orchestrator.store.broken import answers_of
from orchestrator.store.claimed import ClaimedRun, RunDraft, Settled
from orchestrator.store.compaction import load_window, used_for_compaction
from orchestrator.store.ending import COUNTED
from orchestrator.store.facts import Said, parts_of
from orchestrator.store.liveness import Liveness
from orchestrator.store.messages import call_key
from orchestrator.store.runs import TAKE, free_session
from orchestrator.store.spending import calls_made, used_by_delegates
from orchestrator.store.standing import (
    Standing,
    calls_of,
    read_ledger,
    standing,
    without_superseded,
)
from orchestrator.store.tables import EVENT, RUN, SESSION, SessionRow
from orchestrator.store.usage import in_all, read_usage
from orchestrator.store.worked import worked_before_s
from orchestrator.store.writer import Transaction


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A session's last run, as it went the last time."""

    run_id: str
    agent: str
    spec_sha256: str
    """What it began with."""
    model: str
    prompt: str
    inputs: dict[str, JsonValue]


def last_attempt(db: Connection, session: SessionRow) -> Attempt:
    """Return what a session's last run was, if it can go on.

    Raises:
        NotResumableError: If it has succeeded, or there is none.
        ConflictError: If it works for another run: with the rights and at the cost of that one.
    """
    run = db.execute(_LAST, {"session": session.pk}).first()
    if run is None or run.status == RunStatus.SUCCEEDED:
        raise NotResumableError(session.id, None if run is None else run.status)
    if run.parent_pk is not None:
        above = db.execute(_SESSION_OF, {"run": run.parent_pk}).scalar_one()
        raise ConflictError(
            f"The run of session {session.id!r} works for another one, and goes on with that: "
            f"resume session {above!r}."
        )
    this = {"session": session.pk, "run": run.pk}
    resumed = db.execute(_RESUMED, this).scalars().first()
    return Attempt(
        run_id=run.id,
        agent=run.agent,
        spec_sha256=run.spec_sha256,
        model=json.loads(resumed)["model"] if resumed else run.model,
        prompt=run.prompt,
        inputs=run.inputs,
    )


def resume(draft: RunDraft, run_id: str, liveness: Liveness, tx: Transaction) -> ClaimedRun:
    """Give a session's last run its session back, and find from where it goes on.

    Args:
        draft: The run as it goes on, with its session.
        run_id: The run that is meant; another one may have begun meanwhile.
        liveness: Who is alive.
        tx: Where to write.

    Raises:
        NotFoundError: If there is no such session.
        WrongRootError: If the session belongs to another directory.
        SessionBusyError: If a run holds the session.
        NotResumableError: If the run has succeeded, or is not the session's last one.
        HistoryUnreadableError: If the session's past cannot be read.
    """
    held = {"run": run_id, "holder": liveness.holder}
    if not (tx.again and tx.connection.execute(_HELD, held).one_or_none()):
        _take_back(tx, draft, run_id, liveness)
    return _as_it_stands(tx.connection, draft, run_id)


def _take_back(tx: Transaction, draft: RunDraft, run_id: str, liveness: Liveness) -> None:
    session = free_session(tx, draft, draft.session_id or "", liveness)
    run = tx.connection.execute(_LAST, {"session": session.pk}).first()
    if run is None or run.id != run_id or run.status == RunStatus.SUCCEEDED:
        raise NotResumableError(draft.session_id or "", None if run is None else run.status)
    if run.status == RunStatus.WAITING:
        refuse_undecided(tx.connection, session.pk, run.pk, run_id)
    attempt, now = run.attempt + 1, datetime.now(UTC)
    again = {
        "this": run.pk,
        "now_status": next_status(run_id, RunStatus(run.status), "run_resumed").value,
        "now_attempt": attempt,
        "holder": liveness.holder,
    }
    tx.connection.execute(_AGAIN, again)
    liveness.keep(tx.connection, [run.pk])
    resumed = RunResumed(attempt=attempt, model=draft.model, spec_sha256=draft.spec_sha256)
    seq = session.last_event_seq + 1
    tx.insert(EVENT, event_row(session.pk, run.pk, seq, resumed, Said(), now))
    taken = {
        "this": session.pk,
        "active_run_pk": run.pk,
        "last_event_seq": seq,
        "updated_at": now,
    }
    TAKE.change(tx.connection, taken)
    tx.flush()


def _as_it_stands(db: Connection, draft: RunDraft, run_id: str) -> ClaimedRun:
    """Return a run that has got its session back, with what its process must know."""
    run = db.execute(_RUN, {"this": run_id}).one()
    answers = answers_of(db, run.session_pk, run.pk)
    ledger = read_ledger(db, run.pk)
    window = load_window(
        db, run.session_id, run.session_pk, upto=run.last_message_seq, window_seq=run.window_seq
    )
    has_begun = run.last_message_seq >= run.first_message_seq
    stands = Standing(without_superseded(window.messages), Settled())
    if has_begun:
        stands = _standing(db, run, stands.history, answers, ledger)
    used = Usage(**{name: run._mapping[name] for name in COUNTED})
    of_run = {"session": run.session_pk, "run": run.pk}
    return ClaimedRun(
        id=run_id,
        pk=run.pk,
        session_id=run.session_id,
        session_pk=run.session_pk,
        draft=draft,
        conversation=Conversation(
            messages=_repaired(stands.history),
            usage=read_usage(run.session_usage) - in_all(used),
            conversation_id=run.session_id,
        ),
        past=window.rest,
        attempt=run.attempt,
        used=used,
        used_by_delegates=used_by_delegates(db, run.pk),
        calls_made=calls_made(db, run.pk),
        worked_before_s=worked_before_s(db, run.session_pk, run.pk),
        used_beside=used_for_compaction(db, run.session_pk, run.pk),
        settled=stands.settled,
        decisions={
            call_id: decision
            for call_id, decision in decisions_of(db, run.session_pk, run.pk).items()
            if call_id in stands.settled.unknown
        },
        needs_prompt=not has_begun,
        first_seq=run.last_event_seq,
        event_seq=run.last_event_seq,
        message_seq=run.last_message_seq,
        first_message_seq=run.first_message_seq,
        calls={*ledger},
        answered={key for key, result in ledger.items() if result is not None},
        results=_in_no_message(stands.settled, ledger),
        asked=_asked(db, of_run),
        parts=parts_of([answers[-1][1]], first=answers[-1][0]) if answers else {},
    )


def _standing(
    db: Connection,
    run: Any,
    history: Sequence[ModelMessage],
    answers: Sequence[tuple[int, ModelResponse]],
    ledger: Mapping[str, str | None],
) -> Standing:
    before = calls_of([answer for _, answer in answers[:-1]])
    ended = db.execute(_ENDED, {"session": run.session_pk, "run": run.pk}).scalars().first()
    may_do = ended is None or json.loads(ended)["status"] != RunStatus.FAILED
    try:
        return standing(history, before, ledger, may_do=may_do)
    except ValueError as error:
        raise HistoryUnreadableError(run.session_id, answers[-1][0]) from error


def _asked(db: Connection, of_run: Mapping[str, int]) -> dict[str, str]:
    asked = map(json.loads, db.execute(_ASKED, of_run).scalars())
    return {event["run_id"]: event["call_id"] for event in asked}


def _in_no_message(settled: Settled, ledger: Mapping[str, str | None]) -> dict[str, str]:
    keys = map(call_key, settled.results.keys() - settled.in_messages)
    return {key: text for key in keys if (text := ledger.get(key)) is not None}


def _repaired(history: Sequence[ModelMessage]) -> list[ModelMessage]:
    ends_with_calls = bool(history) and isinstance(history[-1], ModelResponse)
    return repair_messages(history, repair_last_response=not ends_with_calls)


def _events(kind: str) -> Select[str]:
    return (
        select(EVENT.c.body)
        .where(
            EVENT.c.session_pk == bindparam("session"),
            EVENT.c.run_pk == bindparam("run"),
            EVENT.c.type == kind,
        )
        .order_by(EVENT.c.seq.desc())
    )


_LAST = (
    select(
        *(RUN.c[name] for name in ("pk", "id", "status", "attempt", "parent_pk")),
        *(RUN.c[name] for name in ("agent", "spec_sha256", "model", "prompt", "inputs")),
    )
    .where(RUN.c.session_pk == bindparam("session"))
    .order_by(RUN.c.pk.desc())
    .limit(1)
)
_SESSION_OF = (
    select(SESSION.c.id)
    .join(RUN, RUN.c.session_pk == SESSION.c.pk)
    .where(RUN.c.pk == bindparam("run"))
)
_RESUMED = _events("run_resumed").limit(1)
_ENDED = _events("run_ended").limit(1)
_ASKED = _events("agent_asked")
_HELD = (
    select(RUN.c.pk)
    .join(SESSION, SESSION.c.active_run_pk == RUN.c.pk)
    .where(RUN.c.id == bindparam("run"), RUN.c.lease_owner == bindparam("holder"))
)
_RUN = (
    select(
        *(RUN.c[name] for name in ("pk", "session_pk", "attempt", "first_message_seq", *COUNTED)),
        *(SESSION.c[name] for name in ("last_event_seq", "last_message_seq", "window_seq")),
        SESSION.c.id.label("session_id"),
        SESSION.c.usage.label("session_usage"),
    )
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.id == bindparam("this"))
)
_AGAIN = (
    update(RUN)
    .where(RUN.c.pk == bindparam("this"))
    .values(
        status=bindparam("now_status"),
        attempt=bindparam("now_attempt"),
        lease_owner=bindparam("holder"),
        cancel_asked_at=None,
        error_code=None,
        error_text=None,
        ended_at=None,
    )
)
