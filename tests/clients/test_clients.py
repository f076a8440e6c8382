"""The clients that are installed for the tests anyway; `make clients` runs the others too."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.__main__ import Contestant, here, judged, servers
from tests.clients.contract import EXPECTED, Server, faults


@pytest.fixture(scope="module")
def ways(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    """Return how to get at one server over each transport."""
    place: Path = tmp_path_factory.mktemp("clients")
    with servers(place) as found:
        yield found


@pytest.mark.parametrize("way", ["stdio", "HTTP"])
@pytest.mark.parametrize("client", [*here()], ids=lambda client: f"{client.name} {client.era}")
def test_client_finds_tools_prompts_completions_and_resources(
    client: Contestant, way: str, ways: dict[str, Server]
) -> None:
    assert judged(client, ways[way]) == []


def test_client_that_finds_nothing_or_speaks_another_protocol_is_at_fault() -> None:
    wrong = faults({"protocol": "2025-11-25"}, "auto", unable=["read"])
    assert [each.partition(":")[0] for each in wrong] == ["protocol", *list(EXPECTED)[:-1]]
    assert faults({"protocol": "2026-07-28", "read": ""}, "auto", unable=[*EXPECTED]) == [
        "read: it is able to"
    ]
