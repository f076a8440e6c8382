"""A spec is read strictly: what Pydantic AI would drop in silence is an error with its place."""

from pathlib import Path

import pytest
from pydantic_ai import AgentSpec

from orchestrator.errors import InputsError, SpecError
from orchestrator.specs import Spec, SpecDocument, load_spec

HEAD = "name: sample\ndescription: d\n"


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "sample.yaml"
    file.write_text(text)
    return file


def fault(tmp_path: Path, text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        load_spec(write(tmp_path, text))
    return caught.value


def test_keys_are_those_of_pydantic_ai() -> None:
    """A key that Pydantic AI adds must be decided on here, and not be refused for ever."""
    assert SpecDocument.model_fields.keys() == AgentSpec.model_fields.keys()


def test_unknown_key_is_refused_with_line_and_near_key(tmp_path: Path) -> None:
    error = fault(tmp_path, HEAD + "instructions: x\nmodle: a\n")

    assert (error.line, error.field) == (4, "modle")
    assert "did you mean 'model'?" in str(error)
    assert str(error).startswith(f"{error.file}:4: modle: ")


@pytest.mark.parametrize("key", ["name", "description", "instructions"])
def test_missing_key_is_named(tmp_path: Path, key: str) -> None:
    lines = {"name": "sample", "description": "d", "instructions": "x"}
    text = "".join(f"{k}: {v}\n" for k, v in lines.items() if k != key)

    error = fault(tmp_path, text)

    assert error.field == key
    assert "missing" in error.problem


def test_bad_yaml_is_reported_with_its_line(tmp_path: Path) -> None:
    error = fault(tmp_path, HEAD + "instructions: [a\n")

    assert error.line is not None
    assert "not YAML" in error.problem


def test_key_named_twice_is_refused(tmp_path: Path) -> None:
    """YAML keeps the last one: two grants in one spec must not become the wider of them."""
    text = HEAD + "instructions: x\ncapabilities:\n  - A: {read: [a], read: ['**']}\n"

    error = fault(tmp_path, text)

    assert (error.line, error.field) == (5, "capabilities[0].A.read")


def test_wrong_type_is_reported_at_its_place(tmp_path: Path) -> None:
    error = fault(tmp_path, HEAD + "instructions: x\ntool_timeout: soon\n")

    assert (error.line, error.field) == (4, "tool_timeout")


@pytest.mark.parametrize("text", ["", "- a\n", "just text\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    assert "mapping" in fault(tmp_path, text).problem


def test_aliases_are_refused_before_they_grow(tmp_path: Path) -> None:
    """Ten levels of ten of them are ten thousand million values."""
    levels = "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 11))

    error = fault(tmp_path, HEAD + f"instructions: x\nmetadata:\n  a0: &a0 [x]\n{levels}")

    assert "aliases" in error.problem


def test_template_without_inputs_is_refused(tmp_path: Path) -> None:
    error = fault(tmp_path, HEAD + "instructions: use ${{ secrets.X }}\n")

    assert (error.line, error.field) == (3, "instructions")
    assert "deps_schema" in error.problem


def test_escaped_braces_are_text(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, HEAD + "instructions: 'write \\{{ name }}'\n"))

    assert spec.inputs == {}


def test_template_of_an_unknown_input_is_refused(tmp_path: Path) -> None:
    text = (
        HEAD + "instructions: ['Hello', 'on {{topik}}']\n"
        "deps_schema: {type: object, properties: {topic: {type: string}}}\n"
    )

    error = fault(tmp_path, text)

    assert error.field == "instructions[1]"
    assert "inputs: topic" in error.problem


INPUTS = "deps_schema: {type: object, properties: {a: {type: string}, b: {default: x}}}\n"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{{#if fcous}}x{{/if}}", "is not an input"),
        ("{{b.nope}}", "is not an input"),
        ("{{a}}", "can be without a value"),
        ("{{b", "does not end"),
        ("{{helper b}}", "is not understood"),
    ],
)
def test_template_that_would_render_as_nothing_is_refused(
    tmp_path: Path, text: str, part: str
) -> None:
    error = fault(tmp_path, HEAD + f"instructions: '{text}'\n" + INPUTS)

    assert (error.line, error.field) == (3, "instructions")
    assert part in error.problem


def test_template_that_asks_whether_there_is_a_value_is_understood(tmp_path: Path) -> None:
    text = "instructions: '{{#if a}}yes{{else}}no{{/if}} {{ b }} {{{b}}}'\n"

    assert load_spec(write(tmp_path, HEAD + text + INPUTS)).inputs.keys() == {"a", "b"}


@pytest.mark.parametrize("value", ["-1", "{tols: 2}", "{tools: -1}", "true"])
def test_retries_that_are_none_are_refused(tmp_path: Path, value: str) -> None:
    assert "retries" in str(fault(tmp_path, HEAD + f"instructions: x\nretries: {value}\n"))


def test_schema_that_is_none_is_refused(tmp_path: Path) -> None:
    text = HEAD + "instructions: x\noutput_schema:\n  type: objekt\n"

    error = fault(tmp_path, text)

    assert (error.line, error.field) == (5, "output_schema.type")


def test_hash_is_of_the_content_and_not_of_the_writing(tmp_path: Path) -> None:
    first = load_spec(write(tmp_path, HEAD + "instructions: x\n")).sha256
    second = load_spec(write(tmp_path, "instructions: 'x'  # same\n" + HEAD)).sha256
    third = load_spec(write(tmp_path, HEAD + "instructions: y\n")).sha256

    assert first == second != third


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    schema = """\
deps_schema:
  type: object
  required: [topic]
  additionalProperties: false
  properties:
    topic: {type: string, description: what it is about}
    count: {type: integer, minimum: 1, default: 3}
"""
    return load_spec(write(tmp_path, HEAD + "instructions: '{{topic}}'\n" + schema))


def test_defaults_complete_the_inputs(spec: Spec) -> None:
    assert spec.complete_inputs({"topic": "a"}) == {"topic": "a", "count": 3}


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({}, "needs the input 'topic' (what it is about)"),
        ({"topic": "a", "topik": "b"}, "takes no input 'topik'; it takes 'topic', 'count'"),
        ({"topic": "a", "count": 0}, "Input count"),
        ({"topic": 1}, "Input topic"),
        ({"topic": "caf\udce9"}, "not valid Unicode"),
        ({"topic": "x", "count": float("nan")}, "JSON has no word for"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    spec: Spec, given: dict[str, object], part: str
) -> None:
    with pytest.raises(InputsError, match="sample") as caught:
        spec.complete_inputs(given)  # type: ignore[arg-type]  # callers in scripts pass anything

    assert part in str(caught.value)


def test_written_inputs_are_read_by_their_type(spec: Spec) -> None:
    assert spec.read_inputs(["topic=a=b", "count=5"]) == {"topic": "a=b", "count": 5}


@pytest.mark.parametrize("pair", ["topic", "count=many"])
def test_input_that_cannot_be_read_is_refused(spec: Spec, pair: str) -> None:
    with pytest.raises(InputsError):
        spec.read_inputs([pair])
