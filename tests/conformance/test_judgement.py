"""What `make conformance` takes for a pass, and what not."""

from tests.conformance.__main__ import judged
from tests.conformance.expected import LEFT_OUT, PARTLY, PASSED, REVISIONS


def test_a_check_that_was_skipped_or_warned_of_is_no_pass() -> None:
    sound = {name: {"check": ["SUCCESS"]} for name in PASSED["2025-11-25"]}
    assert judged(sound, "2025-11-25")[1] == []
    for status in ("SKIPPED", "WARNING", "FAILURE", "INFO"):
        counted, faults = judged(sound | {"ping": {"check": [status]}}, "2025-11-25")
        assert faults
        assert "ping" in counted


def test_a_scenario_that_was_not_run_or_is_new_is_a_fault() -> None:
    sound = {name: {"check": ["SUCCESS"]} for name in PASSED["2025-11-25"] if name != "ping"}
    assert judged(sound, "2025-11-25")[1] == ["ping was not run"]
    assert any("unheard" in each for each in judged({"unheard": {}}, "2025-11-25")[1])


def test_no_scenario_is_both_passed_and_left_out() -> None:
    for revision in REVISIONS:
        assert not (PASSED[revision] | PARTLY.keys()) & LEFT_OUT.keys()
