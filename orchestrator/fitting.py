"""Whether a value fits a schema, within a bound: both may come from somebody who means no good.

Each keyword that is looked at takes a look, and more where there is more to look at. What takes too
many does not fit. Equality, uniqueness and patterns are ours: those of `jsonschema` take a time
that grows with the square of what they are given, or worse.
"""

import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sized
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any  # JSON as it comes

import jsonschema
from pydantic import JsonValue
from pydantic_core import SchemaError, SchemaValidator, core_schema
from referencing import Registry

from orchestrator.spec_source import Place

MAX_LOOKS = 200_000
"""At one value: some seconds at the most. 10,000 records of two fields take 130,000."""

MAX_MESSAGE_CHARS = 500
"""What does not fit is quoted this far: it can be the whole answer."""

_AT_ONCE = 50
"""Entries of an object or a list, or characters of a message, that are passed over in one look."""
_PLACES_AT_ONCE = 64
"""Characters of a text that a pattern passes over in one look, in each place that it can be at."""

_Check = Callable[[Any, Any, Any, Any], Iterator[jsonschema.ValidationError] | None]


class PatternError(Exception):
    """A pattern that is none, or cannot be matched in linear time."""


class _TooManyLooksError(Exception):
    """It has taken as long as it may."""


@dataclass
class _Looks:
    left: int = MAX_LOOKS

    def take(self, number: int) -> None:
        self.left -= number
        if self.left < 0:
            raise _TooManyLooksError


_looks: ContextVar[_Looks] = ContextVar("looks")


def first_misfit(schema: dict[str, JsonValue], value: JsonValue) -> tuple[Place, str] | None:
    """Return where a value does not fit a schema, and why; None if it fits."""
    token = _looks.set(_Looks())
    try:
        found = next(_Validator(schema, registry=Registry()).iter_errors(value), None)
    except _TooManyLooksError:
        return (), f"it takes more than {MAX_LOOKS:,} looks to compare it with the schema"
    except (OverflowError, RecursionError):  # a number or a depth that nobody means
        return (), "it cannot be compared with the schema"
    finally:
        _looks.reset(token)
    return None if found is None else (tuple(found.absolute_path), shortened(found.message))


def shortened(message: str) -> str:
    """Return a message without its middle, if it is long."""
    if len(message) <= MAX_MESSAGE_CHARS:
        return message
    return f"{message[: MAX_MESSAGE_CHARS // 2]} … {message[-MAX_MESSAGE_CHARS // 2 :]}"


@dataclass(frozen=True)
class Matcher:
    """A pattern, for an engine that cannot be made to wait."""

    compiled: SchemaValidator
    places: int
    """About how many a match can be at, at once: counted repetition multiplies them."""

    def matches(self, text: str) -> bool:
        """Say whether there is a match anywhere in a text."""
        _looks.get().take(len(text) * self.places // _PLACES_AT_ONCE)
        return self.compiled.isinstance_python(text)


@lru_cache(maxsize=1024)
def matcher(pattern: str) -> Matcher:
    """Return what matches a pattern.

    Raises:
        PatternError: It cannot be used.
    """
    try:
        schema = core_schema.str_schema(pattern=pattern, regex_engine="rust-regex")
        return Matcher(SchemaValidator(schema), _places_in(pattern))
    except SchemaError as error:
        raise PatternError from error


_TOKENS = re.compile(r"\\[pPxuU]\{[^}]*\}|\\.|\[\^?\]?[^\]]*\]|\{[^}]*\}|.", re.DOTALL)
_COUNT = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_SPREAD = re.compile(r"\(\?[A-Za-z-]*x")
"""The flag for patterns with spaces and comments, which are not told apart here."""


def _places_in(pattern: str) -> int:
    if _SPREAD.search(pattern):
        raise PatternError
    groups, last = [0], 0
    for token in _TOKENS.findall(pattern):
        if token == "(":
            groups.append(0)
        elif token == ")" and len(groups) > 1:
            last = groups.pop()
            groups[-1] += last
        elif count := _COUNT.fullmatch(token):
            times = max(int(count[1]), int(count[2] or 0), 1)
            groups[-1] += last * (times - 1)
            last *= times
        else:
            last = 1
            groups[-1] += last
    return sum(groups)


def _counted(check: _Check) -> _Check:
    def counted(
        validator: Any, value: Any, instance: Any, schema: Any
    ) -> Iterator[jsonschema.ValidationError]:
        looks = _looks.get()
        looks.take(1 + (_breadth(value) + _breadth(instance)) // _AT_ONCE)
        for error in check(validator, value, instance, schema) or ():
            looks.take(len(error.message) // _AT_ONCE)
            yield error

    return counted


def _breadth(value: Any) -> int:
    return len(value) if isinstance(value, Sized) and not isinstance(value, str) else 0


def _same(value: Any) -> Hashable:
    """Return what is equal for values that JSON has as equal, and for no others."""
    _looks.get().take(1)
    if isinstance(value, list):
        return tuple(map(_same, value))
    if isinstance(value, dict):
        return frozenset((key, _same(inner)) for key, inner in value.items())
    # JSON has 1 and 1.0 as equal, and not true and 1.
    plain: Hashable = (bool, value) if isinstance(value, bool) else value
    return plain


def _const(_validator: Any, const: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if _same(value) != _same(const):
        yield jsonschema.ValidationError(f"{const!r} was expected")


def _enum(_validator: Any, values: Any, value: Any, _schema: Any) -> Iterator[Any]:
    wanted = _same(value)
    if not any(wanted == _same(each) for each in values):
        yield jsonschema.ValidationError(f"{value!r} is not one of {values!r}")


def _unique(_validator: Any, wanted: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if wanted and isinstance(value, list) and len(set(map(_same, value))) < len(value):
        yield jsonschema.ValidationError(f"{value!r} has non-unique elements")


def _pattern(_validator: Any, pattern: Any, value: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(value, str) and not matcher(pattern).matches(value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _checks(theirs: Mapping[str, _Check]) -> dict[str, _Check]:
    ours = {"const": _const, "enum": _enum, "uniqueItems": _unique, "pattern": _pattern}
    return {keyword: _counted(check) for keyword, check in {**theirs, **ours}.items()}


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]  # as its stubs are
    jsonschema.Draft202012Validator, _checks(jsonschema.Draft202012Validator.VALIDATORS)
)
