"""What the server is told of specs is what a run goes by."""

from pathlib import Path

import pytest
from pydantic_ai import Agent
from pydantic_ai.messages import ModelRequest
from pydantic_ai.models.test import TestModel

from mcp_server import errors as server_errors
from orchestrator import errors
from orchestrator.adapter import SpecCard, SpecCatalog, server_errors_raised
from orchestrator.capabilities import CAPABILITIES
from orchestrator.catalogue import SHIPPED_SPECS, Catalogue
from tests.orchestrator.served import EDITOR, IDLER

BLOCKS = """
name: blocks
description: d
instructions:
  - "Plain text, one { brace."
  - "{{#if extra}}Also {{extra}}.{{else}}Nothing more.{{/if}} \\\\{{literal}}"
deps_schema: {type: object, properties: {extra: {type: string, default: ""}}}
"""


def card(directory: Path, name: str, text: str) -> SpecCard:
    (directory / f"{name}.yaml").write_text(text)
    return SpecCatalog(Catalogue((directory,))).get(name)


@pytest.mark.parametrize(
    ("name", "text", "inputs"),
    [
        ("editor", EDITOR, {"chapter_path": "a & <b>.md", "tone": "wry"}),
        ("idler", IDLER, {}),
        ("blocks", BLOCKS, {"extra": "this"}),
        ("blocks", BLOCKS, {}),
    ],
)
async def test_instructions_are_those_that_a_run_has(
    tmp_path: Path, name: str, text: str, inputs: dict[str, str]
) -> None:
    told = card(tmp_path, name, text)
    checked = told.checked(inputs)
    values = {**told.spec.values}
    values.pop("capabilities", None)
    agent = Agent.from_spec(values, model=TestModel(), custom_capability_types=CAPABILITIES)

    run = await agent.run("t", deps=checked)

    request = run.all_messages()[0]
    assert isinstance(request, ModelRequest)
    assert sorted(told.render(checked).strip().split("\n\n")) == sorted(
        (request.instructions or "").strip().split("\n\n")
    )


def test_shipped_agents_are_all_listed_with_their_grants() -> None:
    cards = {each.name: each for each in SpecCatalog(Catalogue((SHIPPED_SPECS,))).list()}

    assert sorted(cards) == Catalogue().names()
    assert cards["test_writer"].grant.write == ("tests/**", "test/**")
    assert "write_file" not in cards["code_reviewer"].grant.tools
    assert "\nname: code_reviewer\n" in cards["code_reviewer"].source


def test_first_directory_wins_and_one_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    for name, text in (("a", IDLER.replace("nothing", "little")), ("b", IDLER)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "idler.yaml").write_text(text)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0)
    catalog = SpecCatalog(Catalogue((locked, tmp_path / "a", tmp_path / "b")))

    assert [each.description for each in catalog.list()] == ["Does little."]
    assert catalog.get("idler").description == "Does little."


def test_list_is_read_again_only_when_a_file_has_changed(tmp_path: Path) -> None:
    (tmp_path / "idler.yaml").write_text(IDLER)
    catalog = SpecCatalog(Catalogue((tmp_path,)))

    first, version = catalog.list(), catalog.version()

    assert catalog.list() is first
    (tmp_path / "idler.yaml").write_text(IDLER.replace("nothing", "anything"))
    assert catalog.version() != version
    assert [each.description for each in catalog.list()] == ["Does anything."]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InputsError("x"), server_errors.InvalidInputError),
        (errors.NotFoundError("session", "x"), server_errors.NotFoundError),
        (errors.SessionBusyError("s", "r"), server_errors.ConflictError),
        (errors.StoreUnavailableError("x"), server_errors.UnavailableError),
        (errors.RunCancelledError("x"), server_errors.UnavailableError),
        (
            errors.SpecError("no.", file=Path("/srv/specs/a.yaml")),
            server_errors.InvalidInputError,
        ),
    ],
)
def test_errors_keep_their_branch_and_name_no_place_on_the_host(
    error: errors.OrchestratorError, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught, server_errors_raised():
        raise error

    assert "/srv" not in str(caught.value)
