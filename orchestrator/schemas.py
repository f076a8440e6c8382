"""JSON schemas in specs: what may stand in one, and whether a value fits. Nothing is ever fetched.

A schema comes from whoever writes a spec, and is applied to what a model writes. So none may take
long: references lead to places of the schema itself and in no circle, the schema stays small when
each is replaced by what it refers to, patterns are matched in linear time, and who compares a value
with all of it stops when that has taken too many looks (`fitting.py`).
"""

from collections.abc import Iterator
from urllib.parse import unquote

import jsonschema
from pydantic import JsonValue

from orchestrator.fitting import PatternError, first_misfit, matcher, shortened
from orchestrator.spec_source import Place

MAX_PARTS = 2000
"""Schemas within a schema, with all references followed; one for people has some hundred."""

MAX_CHAIN = 50
"""References that lead on to references."""

_ONE = (
    *("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not"),
    *("propertyNames", "then", "unevaluatedItems", "unevaluatedProperties"),
)
"""Keywords with a schema. In what stands below all others there is none, whatever it looks like."""
_SEVERAL = ("allOf", "anyOf", "oneOf", "prefixItems")
_BY_NAME = ("$defs", "definitions", "dependentSchemas", "properties")

_REFUSED = {
    "$dynamicRef": "use '$ref'",
    "$recursiveRef": "use '$ref'",
    "patternProperties": "name the properties, or describe all in 'additionalProperties'",
}
_OF_THE_WHOLE = ("$id", "$schema")
"""Below the top, what is beneath them would be another document, with references of its own."""


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
    _Parts(schema).count(schema, ())
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError as error:
        place = tuple(error.absolute_path)
        problem = f"this is not a JSON schema: {shortened(error.message)}."
        raise SchemaProblemError(problem, place) from None


def misfit(schema: dict[str, JsonValue], value: JsonValue) -> tuple[Place, str] | None:
    """Return where a value does not fit a schema that was checked, and why; None if it fits."""
    return first_misfit({k: v for k, v in schema.items() if k not in _OF_THE_WHOLE}, value)


class _Parts:
    """The schemas that are looked at when a value is compared with one, each checked."""

    def __init__(self, root: dict[str, JsonValue]) -> None:
        self._root = root
        self._known: dict[str, int] = {}
        self._under_way: list[str] = []

    def count(self, schema: JsonValue, place: Place) -> int:
        """Return how many there are when each reference is replaced by what it refers to.

        Raises:
            SchemaProblemError: There are too many, or one is not taken.
        """
        number = 1
        for key, value in schema.items() if isinstance(schema, dict) else ():
            here = (*place, key)
            if key in _REFUSED:
                raise SchemaProblemError(f"{key!r} is not taken here; {_REFUSED[key]}.", here)
            if key in _OF_THE_WHOLE and schema is not self._root:
                problem = f"{key!r} is not taken here: it stands at the top of a schema alone."
                raise SchemaProblemError(problem, here)
            if key == "$ref":
                number += self._referred(value, here)
            elif key == "pattern":
                _check_pattern(value, here)
            for below, inner in _schemas_in(key, value):
                number += self.count(inner, (*here, *below))
            if number > MAX_PARTS:
                problem = f"the schema has more than {MAX_PARTS} parts with its references followed"
                raise SchemaProblemError(f"{problem}.", here)
        return number

    def _referred(self, pointer: JsonValue, place: Place) -> int:
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            problem = (
                f"a reference leads to a place of this schema, as '#/$defs/NAME', not {pointer!r}."
            )
            raise SchemaProblemError(problem, place)
        if pointer in self._under_way:
            raise SchemaProblemError(f"{pointer!r} leads back to itself.", place)
        if len(self._under_way) >= MAX_CHAIN:
            problem = f"references lead on to references more than {MAX_CHAIN} times."
            raise SchemaProblemError(problem, place)
        if pointer not in self._known:
            self._under_way.append(pointer)
            self._known[pointer] = self.count(self._at(pointer, place), place)
            self._under_way.pop()
        return self._known[pointer]

    def _at(self, pointer: str, place: Place) -> JsonValue:
        found: JsonValue = self._root
        for name in unquote(pointer).split("/")[1:]:
            key = name.replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise SchemaProblemError(f"{pointer!r} is nowhere in this schema.", place)
        return found


def _schemas_in(key: str, value: JsonValue) -> Iterator[tuple[Place, JsonValue]]:
    """Yield the schemas that a keyword holds, each with its place below it."""
    if key in _ONE:
        yield (), value
    elif key in _SEVERAL and isinstance(value, list):
        yield from (((at,), each) for at, each in enumerate(value))
    elif key in _BY_NAME and isinstance(value, dict):
        yield from (((name,), each) for name, each in value.items())


def _check_pattern(pattern: JsonValue, place: Place) -> None:
    try:
        matcher(str(pattern))
    except PatternError:
        problem = f"the pattern {shortened(repr(pattern))} is none, or takes more than one look"
        raise SchemaProblemError(f"{problem} at a text.", place) from None
