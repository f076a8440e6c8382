"""The journal that is safe with the SQLite at hand."""

import pytest

from orchestrator.store.database import journal_mode


@pytest.mark.parametrize(
    ("version", "mode"),
    [
        ((3, 40, 1), "DELETE"),
        ((3, 44, 5), "DELETE"),
        ((3, 44, 6), "WAL"),
        ((3, 45, 0), "DELETE"),
        ((3, 50, 4), "DELETE"),
        ((3, 50, 7), "WAL"),
        ((3, 51, 2), "DELETE"),
        ((3, 51, 3), "WAL"),
        ((3, 53, 0), "WAL"),
    ],
)
def test_write_ahead_log_is_used_only_where_it_cannot_corrupt(
    version: tuple[int, ...], mode: str
) -> None:
    assert journal_mode(version) == mode
