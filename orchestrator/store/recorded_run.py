"""One run as the record has it: what its model was asked and answered, and what came of each call.

For whoever goes through it a second time; nothing is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any  # rows of several queries

from pydantic import JsonValue
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolReturnPart,
    repair_messages,
)
from sqlalchemy import Connection, bindparam, func, select

from orchestrator.errors import (
    ConflictError,
    HistoryUnreadableError,
    InvalidInputError,
    NotFoundError,
)
from orchestrator.lifecycle import RunStatus
from orchestrator.store.compaction import load_window, window_at
from orchestrator.store.finding import askable, check_run
from orchestrator.store.liveness import Liveness
from orchestrator.store.messages import (
    COMPACTION,
    StoredMessage,
    read_messages,
    read_result,
)
from orchestrator.store.standing import without_superseded
from orchestrator.store.tables import RUN, SESSION, SessionRow
from orchestrator.store.window import Stretch, elsewhere_of, results_of, stored_messages


@dataclass(frozen=True, kw_only=True)
class RecordedStep:
    """One answer of a run's model."""

    seq: int
    """The number of the answer in the session."""
    asked: ModelRequest
    """What was added to the history before the model was asked."""
    answer: ModelResponse
    results: Mapping[str, ToolReturnPart] = field(default_factory=dict)
    """What its calls gave, by their ids; a call that was broken off has none."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A run that has ended."""

    id: str
    session_id: str
    root: str
    agent: str
    model: str
    spec_sha256: str
    prompt: str
    inputs: Mapping[str, JsonValue]
    status: RunStatus
    first_message_seq: int
    steps: Sequence[RecordedStep]
    """Answers that came whole, in their order."""


def recorded_run(db: Connection, run_id: str, owner: str | None, liveness: Liveness) -> RecordedRun:
    """Return a run that has ended, of any owner if none is named.

    Raises:
        NotFoundError: If there is no such run.
        ConflictError: If it is under way.
        HistoryUnreadableError: If a message of it cannot be read.
    """
    # An id is ASCII; what is not may be text that no database takes.
    run = db.execute(_RUN, {"this": askable(run_id)}).one_or_none()
    if run is None or owner not in (None, run.owner):
        raise NotFoundError("run", run_id)
    check_run(run.session_id, run)
    if run.status == RunStatus.RUNNING and liveness.living(db, [run.pk]):
        raise ConflictError(f"Run {run_id!r} is under way; wait until it has ended.")
    return RecordedRun(
        id=run.id,
        session_id=run.session_id,
        root=run.root,
        agent=run.agent,
        model=run.model,
        spec_sha256=run.spec_sha256,
        prompt=run.prompt,
        inputs=run.inputs,
        status=RunStatus(run.status),
        first_message_seq=run.first_message_seq,
        steps=_steps(db, run),
    )


def given_before(db: Connection, session: SessionRow, *, seq: int) -> list[ModelMessage]:
    """Return what the model was given that answered with message `seq`, fit for any provider.

    Raises:
        InvalidInputError: If there is no such message.
        HistoryUnreadableError: If a message of it cannot be read.
    """
    assert session.pk is not None, "it was read"
    last = session.last_message_seq
    if not 1 <= seq <= last + 1:
        raise InvalidInputError(
            f"Session {session.id!r} has no message {seq}; its last one is {last}."
        )
    window_seq = window_at(db, session.pk, seq - 1)
    window = load_window(db, session.id, session.pk, upto=seq - 1, window_seq=window_seq)
    return repair_messages(without_superseded(window.messages))


def _steps(db: Connection, run: Any) -> list[RecordedStep]:
    rows = _rows_of(db, run)
    messages = read_messages(rows, elsewhere_of(db, run.session_id, rows))
    late = _ledger(db, run)
    answered: set[str] = set()
    steps: list[RecordedStep] = []
    for index, (row, answer) in enumerate(zip(rows, messages, strict=True)):
        asked = messages[index - 1] if index else None
        if not isinstance(answer, ModelResponse) or answer.state == "interrupted":
            continue
        following = [*takewhile(_is_request, messages[index + 1 :])]
        if not following and index + 1 < len(messages):
            continue  # the run was resumed, and the next answer stands in the place of this one
        if not isinstance(asked, ModelRequest):  # a second answer to one request
            asked = ModelRequest(parts=[])
        if following:
            results = {id: part for request in following for id, part in _returned(request).items()}
        else:  # the ledger has the first call of each id
            results = {id: part for id, part in late.items() if id not in answered}
        answered |= results.keys()
        steps.append(RecordedStep(seq=row.seq, asked=asked, answer=answer, results=results))
    return steps


def _rows_of(db: Connection, run: Any) -> list[StoredMessage]:
    """Return the rows of a run's messages: from its first to where the next run begins."""
    this = {"session": run.session_pk, "run": run.pk}
    upto = db.execute(_NEXT, this).scalar_one() or run.last_message_seq + 1
    own = Stretch(run.session_id, run.session_pk, after=run.first_message_seq - 1, upto=upto - 1)
    return [row for row in stored_messages(db, [own]) if row.kind != COMPACTION]


def _is_request(message: ModelMessage) -> bool:
    return isinstance(message, ModelRequest)


def _returned(message: ModelMessage) -> dict[str, ToolReturnPart]:
    parts = (part for part in message.parts if isinstance(part, ToolReturnPart))
    return {part.tool_call_id: part for part in parts}


def _ledger(db: Connection, run: Any) -> dict[str, ToolReturnPart]:
    """Return what is known of calls whose results came too late to be sent to the model."""
    results: dict[str, ToolReturnPart] = {}
    for text in results_of(db, [run.pk]).values():
        try:
            part = read_result(text)
        except ValueError as error:
            raise HistoryUnreadableError(run.session_id, run.first_message_seq) from error
        results[part.tool_call_id] = part
    return results


_RUN = (
    select(
        RUN,
        SESSION.c.id.label("session_id"),
        SESSION.c.owner,
        SESSION.c.root,
        SESSION.c.last_message_seq,
    )
    .join(SESSION, SESSION.c.pk == RUN.c.session_pk)
    .where(RUN.c.id == bindparam("this"), SESSION.c.deleted_at.is_(None))
)
_NEXT = select(func.min(RUN.c.first_message_seq)).where(
    RUN.c.session_pk == bindparam("session"), RUN.c.pk > bindparam("run")
)
