"""A yard in a small project."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection


@pytest.fixture
async def yard(project: Path) -> AsyncIterator[Orchestrator]:
    async with Orchestrator.open(project, connect=InProcessConnection) as opened:
        yield opened
