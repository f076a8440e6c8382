"""How long a run has been at work, as the times of its events tell."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any  # rows of events

from sqlalchemy import Connection, Row, bindparam, func, select

from orchestrator.lifecycle import RunStatus
from orchestrator.store.tables import EVENT


def worked_before_s(db: Connection, session_pk: int, run_pk: int) -> float:
    """Return for how many seconds the attempts at a run were at work, but for the last one.

    Not the time between two of them. The end of one whose process died is when somebody noticed: of
    that one, the last thing that it has told counts.
    """
    of_run = {"session": session_pk, "run": run_pk}
    marks = db.execute(_MARKS, of_run).all()
    begins = [at for at, mark in enumerate(marks) if mark.type != "run_ended"]
    attempts = (marks[begin:after] for begin, after in pairwise(begins))
    worked = ((_end(db, of_run, attempt) - attempt[0].at) for attempt in attempts)
    return max(sum(worked, timedelta()).total_seconds(), 0.0)


def _end(
    db: Connection, of_run: dict[str, int], attempt: Sequence[Row[*tuple[Any, ...]]]
) -> datetime:
    last = attempt[1] if len(attempt) > 1 else attempt[0]  # what has waited then can be cancelled
    if last.type == "run_ended" and json.loads(last.body)["status"] == RunStatus.INTERRUPTED:
        told = of_run | {"begin": attempt[0].seq, "end": last.seq}
        at: datetime = db.execute(_LAST_TOLD, told).scalar_one()
        return at
    at = last.at
    return at


_OF_RUN = (EVENT.c.session_pk == bindparam("session"), EVENT.c.run_pk == bindparam("run"))
_MARKS = (
    select(EVENT.c.seq, EVENT.c.type, EVENT.c.at, EVENT.c.body)
    .where(*_OF_RUN, EVENT.c.type.in_(("run_started", "run_resumed", "run_ended")))
    .order_by(EVENT.c.seq)
)
_LAST_TOLD = select(func.max(EVENT.c.at)).where(
    *_OF_RUN, EVENT.c.seq >= bindparam("begin"), EVENT.c.seq < bindparam("end")
)
