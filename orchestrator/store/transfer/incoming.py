"""A session from elsewhere, put on record in one transaction: all of it or nothing."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any  # columns of several types

from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from sqlalchemy import Connection, bindparam, insert, select

from orchestrator.errors import HistoryUnreadableError, InvalidInputError
from orchestrator.events import AgentMessage, Event, RunEnded, ToolCalled, ToolReturned
from orchestrator.ids import new_id
from orchestrator.lifecycle import RunStatus, next_status
from orchestrator.store.additions import event_row, refer_to_blob
from orchestrator.store.compaction import load_window
from orchestrator.store.facts import Place, Said
from orchestrator.store.finding import find_row, runs_of
from orchestrator.store.log import load_events
from orchestrator.store.messages import (
    COMPACTION,
    as_json,
    call_key,
    dump_result,
    message_body,
    read_result,
    short_result,
)
from orchestrator.store.tables import EVENT, MESSAGE, RUN, SESSION, TOOL_CALL, plain
from orchestrator.store.transfer.lines import CompactionLine, RunLine
from orchestrator.store.transfer.reading import REFUSED, Arrival
from orchestrator.store.window import load_messages
from orchestrator.store.writer import Transaction

_PORTION = 500


@dataclass(frozen=True, kw_only=True)
class Import:
    """A session that is to be put on record, and whose it is to be."""

    arrival: Arrival
    owner: str
    root: str
    copy_id: str = field(default_factory=new_id)
    """What it is called when its own id, or that of a run of it, is on record already."""


def put_on_record(this: Import, tx: Transaction) -> str:
    """Write a session, and return its id.

    Its own ids are kept when nothing on record has them; else all of them are new. An external id
    that the owner has given to another session is left out. A run that was under way where the
    session comes from is interrupted here.

    Raises:
        InvalidInputError: If the record could not read back what it holds.
    """
    tx.flush()
    done = _done_before(this, tx) if tx.again else None
    if done is not None:
        return done
    try:
        session_id = _write(tx, this)
        tx.flush()
        _read_back(tx.connection, session_id)
    except (HistoryUnreadableError, *REFUSED) as error:
        raise InvalidInputError(
            "The session cannot be imported: the record could not read back what it holds "
            f"({_problem(error)}). Nothing was written."
        ) from error
    return session_id


def _write(tx: Transaction, this: Import) -> str:
    session_id, run_ids = _ids(tx.connection, this)
    session_pk = _write_session(tx.connection, this, session_id)
    writing = _Writing(tx, this.arrival, session_pk)
    writing.write_runs(run_ids)
    writing.write_messages()
    writing.write_calls()
    writing.write_events()
    return session_id


def _done_before(this: Import, tx: Transaction) -> str | None:
    """Return under which id a first try was committed, of which nobody heard."""
    session = this.arrival.session
    counted = {len(this.arrival.messages), len(this.arrival.events)}
    rows = tx.connection.execute(_SAME, {"ids": [session.id, this.copy_id]}).all()
    for row in rows:
        if row.owner == this.owner and {row.last_message_seq, row.last_event_seq} == counted:
            return str(row.id)
    return None


def _ids(db: Connection, this: Import) -> tuple[str, dict[str, str]]:
    """Return what the session and its runs are to be called; these by what they were called."""
    session_id, runs = this.arrival.session.id, [run.id for run in this.arrival.runs]
    taken = db.execute(_SAME, {"ids": [session_id]}).first() is not None
    for start in range(0, len(runs), _PORTION):
        portion = {"ids": runs[start : start + _PORTION]}
        taken = taken or db.execute(_SAME_RUN, portion).first() is not None
    if taken:
        return this.copy_id, {run: new_id() for run in runs}
    return session_id, {run: run for run in runs}


def _write_session(db: Connection, this: Import, session_id: str) -> int:
    arrival, line = this.arrival, this.arrival.session
    external = {"owner": this.owner, "external_id": line.external_id}
    is_free = line.external_id is not None and db.execute(_EXTERNAL, external).first() is None
    row = {
        "id": session_id,
        "owner": this.owner,
        "external_id": line.external_id if is_free else None,
        "agent": line.agent,
        "root": this.root,
        "title": line.title,
        "state": line.state,
        "state_version": line.state_version,
        "window_seq": line.window_seq,
        "last_event_seq": len(arrival.events),
        "last_message_seq": len(arrival.messages),
        "usage": line.usage,
        "created_at": line.created_at,
        "updated_at": max([line.updated_at, *(run.started_at for run in arrival.runs)]),
    }
    pk: int = db.execute(_NEW, row).scalar_one()
    return pk


@dataclass
class _Writing:
    """Adds the rows of a session."""

    tx: Transaction
    arrival: Arrival
    session_pk: int
    run_pks: dict[str, int] = field(default_factory=dict)
    """By what the file calls the runs."""

    def __post_init__(self) -> None:
        self.runs = {run.id: run for run in self.arrival.runs}
        self.results: dict[str, dict[str, str]] = defaultdict(dict)
        """What the ledger will say of each run's calls."""
        for line, result in self.arrival.calls:
            if result is not None:
                self.results[line.run_id][line.call_id] = dump_result(result)

    def write_runs(self, ids: Mapping[str, str]) -> None:
        """Write the runs, in the order in which they began."""
        rows = [self._run_row(run, ids[run.id]) for run in self.arrival.runs]
        if rows:
            self.tx.connection.execute(insert(RUN), rows)
        found = self.tx.connection.execute(_RUNS, {"session": self.session_pk}).all()
        pks = {row.id: row.pk for row in found}
        self.run_pks = {run: pks[new] for run, new in ids.items()}

    def write_messages(self) -> None:
        """Write messages and compactions."""
        for seq, (run_id, message) in enumerate(self.arrival.messages, 1):
            instructions: str | None = None
            if isinstance(message, CompactionLine):
                kind = COMPACTION
                body = as_json(message.model_dump(include={"upto", "given", "usage"}))
            else:
                kind, run = message.kind, self.runs[run_id]
                body, instructions = message_body(
                    message,
                    run_id=run_id,
                    session_id=self.arrival.session.id,
                    prompt=plain(run.prompt) if seq == run.first_message_seq else None,
                    results=self.results[run_id],
                )
            row = {
                "session_pk": self.session_pk,
                "seq": seq,
                "run_pk": self.run_pks[run_id],
                "kind": kind,
                "body": body,
                "instructions_pk": None
                if instructions is None
                else refer_to_blob(self.tx, self.session_pk, instructions),
            }
            self.tx.insert(MESSAGE, row)

    def write_calls(self) -> None:
        """Write the ledger of calls."""
        for line, _ in self.arrival.calls:
            tool, result = plain(line.tool), self.results[line.run_id].get(line.call_id)
            if result is not None and line.outcome is not None:
                result = short_result(result, line.call_id, tool, line.outcome)
            row = {
                "run_pk": self.run_pks[line.run_id],
                "call_id": line.call_id,
                "tool": tool,
                "arguments_sha256": line.arguments_sha256,
                "called_at": line.called_at,
                "outcome": line.outcome,
                "result": result,
                "returned_at": line.returned_at,
            }
            self.tx.insert(TOOL_CALL, row)

    def write_events(self) -> None:
        """Write the events."""
        said = _Sayings(self.arrival, self.results)
        for line, event in self.arrival.events:
            run_pk = self.run_pks[line.run_id]
            row = event_row(
                self.session_pk, run_pk, line.seq, event, said.of(line.run_id, event), line.at
            )
            self.tx.insert(EVENT, row)

    def _run_row(self, run: RunLine, run_id: str) -> dict[str, Any]:
        status, ended_at = run.status, run.ended_at
        if status is RunStatus.RUNNING:
            status = next_status(run.id, status, "process_died")
            ended_at = datetime.now(UTC)
        seq, part = run.output_at or (None, None)
        columns = run.model_dump(exclude={"type", "output_at"})
        return columns | {
            "id": run_id,
            "session_pk": self.session_pk,
            "status": status.value,
            "output_seq": seq,
            "output_part": part,
            "lease_owner": "",
            "ended_at": ended_at,
        }


