"""A definition reaches nothing beyond the workspace, when it is made and when it is run."""

import json
from pathlib import Path
from typing import Any  # what JSON holds

import pytest
from pydantic_ai.capabilities import CAPABILITY_TYPES

from orchestrator.agents import build_agent, check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.capabilities import CAPABILITIES
from orchestrator.definition import Visibility
from orchestrator.errors import OrchestratorError, SpecError
from orchestrator.offline import OfflineModel
from orchestrator.spec_source import Origin, Trust
from orchestrator.specs import Spec, load_spec, read_spec
from orchestrator.trust import STORED_CAPABILITIES, check_trust
from tests.orchestrator.by_hand import rows

BUDGET = {"Budget": {"requests": 5, "total_tokens": 1000, "cost_usd": "0.5"}}


def values(*capabilities: Any, **more: Any) -> dict[str, Any]:
    said = {"name": "sample", "description": "d", "instructions": "x", **more}
    return {**said, "capabilities": [*capabilities]} if capabilities else said


def spec(trust: Trust, *capabilities: Any, **more: Any) -> Spec:
    return read_spec(values(*capabilities, **more), Path("sample@1"), Origin(trust, "ada", 1))


FORBIDDEN = [
    ({"LocalWorkspace": {"working_dir": "/"}}, "use WorkspaceTools"),
    ("LocalWorkspace", "use WorkspaceTools"),
    ({"MCP": {"url": "http://169.254.169.254/"}}, "a definition names no address"),
    ("WebFetch", "a definition reaches no network"),
    ("WebSearch", "a definition reaches no network"),
    ({"PrefixTools": {"prefix": "x", "capability": {"MCP": {"url": "http://x/"}}}}, "PrefixTools"),
    ({"Budget": {}, "LocalWorkspace": {}}, "LocalWorkspace is refused"),
]


@pytest.mark.parametrize(("entry", "problem"), FORBIDDEN)
async def test_capability_that_reaches_further_is_refused_when_it_is_stored(
    yard: Orchestrator, entry: Any, problem: str
) -> None:
    with pytest.raises(SpecError, match=problem) as caught:
        await yard.definitions.create(values(entry))

    assert caught.value.field == "capabilities[0]"
    assert (await yard.definitions.list()).definitions == ()


@pytest.mark.parametrize(("entry", "problem"), FORBIDDEN)
async def test_capability_that_reaches_further_is_refused_when_it_is_run(
    yard: Orchestrator, entry: Any, problem: str
) -> None:
    """It may have been stored by a program that knew no better, or by hand."""
    await yard.definitions.create(values())
    said = values(entry)
    sha256 = spec(Trust.STORED, entry).sha256
    rows("UPDATE definition_version SET spec = ?, sha256 = ?", json.dumps(said), sha256)

    with pytest.raises(SpecError, match=problem):
        await yard.run("sample", "go", model="offline")

    assert rows("SELECT count(*) FROM run") == [(0,)]


def test_capability_that_pydantic_ai_adds_is_refused_until_it_is_decided_on() -> None:
    ours = {kind.get_serialization_name() for kind in CAPABILITIES}
    refused = (ours | CAPABILITY_TYPES.keys()) - STORED_CAPABILITIES

    assert ours <= STORED_CAPABILITIES
    assert {"MCP", "LocalWorkspace", "WebFetch", "NativeTool", "Instrumentation"} <= refused
    for name in refused:
        with pytest.raises(SpecError, match=f"{name} is refused: "):
            check_trust(spec(Trust.STORED, name))


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"model_settings": {"extra_headers": {"x": "y"}}}, "model_settings.extra_headers"),
        ({"model_settings": {"extra_body": {}}}, "model_settings.extra_body"),
        ({"model": "openai-chat:http://evil.test/v1"}, "model"),
        ({"$schema": "file:///etc/passwd"}, "$schema"),
        ({"output_schema": {"$ref": "file:///etc/passwd"}}, "output_schema"),
        (
            {"deps_schema": {"type": "object", "properties": {"a": {"$ref": "http://x/"}}}},
            "deps_sc",
        ),
    ],
)
async def test_addresses_are_refused_wherever_they_stand(
    yard: Orchestrator, more: dict[str, Any], field: str
) -> None:
    with pytest.raises(SpecError) as caught:
        await yard.definitions.create(values(**more))

    assert str(caught.value.field).startswith(field)


def test_schema_that_leads_elsewhere_is_refused_in_a_file_too(tmp_path: Path) -> None:
    """The library would open it: any file of this machine, any address of its network."""
    file = tmp_path / "sample.yaml"
    file.write_text(
        "name: sample\ndescription: d\ninstructions: x\noutput_schema:\n  $ref: file:///etc/passwd\n"
    )

    with pytest.raises(SpecError, match="leads to a place of this schema") as caught:
        load_spec(file)

    assert (caught.value.line, caught.value.field) == (5, "output_schema.$ref")


def test_file_may_have_every_capability() -> None:
    check_trust(spec(Trust.FILE, "LocalWorkspace", {"MCP": {"url": "http://localhost/"}}))


def test_trust_is_looked_at_where_every_agent_is_built() -> None:
    far = spec(Trust.STORED, "LocalWorkspace")

    with pytest.raises(SpecError, match="LocalWorkspace is refused"):
        build_agent(far, OfflineModel(), CAPABILITIES, model_timeout_s=1)
    with pytest.raises(SpecError, match="LocalWorkspace is refused"):
        check_spec(far)


@pytest.mark.parametrize(
    ("entries", "more", "problem"),
    [
        ([], {}, "has one Budget"),
        ([BUDGET, BUDGET], {}, "has one Budget"),
        ([{"Budget": {"requests": 5}}], {}, "total_tokens of at most 1000000, not None"),
        ([{"Budget": {**BUDGET["Budget"], "requests": 101}}], {}, "requests of at most 100"),
        ([{"Budget": {**BUDGET["Budget"], "cost_usd": "2.01"}}], {}, "cost_usd of at most 2"),
        ([{"Budget": {**BUDGET["Budget"], "unpriced": True}}], {}, "a known price"),
        ([BUDGET, {"SubAgents": {"agents": ["repo_guide"]}}], {}, "asks no others"),
    ],
)
async def test_agent_that_is_shared_is_bounded(
    yard: Orchestrator, entries: list[Any], more: dict[str, Any], problem: str
) -> None:
    given = values(*entries, **more)

    with pytest.raises(SpecError, match=problem):
        await yard.definitions.create(given, visibility=Visibility.SHARED)


async def test_agent_that_is_shared_later_is_bounded_from_then_on(yard: Orchestrator) -> None:
    made = await yard.definitions.create(values())

    with pytest.raises(SpecError, match="has one Budget"):
        await yard.definitions.edit("sample", values(), made_from=1, visibility=Visibility.SHARED)
    assert await yard.definitions.get("sample") == made
    shared = await yard.definitions.edit(
        "sample", values(BUDGET), made_from=1, visibility=Visibility.SHARED
    )
    assert shared.origin.trust is Trust.SHARED
    with pytest.raises(SpecError, match="has one Budget"):
        await yard.definitions.edit("sample", values(), made_from=2)
    with pytest.raises(SpecError, match="has one Budget"):
        await yard.definitions.rollback("sample", 1)


async def test_agent_that_was_shared_by_hand_is_bounded_when_it_is_run(yard: Orchestrator) -> None:
    await yard.definitions.of("ada").create(values())
    rows("UPDATE definition SET visibility = 'shared'")

    with pytest.raises(SpecError, match="has one Budget"):
        await yard.run("ada/sample", "go", model="offline")


async def test_definition_gets_nothing_done_by_an_agent_that_may_do_more(
    project: Path, tmp_path: Path
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    far = values({"LocalWorkspace": {"working_dir": "/"}}, name="far")
    (specs / "far.yaml").write_text(json.dumps(far))
    asks = values({"SubAgents": {"agents": ["far"]}}, name="asks")

    async with Orchestrator.open(project, specs=specs) as other:
        with pytest.raises(SpecError, match=r"'far' cannot be used.*LocalWorkspace is refused"):
            await other.definitions.create(asks)
        (specs / "far.yaml").write_text(json.dumps(values(name="far")))
        await other.definitions.create(asks)
        (specs / "far.yaml").write_text(json.dumps(far))
        with pytest.raises(SpecError, match=r"'far' cannot be used.*LocalWorkspace is refused"):
            await other.run("asks", "go", model="offline")
    # A file may ask it: what it may do is up to whoever owns the disk.
    (specs / "asks.yaml").write_text(json.dumps(asks))
    async with Orchestrator.open(project, specs=specs) as other:
        await other.run("asks", "go", model="offline")


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd"])
async def test_stored_grant_names_nothing_outside_the_root(yard: Orchestrator, path: str) -> None:
    grant = {"tools": ["read_file"], "read": [path]}

    with pytest.raises(OrchestratorError):
        await yard.definitions.create(values({"WorkspaceTools": grant}))
