"""Schemas in specs: nothing is fetched, nothing hangs, and answers fit or a run ends."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any  # JSON as it comes

import pytest
from pydantic_ai import models
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from typer.testing import Result

from orchestrator.agents import check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import ModelUnavailableError, SpecError
from orchestrator.events import RunEnded
from orchestrator.schemas import SchemaProblemError, check_schema, misfit
from orchestrator.specs import load_spec
from tests.orchestrator.by_hand import rows, workyard
from tests.orchestrator.played import record_of
from tests.wire.environment import environment
from tests.wire.script import Answer, Call
from tests.wire.server import Wire, serving

HEAD = "name: judge\ndescription: d\ninstructions: x\n"
SCHEMA = {
    "type": "object",
    "title": "Verdict",
    "required": ["score"],
    "properties": {"score": {"type": "integer", "maximum": 10}},
}


def bomb(levels: int) -> dict[str, Any]:
    """Return a schema that doubles with each reference that is followed."""
    defs: dict[str, Any] = {"a0": {"type": "string"}}
    for level in range(1, levels + 1):
        defs[f"a{level}"] = {"allOf": [{"$ref": f"#/$defs/a{level - 1}"}] * 2}
    return {"$defs": defs, "properties": {"a": {"$ref": f"#/$defs/a{levels}"}}}


def ring() -> dict[str, Any]:
    first, second = {"$ref": "#/$defs/second"}, {"anyOf": [{"$ref": "#/$defs/first"}]}
    return {"$defs": {"first": first, "second": second}, "properties": {"a": first}}


def chain(length: int) -> dict[str, Any]:
    defs = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}"} for n in range(length)}
    return {"$defs": {**defs, f"a{length}": {}}, "$ref": "#/$defs/a0"}


SLOW: dict[str, Any] = {"patternProperties": {"^(a+)+$": {}}}
"""`re` would match the name of a property with it, for longer than anybody lives."""
DRAFT_7 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "objekt"}, "this is not a JSON schema"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/schema"}}}, "a place of this schema"),
        ({"$ref": "file:///etc/passwd"}, "a place of this schema"),
        ({"items": [], "$defs": {"a": {"$ref": "other.json#/a"}}}, "a place of this schema"),
        ({"items": []}, "not a JSON schema"),
        ({"properties": {"a": {"$ref": "#/nowhere"}}}, "is nowhere in this schema"),
        ({"properties": {"a": {"$ref": "#anchor"}}}, "a place of this schema"),
        ({"$ref": "#"}, "leads back to itself"),
        ({"properties": {"a": {"$ref": "#"}}}, "leads back to itself"),
        (ring(), "leads back to itself"),
        (chain(5000), "more than 50 times"),
        (bomb(60), "more than 2000 parts"),
        ({"anyOf": [{"const": n} for n in range(2001)]}, "more than 2000 parts"),
        ({"properties": {"a": {"$dynamicRef": "#a"}}}, "use '\\$ref'"),
        ({"patternProperties": {"(a+)+$": {}}}, "'patternProperties' is not taken"),
        ({"properties": {"a": {"pattern": "(?=a)b"}}}, "more than one look"),
        ({"properties": {"a": {"pattern": "("}}}, "more than one look"),
        ({"properties": {"a": {"pattern": r"(a)\1"}}}, "more than one look"),
        ({"properties": {"a": {"pattern": "(((a{0,99}){0,99}){0,99})"}}}, "more than one look"),
        ({"properties": {"a": {"pattern": "(?x) a # ["}}}, "more than one look"),
        # Each is a schema that is looked at, wherever it stands and whatever it is called.
        ({"properties": {"default": SLOW}}, "'patternProperties' is not taken"),
        ({"$defs": {"properties": SLOW}}, "'patternProperties' is not taken"),
        ({"dependentSchemas": {"properties": SLOW}}, "'patternProperties' is not taken"),
        ({"$defs": {"properties": {"pattern": "(?=a)b"}}}, "more than one look"),
        ({"$defs": {"properties": {"$ref": "http://x/"}}}, "a place of this schema"),
        ({"const": SLOW, "items": {"$ref": "#/const"}}, "'patternProperties' is not taken"),
        ({"x": SLOW, "items": {"$ref": "#/x"}}, "'patternProperties' is not taken"),
        ({"%78": {}, "x": SLOW, "items": {"$ref": "#/%78"}}, "'patternProperties' is not taken"),
        # Below these, references and keywords would mean something else.
        ({"$defs": {"a": {"$id": "http://x/", **bomb(30)}}}, "'\\$id' is not taken"),
        ({"items": {"$schema": DRAFT_7, "pattern": "^(a+)+$"}}, "'\\$schema' is not taken"),
    ],
)
def test_schema_that_leads_out_or_on_without_end_is_refused(
    schema: dict[str, Any], problem: str
) -> None:
    with pytest.raises(SchemaProblemError, match=problem):
        check_schema(schema)


def test_what_only_looks_like_a_reference_is_none() -> None:
    check_schema({"properties": {"$ref": {"type": "string"}, "pattern": {"type": "string"}}})
    check_schema({"properties": {"a": {"const": {"$ref": "http://x"}, "default": {"$ref": "y"}}}})
    check_schema({"const": {"$id": "x"}, "enum": [{"pattern": "("}], "examples": [{"$ref": "y"}]})


def test_id_and_dialect_at_the_top_change_nothing() -> None:
    schema: dict[str, Any] = {
        "$id": "http://[",
        "$schema": DRAFT_7,
        "$ref": "#/$defs/a%20b",
        "$defs": {"a b": {}},
    }
    check_schema(schema)

    assert misfit({**schema, "$defs": {"a b": {"type": "string"}}}, 1) is not None
    assert misfit(schema, 1) is None


def test_pattern_that_takes_for_ever_elsewhere_is_matched_at_once() -> None:
    """`re` would be at this for longer than anybody lives."""
    schema = {"properties": {"a": {"pattern": "^(a+)+$"}}}
    check_schema(schema)  # type: ignore[arg-type]  # JSON, as mypy does not see

    assert misfit(schema, {"a": "a" * 200 + "!"}) is not None  # type: ignore[arg-type]  # as above
    assert misfit(schema, {"a": "a" * 200}) is None  # type: ignore[arg-type]  # as above


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"items": {"enum": [*range(9000)]}}, [*range(2000, 4000)]),
        ({"pattern": "(a{0,900}){0,100}b"}, "a" * 100_000),
        ({"allOf": [{"const": ["x"] * 9000}] * 200}, ["x"] * 9000),
        ({"items": {"anyOf": [{"type": "integer"}] * 1500}}, ["y" * 99_000]),
        ({"items": {"allOf": [{"minLength": 1}] * 1500}}, ["x"] * 1500),
        (
            {"items": {"allOf": [{"required": [*map(str, range(9000))]}] * 9}},
            [dict.fromkeys(map(str, range(9000)))] * 400,
        ),
    ],
)
def test_comparison_that_would_take_minutes_ends_and_says_so(
    schema: dict[str, Any], value: Any
) -> None:
    check_schema(schema)

    assert misfit(schema, value) == (
        (),
        "it takes more than 200,000 looks to compare it with the schema",
    )


def test_many_records_are_compared_within_the_bound() -> None:
    fields = {
        "a": {"type": "integer", "minimum": 0},
        "b": {"type": "string", "pattern": "^x{1,9}$"},
    }
    record: dict[str, Any] = {"properties": fields, "required": ["a", "b"]}
    schema: dict[str, Any] = {"items": record, "uniqueItems": True}
    check_schema(schema)

    assert misfit(schema, [{"a": number, "b": "x"} for number in range(10_000)]) is None


@pytest.mark.parametrize(
    ("one", "other", "are_equal"),
    [
        (1, 1.0, True),
        (1, True, False),
        ([1], [True], False),
        ({"a": 1, "b": [None]}, {"b": [None], "a": 1.0}, True),
        ({"a": 0}, {"a": False}, False),
        ([], {}, False),
        ("", None, False),
    ],
)
def test_values_are_equal_as_json_has_it(one: Any, other: Any, are_equal: bool) -> None:
    assert (misfit({"const": one}, other) is None) == are_equal
    assert (misfit({"enum": ["x", one]}, other) is None) == are_equal
    assert (misfit({"uniqueItems": True}, [one, "x", other]) is not None) == are_equal


def test_text_that_does_not_fit_one_pattern_of_many_is_told() -> None:
    pattern = r"^(?:[a-c]{2}|\d{1,3}-\}){2}$"
    check_schema({"pattern": pattern})

    assert misfit({"pattern": pattern}, "ab12-}") is None
    assert misfit({"pattern": pattern}, "ab") is not None


def test_what_does_not_fit_is_quoted_in_part() -> None:
    with pytest.raises(SchemaProblemError) as caught:
        check_schema({"type": ["x" * 100_000]})
    assert len(caught.value.problem) < 600
    found = misfit({"type": "string"}, ["x" * 100_000])

    assert found is not None
    assert len(found[1]) < 600
    assert found[1].endswith("is not of type 'string'")


def test_reference_that_leads_out_is_an_error_of_the_spec_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "judge.yaml"
    file.write_text(
        HEAD + "output_schema:\n  type: object\n  title: R\n  properties:\n"
        "    a: {$ref: 'http://127.0.0.1:1/a'}\n"
    )

    with pytest.raises(SpecError) as caught:
        check_spec(load_spec(file))

    assert (caught.value.line, caught.value.field) == (8, "output_schema.properties.a.$ref")


@pytest.fixture
async def yard(project: Path, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "judge.yaml").write_text(f"{HEAD}output_schema: {json.dumps(SCHEMA)}\n")
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as opened:
        yield opened


def answering(*answers: dict[str, Any] | str) -> FunctionModel:
    """Return a model that gives answers in their order: what fills the schema, or text."""

    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        said = answers[sum(isinstance(message, ModelResponse) for message in messages)]
        if isinstance(said, str):
            yield said
        else:
            name = info.output_tools[0].name
            yield {0: DeltaToolCall(name, json.dumps(said), tool_call_id=f"c{len(messages)}")}

    return FunctionModel(stream_function=stream, model_name="answering")


async def test_answer_that_fits_is_json_for_scripts_and_on_record(yard: Orchestrator) -> None:
    run = await yard.run("judge", "go", model=answering({"score": 7}))

    assert run.output == {"score": 7}
    (row,) = await yard.sessions.runs(run.session_id)
    assert row.output == {"score": 7}


async def test_answer_that_does_not_fit_is_asked_for_once_more_with_the_reason(
    yard: Orchestrator,
) -> None:
    run = await yard.run("judge", "go", model=answering({"score": 70}, {"score": 7}))

    assert (run.output, run.usage.requests) == ({"score": 7}, 2)
    messages = await yard.sessions.messages(run.session_id)
    asked = [str(p) for m in messages if isinstance(m, ModelRequest) for p in m.parts]
    assert any("does not fit the output schema at score: 70 is greater than" in p for p in asked)


@pytest.mark.parametrize("second", [{"score": 80}, {}])
async def test_answer_that_does_not_fit_again_ends_the_run_and_the_record_says_why(
    yard: Orchestrator, second: dict[str, Any]
) -> None:
    model = answering({"score": 70}, second, {"score": 1})
    handle = await yard.start("judge", "go", model=model)
    with pytest.raises(ModelUnavailableError, match="does not fit the output schema"):
        await handle.result()

    (row,) = await yard.sessions.runs(handle.claimed.session_id)
    last = (await record_of(yard, handle.claimed.session_id))[-1].event
    assert (row.status, row.requests, row.output) == ("failed", 2, None)
    assert isinstance(last, RunEnded)
    assert last.error_text == row.error_text
    assert "does not fit the output schema" in str(row.error_text)


async def test_text_in_place_of_a_filled_schema_ends_the_run_too(yard: Orchestrator) -> None:
    with pytest.raises(ModelUnavailableError):
        await yard.run("judge", "go", model=answering("Good.", "Very good.", "The best."))


def judged(project: Path, surroundings: Path, *scores: int) -> Result:
    """Return what `workyard run` does with a model that answers with these scores."""
    agents = surroundings / "config" / "agents"
    agents.mkdir(parents=True)
    (agents / "judge.yaml").write_text(f"{HEAD}output_schema: {json.dumps(SCHEMA)}\n")
    script: list[Answer] = [Call("final_result", {"score": score}) for score in scores]
    with (
        serving(Wire(script)) as url,
        pytest.MonkeyPatch.context() as patch,
        models.override_allow_model_requests(True),  # of this machine
    ):
        for name, value in environment("ollama", url).items():
            patch.setenv(name, value)
        words = ("run", "judge", "go", "--root", str(project), "--model", "ollama:pretend")
        return workyard(*words, "--json")


@pytest.mark.parametrize("scores", [(7,), (70, 7)], ids=["at once", "after a repair"])
def test_command_line_prints_the_answer_as_json(
    project: Path, own_surroundings: Path, scores: tuple[int, ...]
) -> None:
    result = judged(project, own_surroundings, *scores)

    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert (printed["output"], printed["usage"]["requests"]) == ({"score": 7}, len(scores))


def test_command_line_says_what_does_not_fit_and_so_does_the_record(
    project: Path, own_surroundings: Path
) -> None:
    result = judged(project, own_surroundings, 70, 80, 7)

    assert result.exit_code == 6
    printed = json.loads(result.stdout)
    assert "at score: 80 is greater than the maximum of 10" in printed["error"]["message"]
    assert rows("SELECT status, error_text FROM run") == [("failed", printed["error"]["message"])]