class _Sayings:
    """What the other rows of a session say of its events, found without going through them all."""

    def __init__(self, arrival: Arrival, results: Mapping[str, Mapping[str, str]]) -> None:
        self._runs = {
            run.id: run.model_dump(include={"agent", "model", "spec_sha256", "inputs"})
            | {"prompt": plain(run.prompt)}
            for run in arrival.runs
        }
        self._results = results
        self._parts: dict[tuple[str, str, str], dict[Place, Any]] = defaultdict(dict)
        for seq, (run_id, message) in enumerate(arrival.messages, 1):
            if isinstance(message, ModelResponse):
                for index, part in enumerate(message.parts):
                    if isinstance(part, TextPart):
                        self._parts[run_id, "text", part.content][seq, index] = part
                    elif isinstance(part, ToolCallPart):
                        self._parts[run_id, "call", part.tool_call_id][seq, index] = part

    def of(self, run_id: str, event: Event) -> Said:
        """Return what is said of an event."""
        run, parts, results = self._runs[run_id], {}, {}
        match event:
            case AgentMessage(content=text) | RunEnded(output=str(text)):
                parts = self._parts.get((run_id, "text", text), {})
            case ToolCalled(call_id=call_id):
                parts = self._parts.get((run_id, "call", call_id), {})
            case ToolReturned(call_id=call_id):
                key = call_key(call_id)
                result = self._results.get(run_id, {}).get(key)
                results = {} if result is None else {key: read_result(result)}
            case _:
                pass
        return Said(run=run, parts=parts, results=results)


def _read_back(db: Connection, session_id: str) -> None:
    session = find_row(db, session_id, None)
    assert session.pk is not None, "it was read"
    last, window_seq = session.last_message_seq, session.window_seq
    load_messages(db, session_id, session.pk, upto=last)
    load_window(db, session_id, session.pk, upto=last, window_seq=window_seq)
    runs_of(db, session)
    after = 0
    while page := load_events(db, session, after=after, limit=_PORTION):
        after = page[-1].seq


def _problem(error: Exception) -> str:
    if isinstance(error, HistoryUnreadableError):
        return str(error).partition(" of session")[0].lower()
    return "it is nested too deep" if isinstance(error, RecursionError) else type(error).__name__


_NEW = insert(SESSION).returning(SESSION.c.pk)
_SAME = select(
    SESSION.c.id, SESSION.c.owner, SESSION.c.last_message_seq, SESSION.c.last_event_seq
).where(SESSION.c.id.in_(bindparam("ids", expanding=True)))
_SAME_RUN = select(RUN.c.pk).where(RUN.c.id.in_(bindparam("ids", expanding=True)))
_EXTERNAL = select(SESSION.c.pk).where(
    SESSION.c.owner == bindparam("owner"), SESSION.c.external_id == bindparam("external_id")
)
_RUNS = select(RUN.c.pk, RUN.c.id).where(RUN.c.session_pk == bindparam("session"))
