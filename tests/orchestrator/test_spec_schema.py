"""The JSON schema for editors is that of the code, and knows sound specs from broken ones."""

import json
from typing import Any  # what JSON holds

import jsonschema
import pytest
import yaml

from orchestrator.catalogue import SHIPPED_SPECS, Catalogue
from orchestrator.spec_schema import editor_schema

SHIPPED = SHIPPED_SPECS / "schema.json"
FILES = sorted(Catalogue((SHIPPED_SPECS,)).files().values())


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(SHIPPED.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_shipped_schema_is_current() -> None:
    """`make schema` writes it anew."""
    assert json.loads(SHIPPED.read_text(encoding="utf-8")) == editor_schema()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_shipped_spec_names_the_schema_and_fits_it(
    file: Any, validator: jsonschema.Draft202012Validator
) -> None:
    text = file.read_text(encoding="utf-8")

    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    validator.validate(yaml.safe_load(text))


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "Not A Name"},
        {"description": None},
        {"modle": "x"},
        {"capabilities": [{"WorkspaceTools": {"tool": ["grep"]}}]},
        {"capabilities": ["Budgit"]},
        {"end_strategy": "never"},
    ],
)
def test_schema_refuses_what_is_wrong(
    wrong: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    spec = {"name": "a", "description": "d", "instructions": "x"}
    validator.validate(spec)

    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**spec, **wrong})
