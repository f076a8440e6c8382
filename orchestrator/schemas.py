"""JSON schemas in specs: what may stand in one, and whether a value fits. Nothing is ever fetched.

A schema comes from whoever writes a spec, and is applied to what a model writes. So none may take
long: references lead to places of the schema itself and in no circle, the schema stays small when
each is replaced by what it refers to, and patterns are matched in linear time.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any  # JSON as it comes

import jsonschema
from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry

from orchestrator.spec_source import Place

MAX_PARTS = 10_000
"""Of a schema with all references followed; one for people has some hundred."""

MAX_MESSAGE_CHARS = 500
"""What does not fit is quoted this far: it can be the whole answer."""

_VALUES = frozenset({"const", "enum", "default", "examples"})
"""Below these stands what a value can be, and no schema."""

_REFUSED = {
    "$dynamicRef": "use '$ref'",
    "$recursiveRef": "use '$ref'",
    "patternProperties": "name the properties, or describe all in 'additionalProperties'",
}


class SchemaProblemError(Exception):
    """A schema that cannot be used, and where."""

    def __init__(self, problem: str, place: Place) -> None:
        self.problem = problem
        self.place = place
        super().__init__(problem)


def check_schema(schema: dict[str, JsonValue]) -> None:
    """Refuse what is no schema, or one that asks for more than to look at a value.

    Raises:
        SchemaProblemError: With its place in the schema.
    """
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = tuple(error.absolute_path)
        raise SchemaProblemError(f"this is not a JSON schema: {error.message}.", place) from None
    for place, key, value in _keywords(schema, ()):
        _check_keyword(place, key, value)
    _Sizes(schema).of(schema, ())


def misfit(schema: dict[str, JsonValue], value: JsonValue) -> tuple[Place, str] | None:
    """Return where a value does not fit a schema that was checked, and why; None if it fits."""
    try:
        found = next(_Validator(schema, registry=Registry()).iter_errors(value), None)
    except (OverflowError, RecursionError):  # a number or a depth that nobody means
        return (), "it cannot be compared with the schema"
    if found is None:
        return None
    message = found.message
    if len(message) > MAX_MESSAGE_CHARS:
        message = f"{message[: MAX_MESSAGE_CHARS // 2]} … {message[-MAX_MESSAGE_CHARS // 2 :]}"
    return tuple(found.absolute_path), message


def _keywords(schema: JsonValue, place: Place) -> Iterator[tuple[Place, str, JsonValue]]:
    """Yield what stands in a schema, at any depth, with its place."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield (*place, key), key, value
            if key not in _VALUES:
                yield from _keywords(value, (*place, key))
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from _keywords(value, (*place, index))


def _check_keyword(place: Place, key: str, value: JsonValue) -> None:
    if len(place) > 1 and place[-2] == "properties":
        return  # a property of this name
    if key in _REFUSED:
        raise SchemaProblemError(f"{key!r} is not taken here; {_REFUSED[key]}.", place)
    if key == "$ref" and not (isinstance(value, str) and (value == "#" or value[:2] == "#/")):
        problem = f"a reference leads to a place of this schema, as '#/$defs/NAME', not {value!r}."
        raise SchemaProblemError(problem, place)
    if key == "pattern" and isinstance(value, str):
        try:
            _matcher(value)
        except SchemaError:
            problem = f"the pattern {value!r} is none, or takes more than one look at a text."
            raise SchemaProblemError(problem, place) from None


class _Sizes:
    """How many parts a schema has when each reference is replaced by what it refers to."""

    def __init__(self, root: dict[str, JsonValue]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._under_way: list[str] = []

    def of(self, schema: JsonValue, place: Place) -> int:
        size = 1
        if isinstance(schema, list):
            size += sum(self.of(each, (*place, at)) for at, each in enumerate(schema))
        elif isinstance(schema, dict):
            for key, value in schema.items():
                if key == "$ref" and isinstance(value, str):
                    size += self._referred(value, (*place, key))
                elif key not in _VALUES:
                    size += self.of(value, (*place, key))
        if size > MAX_PARTS:
            problem = f"the schema has more than {MAX_PARTS} parts with its references followed."
            raise SchemaProblemError(problem, place)
        return size

    def _referred(self, pointer: str, place: Place) -> int:
        if pointer in self._under_way:
            raise SchemaProblemError(f"{pointer!r} leads back to itself.", place)
        if pointer not in self._known:
            self._under_way.append(pointer)
            self._known[pointer] = self.of(self._at(pointer, place), place)
            self._under_way.pop()
        return self._known[pointer]

    def _at(self, pointer: str, place: Place) -> JsonValue:
        found: JsonValue = self._root
        for name in pointer.split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise SchemaProblemError(f"{pointer!r} is nowhere in this schema.", place)
        return found


@cache
def _matcher(pattern: str) -> SchemaValidator:
    """Return what says whether a text has a match: by an engine that cannot be made to wait."""
    return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))


def _pattern(
    _validator: Any, pattern: str, value: JsonValue, _schema: Mapping[str, JsonValue]
) -> Iterator[jsonschema.ValidationError]:
    if isinstance(value, str) and not _matcher(pattern).isinstance_python(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # as its stubs are
    jsonschema.Draft202012Validator, {"pattern": _pattern}
)
