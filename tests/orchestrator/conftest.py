"""A yard in a small project, and a record in either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.store.store import Store, open_store


@pytest.fixture
async def yard(project: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, connect=InProcessConnection) as opened:
        yield opened


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'record.db'}"


@pytest.fixture(params=["sqlite_url", "postgres_record_url"], ids=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Return the address of an empty record, in each database that there is."""
    found: str = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened
