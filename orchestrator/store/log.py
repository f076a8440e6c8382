"""A session's events as they are read: filled with what messages, runs and calls say."""

import json
from collections.abc import Sequence
from typing import Any  # what JSON holds

from pydantic_ai.messages import ModelResponse, TextPart
from sqlalchemy import Connection, select, tuple_

from orchestrator.errors import HistoryUnreadableError
from orchestrator.events import RecordedEvent
from orchestrator.store.facts import AT, Place, Said, parts_of, read_event
from orchestrator.store.messages import (
    Elsewhere,
    StoredMessage,
    call_key,
    long_result,
    read_messages,
    read_result,
)
from orchestrator.store.tables import EVENT, MESSAGE, RUN, TOOL_CALL, RunRow, SessionRow

_LAST = 2**31 - 1
"""No row has a greater number, and no database takes each that a caller may ask for."""


def load_events(
    db: Connection, session: SessionRow, *, after: int, limit: int
) -> list[RecordedEvent]:
    """Return events of a session whose number is above `after`, in ascending order.

    Raises:
        HistoryUnreadableError: If one of them cannot be read; it names session and event.
    """
    columns = (EVENT.c.seq, EVENT.c.run_pk, EVENT.c.type, EVENT.c.body, EVENT.c.at)
    beyond = EVENT.c.seq > min(max(after, 0), _LAST)
    of_session = (EVENT.c.session_pk == session.pk, beyond)
    query = select(*columns).where(*of_session).order_by(EVENT.c.seq).limit(min(limit, _LAST))
    rows = (db.execute(query)).all()
    for row in rows:
        if not isinstance(row.seq, int) or row.seq > _LAST:  # a reader would come to no end
            raise HistoryUnreadableError(session.id, row.seq, what="Event")
    bodies = [_body(session.id, row.seq, row.body) for row in rows]
    runs = _runs(db, {row.run_pk for row in rows})
    parts = _parts(db, session, {body[AT][0] for body in bodies if AT in body})
    results = _results(
        db,
        {
            (row.run_pk, call_key(body["call_id"]))
            for row, body in zip(rows, bodies, strict=True)
            if _has_result_elsewhere(row.type, body)
        },
    )
    events: list[RecordedEvent] = []
    for row, body in zip(rows, bodies, strict=True):
        try:
            returned = {}
            if _has_result_elsewhere(row.type, body):
                key = call_key(body["call_id"])
                returned[key] = read_result(results[row.run_pk, key])
            said = Said(run=runs[row.run_pk], parts=parts, results=returned)
            event = read_event(row.type, body, said)
        except (ValueError, LookupError, TypeError) as error:
            raise HistoryUnreadableError(session.id, row.seq, what="Event") from error
        run_id = runs[row.run_pk]["id"]
        events.append(
            RecordedEvent(session_id=session.id, seq=row.seq, run_id=run_id, at=row.at, event=event)
        )
    return events


def fill_outputs(db: Connection, session: SessionRow, runs: Sequence[RunRow]) -> None:
    """Fill in the answers of runs that are the text of a message."""
    parts = _parts(db, session, {run.output_seq for run in runs if run.output_seq})
    for run in runs:
        if run.output_seq is not None and run.output_part is not None:
            part = parts.get((run.output_seq, run.output_part))
            if not isinstance(part, TextPart):
                raise HistoryUnreadableError(session.id, run.output_seq)
            run.output = part.content


def _body(session_id: str, seq: int, text: str | None) -> dict[str, Any]:
    try:
        body = json.loads(text or "{}")
    except ValueError as error:
        raise HistoryUnreadableError(session_id, seq, what="Event") from error
    if not isinstance(body, dict) or not _names_a_place(body):
        raise HistoryUnreadableError(session_id, seq, what="Event")
    return body


def _names_a_place(body: dict[str, Any]) -> bool:
    match body.get(AT, [0, 0]):
        case [int(), int()]:
            return True
        case _:
            return False


def _has_result_elsewhere(kind: str, body: dict[str, Any]) -> bool:
    return (
        kind == "tool_returned" and "content" not in body and isinstance(body.get("call_id"), str)
    )


def _runs(db: Connection, keys: set[int]) -> dict[int, dict[str, Any]]:
    columns = (RUN.c.pk, RUN.c.id, RUN.c.agent, RUN.c.model, RUN.c.spec_sha256)
    query = select(*columns, RUN.c.prompt, RUN.c.inputs).where(RUN.c.pk.in_(keys))
    return {row.pk: dict(row._mapping) for row in (db.execute(query)).all()}


def _parts(db: Connection, session: SessionRow, numbers: set[int]) -> dict[Place, Any]:
    if not numbers:
        return {}
    query = select(MESSAGE.c.seq, MESSAGE.c.run_pk, MESSAGE.c.body).where(
        MESSAGE.c.session_pk == session.pk, MESSAGE.c.seq.in_(numbers)
    )
    parts: dict[Place, Any] = {}
    for seq, run_pk, body in (db.execute(query)).all():
        row = StoredMessage(seq, run_pk, "", "response", body, None)
        messages = read_messages([row], Elsewhere(session.id))
        parts |= parts_of([m for m in messages if isinstance(m, ModelResponse)], first=seq)
    return parts


def _results(db: Connection, calls: set[tuple[int, str]]) -> dict[tuple[int, str], str]:
    if not calls:
        return {}
    columns = (TOOL_CALL.c.run_pk, TOOL_CALL.c.call_id)
    said = (TOOL_CALL.c.result, TOOL_CALL.c.tool, TOOL_CALL.c.outcome)
    query = select(*columns, *said).where(tuple_(*columns).in_(calls))
    return {
        (pk, key): long_result(text, key, *said)
        for pk, key, text, *said in db.execute(query).all()
        if not any(value is None or isinstance(value, bytes) for value in (key, text, *said))
    }
