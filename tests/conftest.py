"""What every test shares: one event loop backend, and no way to a paid model."""

import pytest
from pydantic_ai import models

models.ALLOW_MODEL_REQUESTS = False


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio only: pydantic-ai knows no other."""
    return "asyncio"
