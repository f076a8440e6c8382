"""Specs that name capabilities of `pydantic-ai-harness`."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from orchestrator.agents import check_spec
from orchestrator.errors import SpecError
from orchestrator.specs import load_spec

NEEDS_IT = pytest.mark.skipif(
    find_spec("pydantic_ai_harness") is None,
    reason="pydantic-ai-harness is for another release of Pydantic AI than the one in the lock",
)


def check(tmp_path: Path, *capabilities: str) -> None:
    lines = ["name: worker", "description: x", "instructions: x", "capabilities:"]
    (tmp_path / "worker.yaml").write_text("\n".join([*lines, *(f"  - {c}" for c in capabilities)]))
    check_spec(load_spec(tmp_path / "worker.yaml"))


def test_name_that_nobody_has_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no capability 'Palnning'") as caught:
        check(tmp_path, "Thinking: high", "Palnning")

    assert caught.value.line == 6


@NEEDS_IT
def test_capability_of_the_harness_can_be_named(tmp_path: Path) -> None:
    check(tmp_path, "WorkspaceTools: {tools: [read_file], read: ['**']}", "Planning")


@NEEDS_IT
def test_its_arguments_are_checked_as_ours_are(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        check(tmp_path, "Planning: {plnas: 3}")

    assert caught.value.line == 5


@NEEDS_IT
def test_capability_that_needs_another_package_says_which(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="Install"):
        check(tmp_path, "E2BSandbox")


@NEEDS_IT
@pytest.mark.parametrize("name", ["SubAgents", "GuardrailError", "InputGuardrail"])
def test_what_is_no_capability_for_specs_is_none_here(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError):
        check(tmp_path, name)
