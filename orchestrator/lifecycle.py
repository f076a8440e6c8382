"""What can become of a run. The table is the whole of it; the store writes a status through it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, get_args

from orchestrator.errors import IllegalTransitionError


class RunStatus(StrEnum):
    """Where a run stands."""

    RUNNING = "running"
    """A process has claimed the session and works on it."""
    SUCCEEDED = "succeeded"
    """The agent has given its answer."""
    FAILED = "failed"
    """The run ended with an error; its code and text are in the record."""
    CANCELLED = "cancelled"
    """Somebody stopped it; what it had done is in the record."""
    INTERRUPTED = "interrupted"
    """Its process died; whoever needs its session next has found that out."""
    WAITING = "waiting"
    """A call of it needs a person's yes; the questions are in the record, and nothing is held."""


TRANSITIONS: Mapping[RunStatus, Mapping[str, RunStatus]] = {
    RunStatus.RUNNING: {
        "run_succeeded": RunStatus.SUCCEEDED,
        "run_failed": RunStatus.FAILED,
        "run_cancelled": RunStatus.CANCELLED,
        "process_died": RunStatus.INTERRUPTED,
        "run_waits": RunStatus.WAITING,
    },
    RunStatus.SUCCEEDED: {},
    RunStatus.FAILED: {"run_resumed": RunStatus.RUNNING},
    RunStatus.CANCELLED: {"run_resumed": RunStatus.RUNNING},
    RunStatus.INTERRUPTED: {"run_resumed": RunStatus.RUNNING},
    RunStatus.WAITING: {
        "run_resumed": RunStatus.RUNNING,
        "run_cancelled": RunStatus.CANCELLED,
    },
}

FINAL = frozenset(status for status, ways in TRANSITIONS.items() if not ways)
"""The statuses that nothing leads out of."""


WhenBusy = Literal["reject", "queue", "fork"]
"""What a turn does whose session another run holds."""

WAYS_WHEN_BUSY: tuple[WhenBusy, ...] = get_args(WhenBusy)


def next_status(run_id: str, status: RunStatus, trigger: str) -> RunStatus:
    """Return the status that `trigger` leads to.

    Raises:
        IllegalTransitionError: If nothing of that name leads out of `status`.

    >>> next_status("r", RunStatus.RUNNING, "run_failed")
    <RunStatus.FAILED: 'failed'>
    """
    try:
        return TRANSITIONS[status][trigger]
    except KeyError:
        raise IllegalTransitionError(run_id, status, trigger) from None
