"""One agent spec: a plain Pydantic AI `AgentSpec` file, read strictly.

Pydantic AI ignores keys that it does not know, renders an unknown template name as nothing, and
checks neither the spec's inputs nor the schemas in it. A typo in a spec must not widen what an
agent does, so all of these are errors here, each with file, line and field. What a capability's
arguments may be is checked where the agent is built (`agents.py`): this module is read at every
start of the command line and does not import `pydantic_ai`.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from orchestrator.errors import InputsError, SpecError
from orchestrator.schemas import SchemaProblemError, check_schema, misfit
from orchestrator.spec_source import (
    FROM_A_FILE,
    Origin,
    Place,
    dotted,
    line_of,
    lines_of_json,
    parse,
    parse_json,
)

MAX_SPEC_BYTES = 256 * 1024
"""A spec is a page of text; anything of this size is not one."""

MAX_DEPTH = 50
"""Values within values: what takes specs apart goes into each, and must come to an end."""

_TEMPLATE = re.compile(r"(?<!\\)\{\{")
_TAG = re.compile(r"(?<!\\)\{\{\{?([^{}]*)\}?\}\}")
_BLOCKS = ("if", "unless", "each", "with")

CapabilityEntry = str | dict[str, JsonValue]
"""`Name`, `{Name: argument}` or `{Name: {argument: value}}`."""


Count = Annotated[int, Field(ge=0)]


class Retries(BaseModel):
    """How often tools and the output may be tried again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    tools: Count | None = None
    output: Count | None = None


