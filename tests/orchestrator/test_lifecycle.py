"""The table of a run's life is the whole of it."""

import pytest

from orchestrator.errors import IllegalTransitionError
from orchestrator.lifecycle import FINAL, TRANSITIONS, RunStatus, next_status


def test_every_status_is_in_the_table_and_can_be_reached() -> None:
    reached = {status for ways in TRANSITIONS.values() for status in ways.values()}

    assert TRANSITIONS.keys() == set(RunStatus)
    assert reached | {RunStatus.RUNNING} == set(RunStatus)


@pytest.mark.parametrize("status", sorted(FINAL))
def test_nothing_leads_out_of_a_final_status(status: RunStatus) -> None:
    with pytest.raises(IllegalTransitionError) as caught:
        next_status("r", status, "run_succeeded")

    assert str(caught.value) == f"Run 'r' is {status} and cannot take 'run_succeeded'."
