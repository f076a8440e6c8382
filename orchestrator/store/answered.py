"""Which models have answered in runs: not always those that were asked for.

A stand-in answers where a provider fails, and a run can be resumed with another model. The run's
row has the model with which it began, and sums for all of it: to have more there would cost every
turn, for the sake of few. Events tell which runs these are; what their messages say is moved from
the one model to the others.
"""

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Any  # rows of events, with their runs

from pydantic_ai.messages import ModelResponse
from sqlalchemy import Connection, Row, Select, select

from orchestrator.errors import HistoryUnreadableError
from orchestrator.events import Usage
from orchestrator.store.broken import answers_of
from orchestrator.store.compaction import used_for_compaction
from orchestrator.store.tables import EVENT, RUN
from orchestrator.store.usage import together, used_by
from orchestrator.totals import Total

_RESUMED = "run_resumed"
_SPENT = ("requests", "input_tokens", "cache_read_tokens", "output_tokens")
"""What moves with an answer, beside its cost."""

NOTED: Select[Any] = (
    select(
        *(EVENT.c[name] for name in ("run_pk", "session_pk", "type", "body", "at")),
        *(RUN.c[name] for name in ("id", "model")),
    )
    .select_from(EVENT)
    .join(RUN, RUN.c.pk == EVENT.c.run_pk)
    .where(EVENT.c.type.in_(("model_stood_in", _RESUMED)))
    .order_by(EVENT.c.run_pk, EVENT.c.seq)
)
"""What tells of another model than that of a run's row; filters of runs can be added."""


@dataclass(frozen=True)
class _Mixed:
    """A run in which others may have answered than the model with which it began."""

    pk: int
    session_pk: int
    model: str
    asked: Sequence[tuple[datetime, str]]
    """From when on it was another one that was asked."""

    def answered_by(self, response: ModelResponse) -> str:
        if response.failed_attempts:
            return f"{response.provider_name}:{response.model_name}"
        return next((m for at, m in reversed(self.asked) if at <= response.timestamp), self.model)


def moved(db: Connection, noted: Sequence[Row[Any]], leave_out: Container[str]) -> Iterator[Total]:
    """Yield what is to be added to totals by model in which runs count with their first models.

    What others have used is taken from these, and added to theirs; the runs and their calls of
    tools stay. A run whose answers cannot be read stays as it is.

    Args:
        db: The database.
        noted: What `NOTED` finds.
        leave_out: The ids of runs that are in no total.
    """
    for _, notes in groupby(noted, key=attrgetter("run_pk")):
        of_run = list(notes)
        try:
            if of_run[0].id not in leave_out and (run := _mixed(of_run)) is not None:
                yield from _moved(db, run)
        except (ValueError, KeyError, HistoryUnreadableError):  # its session says so
            continue


def _mixed(notes: Sequence[Row[Any]]) -> _Mixed | None:
    first = notes[0]
    resumed = [note for note in notes if note.type == _RESUMED]
    asked = [(note.at, str(json.loads(note.body)["model"])) for note in resumed]
    if len(resumed) == len(notes) and all(model == first.model for _, model in asked):
        return None
    return _Mixed(first.run_pk, first.session_pk, first.model, asked)


def _moved(db: Connection, run: _Mixed) -> Iterator[Total]:
    answers: dict[str, list[ModelResponse]] = {run.model: []}
    for _, response in answers_of(db, run.session_pk, run.pk):
        answers.setdefault(run.answered_by(response), []).append(response)
    used = {model: used_by(said, tool_calls=0) for model, said in answers.items()}
    # A summary is asked of the model that the run has then, and nobody notes which that is.
    own = together(used.pop(run.model), used_for_compaction(db, run.session_pk, run.pk))
    for model, each in used.items():
        cost = _cost(each)
        spent = {name: getattr(each, name) for name in _SPENT}
        yield Total(of=model, cost=cost, unpriced_runs=int(cost is None), **spent)
    taken = {name: -sum(getattr(each, name) for each in used.values()) for name in _SPENT}
    known = [cost for each in used.values() if (cost := _cost(each)) is not None]
    if len(known) == len(used) and _cost(own) is not None:  # so is the cost of the run
        yield Total(of=run.model, cost=-sum(known, Decimal()), **taken)
    else:  # it has none, and counts as unpriced
        kept = _cost(own)
        yield Total(of=run.model, cost=kept, unpriced_runs=-int(kept is not None), **taken)


def _cost(used: Usage) -> Decimal | None:
    return used.cost if used.requests else Decimal()
