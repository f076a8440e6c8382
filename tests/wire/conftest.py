"""Let these tests use real model classes: their requests go to a local server."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import certifi
import pytest
from pydantic_ai import models

from tests.wire.script import Script
from tests.wire.server import Wire, serving


@dataclass(frozen=True)
class Served:
    """A `Wire` and where it is served; one server for all tests of a module."""

    wire: Wire
    base_url: str

    def play(self, script: Script) -> Wire:
        """Begin anew with another script."""
        self.wire.script = script
        self.wire.requests.clear()
        return self.wire


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    wire = Wire([])
    with serving(wire) as base_url:
        yield Served(wire, base_url)


@pytest.fixture(scope="session")
def few_certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle of one authority: to load all of them takes each client 25 ms for nothing."""
    end = "-----END CERTIFICATE-----\n"
    first, *_ = Path(certifi.where()).read_text(encoding="utf-8").partition(end)
    bundle = tmp_path_factory.mktemp("certificates") / "one.pem"
    bundle.write_text(first + end, encoding="utf-8")
    return bundle


@pytest.fixture(autouse=True)
def _real_models_on_this_machine(
    monkeypatch: pytest.MonkeyPatch, few_certificates: Path
) -> Iterator[None]:
    monkeypatch.setenv("SSL_CERT_FILE", str(few_certificates))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    with models.override_allow_model_requests(True):
        yield