class SpecDocument(BaseModel):
    """The keys of a spec. They are `AgentSpec`'s (a test compares them), with three required."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    json_schema_path: str | None = Field(default=None, alias="$schema")
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    description: Annotated[str, Field(min_length=1)]
    instructions: Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(min_length=1)]
    model: str | None = None
    deps_schema: dict[str, JsonValue] | None = None
    output_schema: dict[str, JsonValue] | None = None
    model_settings: dict[str, JsonValue] | None = None
    retries: Count | Retries | None = None
    end_strategy: Literal["graceful", "early", "exhaustive"] = "graceful"
    tool_timeout: Annotated[float, Field(gt=0)] | None = None
    metadata: dict[str, JsonValue] | None = None
    capabilities: list[CapabilityEntry] = []


@dataclass(frozen=True)
class Spec:
    """A spec that can be read; whether its capabilities fit is known when the agent is built."""

    document: SpecDocument
    values: Mapping[str, JsonValue]
    """The document as written."""
    file: Path
    """Where it stands; `name@version` of a definition."""
    lines: Mapping[Place, int]
    origin: Origin = FROM_A_FILE

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.document.name

    @property
    def reference(self) -> str:
        """What the agent is told from all others by: its name, or `owner/name` of a definition."""
        owner = self.origin.owner
        return self.name if owner is None else f"{owner}/{self.name}"

    @property
    def pinned(self) -> str:
        """What finds this very version of a definition: `owner/name@version`."""
        version = self.origin.version
        return self.reference if version is None else f"{self.reference}@{version}"

    @property
    def sha256(self) -> str:
        """The hash of the canonical JSON: the same for two files that say the same."""
        canonical = json.dumps(self.values, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @property
    def inputs(self) -> Mapping[str, Mapping[str, JsonValue]]:
        """The inputs that the agent takes, by name, each with its JSON schema."""
        properties = (self.document.deps_schema or {}).get("properties")
        if not isinstance(properties, dict):
            return {}
        return {name: s if isinstance(s, dict) else {} for name, s in properties.items()}

    @property
    def required_inputs(self) -> frozenset[str]:
        """The inputs that a caller must give."""
        required = (self.document.deps_schema or {}).get("required")
        return frozenset(map(str, required)) if isinstance(required, list) else frozenset()

    @property
    def told_inputs(self) -> tuple[str, ...]:
        """The names of its inputs, in brackets those that can be left out."""
        needed = self.required_inputs
        return tuple(name if name in needed else f"[{name}]" for name in self.inputs)

    def error(self, problem: str, place: Place) -> SpecError:
        """Return the error that says what is wrong at a place of this spec."""
        line = line_of(place, self.lines)
        return SpecError(problem, file=self.file, line=line, field=dotted(place) or None)

    def complete_inputs(self, given: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        """Return the given inputs with the spec's defaults filled in.

        Raises:
            InputsError: If one is missing, unknown or does not fit its schema.
        """
        for name in given:
            if name not in self.inputs:
                raise InputsError(f"Agent {self.name!r} takes no input {name!r}; {self._takes()}.")
        defaults = {n: s["default"] for n, s in self.inputs.items() if "default" in s}
        inputs = {**defaults, **given}
        try:
            json.dumps(inputs, ensure_ascii=False, allow_nan=False).encode()
        except UnicodeEncodeError:
            raise InputsError(
                f"An input of agent {self.name!r} is not valid Unicode text."
            ) from None
        except ValueError:
            raise InputsError(
                f"An input of agent {self.name!r} is a number that JSON has no word for."
            ) from None
        for name in sorted(self.required_inputs - inputs.keys()):
            about = self.inputs.get(name, {}).get("description", "no description")
            raise InputsError(f"Agent {self.name!r} needs the input {name!r} ({about}).")
        found = misfit(self.document.deps_schema or {}, inputs)
        if found is not None:
            where = dotted(found[0]) or "the inputs"
            raise InputsError(f"Input {where} of agent {self.name!r}: {found[1]}.")
        return inputs

    def read_inputs(self, pairs: Sequence[str]) -> dict[str, JsonValue]:
        """Return inputs written as `name=value`, each value read as its schema's type.

        Raises:
            InputsError: If one is not so written, or its value is not of its type.
        """
        inputs: dict[str, JsonValue] = {}
        for pair in pairs:
            name, equals, text = pair.partition("=")
            if not equals:
                raise InputsError(f"An input is written name=value, not {pair!r}.")
            kind = self.inputs.get(name, {}).get("type", "string")
            try:
                inputs[name] = text if kind == "string" else json.loads(text)
            except ValueError:
                raise InputsError(
                    f"Input {name!r} of agent {self.name!r} is of type {kind}, not {text!r}."
                ) from None
        return inputs

    def _takes(self) -> str:
        return "it takes " + ", ".join(map(repr, self.inputs)) if self.inputs else "it takes none"


def load_spec(file: Path) -> Spec:
    """Read a spec file.

    Raises:
        SpecError: If it cannot be read, or holds what a spec must not: the first fault.
    """
    spec, problems = examine_file(file)
    for problem in problems:
        raise problem
    assert spec is not None, "what cannot be read has a problem"
    return spec


def read_spec(values: Mapping[str, JsonValue], file: Path, origin: Origin) -> Spec:
    """Return the spec that plain values are.

    Raises:
        SpecError: If they are none: the first fault.
    """
    spec, problems = examine(values, {}, file, origin)
    for problem in problems:
        raise problem
    assert spec is not None, "what cannot be read has a problem"
    return spec


def read_text(file: Path) -> str:
    """Return what a spec file holds.

    Raises:
        SpecError: If it cannot be read, is too large or is no text.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_SPEC_BYTES + 1)
        if len(content) > MAX_SPEC_BYTES:
            raise SpecError(f"the file is larger than {MAX_SPEC_BYTES} bytes.", file=file)
        return content.decode("utf-8")
    except OSError as error:
        raise SpecError(f"the file cannot be read: {error.strerror}.", file=file) from None
    except UnicodeDecodeError:
        raise SpecError("the file is not UTF-8 text.", file=file) from None
    except ValueError:  # a NUL in its name
        raise SpecError("there can be no file of this name.", file=file) from None


def examine_file(file: Path) -> tuple[Spec | None, list[SpecError]]:
    """Return the spec in a file, if there is one, and all that is wrong with it.

    Raises:
        SpecError: If the file cannot be read, or is not YAML.
    """
    text = read_text(file)
    if file.suffix == ".json":
        return examine(parse_json(text, file), lines_of_json(text), file)
    return examine(*parse(text, file), file)


