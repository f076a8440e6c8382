"""The public names, as a script uses them."""

from decimal import Decimal
from pathlib import Path

import pytest

import orchestrator
from orchestrator.errors import InputsError


def test_every_public_name_is_there() -> None:
    for name in orchestrator.__all__:
        assert getattr(orchestrator, name) is not None
    with pytest.raises(AttributeError, match="nope"):
        _ = orchestrator.nope


def test_plain_script_runs_an_agent_in_one_call(project: Path) -> None:
    question = "Where are totals rounded?"
    first = orchestrator.run_sync("repo_guide", question, root=project, model="offline")
    second = orchestrator.run_sync(
        "repo_guide",
        "And where are prices added?",
        root=str(project),
        model="offline",
        inputs={"audience": "a cashier"},
        session_id=first.session_id,
    )

    assert "docs/rounding.md" in str(first.output)
    assert "src/till.py" in str(second.output)
    assert second.session_id == first.session_id
    assert (first.usage.requests, first.usage.cost) == (3, Decimal(0))


def test_error_comes_out_of_the_one_call_as_it_is(project: Path) -> None:
    with pytest.raises(InputsError):
        orchestrator.run_sync("repo_guide", "x", root=project, inputs={"nope": 1})