def examine(
    values: Mapping[str, JsonValue],
    lines: Mapping[Place, int],
    file: Path,
    origin: Origin = FROM_A_FILE,
) -> tuple[Spec | None, list[SpecError]]:
    """Return the spec that plain values are, if they are one, and all that is wrong with it."""
    if is_deeper(values, MAX_DEPTH):
        problem = f"values stand within values more than {MAX_DEPTH} deep."
        return None, [SpecError(problem, file=file)]
    try:
        document = SpecDocument.model_validate(values)
    except ValidationError as error:
        return None, list(_misfits(error, file, lines))
    spec = Spec(document, values, file, lines, origin)
    return spec, [*_schema_problems(spec), *_template_problems(spec)]


def is_deeper(value: object, levels: int) -> bool:
    """Say whether values stand more than so many levels within each other."""
    level = [value]
    for _ in range(levels + 1):
        inner: list[object] = []
        for one in level:
            if isinstance(one, Mapping):
                inner.extend(one.values())
            elif isinstance(one, list):
                inner.extend(one)
        if not inner:
            return False
        level = inner
    return True


def _misfits(error: ValidationError, file: Path, lines: Mapping[Place, int]) -> Iterator[SpecError]:
    known = [f.alias or name for name, f in SpecDocument.model_fields.items()]
    places: set[Place] = set()
    for one in error.errors(include_url=False):
        place: Place = one["loc"]
        match one["type"]:
            case "extra_forbidden":
                near = get_close_matches(str(place[-1]), known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
                problem = f"there is no such key; {hint}"
            case "missing":
                problem = "the key is missing."
            case "string_pattern_mismatch":
                problem = "a name is lower-case letters, digits and '_', and begins with a letter."
            case _:
                problem = f"{one['msg']}."
        # A union adds the names of its branches to the place; the text does not have those.
        while lines and place and place not in lines and len(place) > 1:
            place = place[:-1]
        if not lines:
            place = place[:1]
        if place not in places:  # each branch of a union has its own complaint
            places.add(place)
            line = line_of(place, lines) or (1 if lines else None)
            yield SpecError(problem, file=file, line=line, field=dotted(place))


def _schema_problems(spec: Spec) -> Iterator[SpecError]:
    for key in ("deps_schema", "output_schema"):
        schema = spec.values.get(key)
        if not isinstance(schema, dict):
            continue
        try:
            check_schema(schema)
        except SchemaProblemError as error:
            yield spec.error(error.problem, (key, *error.place))
    schema = spec.document.deps_schema
    if schema is not None and schema.get("type") != "object":
        yield spec.error("inputs have names: 'type' must be 'object'.", ("deps_schema",))


def _template_problems(spec: Spec) -> Iterator[SpecError]:
    written = spec.document.instructions
    for index, text in enumerate([written] if isinstance(written, str) else written):
        place: Place = ("instructions",) if isinstance(written, str) else ("instructions", index)
        if spec.document.deps_schema is None and _TEMPLATE.search(text):
            problem = "'{{' begins a template and there is no deps_schema; write '\\{{' for itself."
            yield spec.error(problem, place)
        if spec.document.deps_schema is not None:
            yield from _tag_problems(spec, text, place)


def _tag_problems(spec: Spec, text: str, place: Place) -> Iterator[SpecError]:
    tags = _TAG.findall(text)
    if len(tags) != len(_TEMPLATE.findall(text)):
        yield spec.error("a template that begins with '{{' does not end with '}}'.", place)
    for tag in tags:
        words = tag.split()
        is_block = bool(words) and words[0].removeprefix("#") in _BLOCKS and tag.startswith("#")
        if tag.startswith("/") or words == ["else"]:
            continue
        names = words[1:] if is_block else words
        if len(names) != 1:
            problem = (
                f"'{{{{{tag}}}}}' is not understood; a template is '{{{{name}}}}' of an input."
            )
            yield spec.error(problem, place)
            continue
        yield from _name_problems(spec, names[0], place, must_have_value=not is_block)


def _name_problems(
    spec: Spec, name: str, place: Place, *, must_have_value: bool
) -> Iterator[SpecError]:
    if name not in spec.inputs:
        known = ", ".join(spec.inputs) or "none"
        yield spec.error(f"'{{{{{name}}}}}' is not an input; inputs: {known}.", place)
    elif (
        must_have_value and name not in spec.required_inputs and "default" not in spec.inputs[name]
    ):
        problem = (
            f"'{{{{{name}}}}}' can be without a value; make the input required or give a default."
        )
        yield spec.error(problem, place)
