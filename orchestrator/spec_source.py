"""YAML text → plain values, and the line on which each of them stands.

Pydantic AI drops unknown keys and YAML keeps the last of two equal ones; both are mistakes that a
user should hear of with the place where they are, so the places are kept.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import cast

import yaml
from pydantic import JsonValue

from orchestrator.errors import SpecError

Place = tuple[str | int, ...]
"""Keys and indices from the top of a document down to a value."""


class Trust(IntEnum):
    """How far a spec is trusted, by where it comes from: a spec is as powerful as code."""

    SHARED = 1
    """Kept on record by somebody else."""
    STORED = 2
    """Kept on record by its owner."""
    FILE = 3
    """On the disk of whoever runs it: it may say anything."""


@dataclass(frozen=True)
class Origin:
    """Where a spec comes from."""

    trust: Trust = Trust.FILE
    owner: str | None = None
    """Of a definition."""
    version: int | None = None
    """Of a definition."""


FROM_A_FILE = Origin()


def parse(text: str, file: Path) -> tuple[dict[str, JsonValue], Mapping[Place, int]]:
    """Return the mapping that `text` holds, and the line, from 1, of each place in it.

    Raises:
        SpecError: If the text is not YAML, not a mapping, or names a key twice.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            # A few hundred bytes of them can stand for gigabytes.
            raise SpecError("a spec does not use YAML aliases ('*name').", file=file)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        line = mark.line + 1 if mark else None
        raise SpecError(f"this is not YAML: {problem}.", file=file, line=line) from None
    except RecursionError:
        raise SpecError("the YAML is nested too deeply.", file=file) from None
    if not isinstance(node, yaml.MappingNode):
        raise SpecError("a spec is a mapping of keys to values.", file=file, line=1)
    lines: dict[Place, int] = {}
    for place, line in _places(node, ()):
        if place in lines:
            raise SpecError("the key is there twice.", file=file, line=line, field=dotted(place))
        lines[place] = line
    return cast(dict[str, JsonValue], values), lines  # safe_load yields plain values only


def parse_json(text: str, file: Path) -> dict[str, JsonValue]:
    """Return the mapping that JSON text holds.

    Raises:
        SpecError: If the text is not JSON, not a mapping, or names a key twice.
    """

    def once(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
        values = dict(pairs)
        if len(values) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise SpecError("the key is there twice.", file=file, field=twice)
        return values

    def refuse(constant: str) -> JsonValue:
        raise SpecError(f"{constant} is no number of JSON.", file=file)

    try:
        values = json.loads(text, object_pairs_hook=once, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise SpecError(f"this is not JSON: {error.msg}.", file=file, line=error.lineno) from None
    except RecursionError:
        raise SpecError("the JSON is nested too deeply.", file=file) from None
    except ValueError as error:  # a number of more digits than Python reads
        raise SpecError(f"this is not JSON: {error}.", file=file) from None
    if not isinstance(values, dict):
        raise SpecError("a spec is a mapping of keys to values.", file=file, line=1)
    return values


def lines_of_json(text: str) -> Mapping[Place, int]:
    """Return the line of each place of JSON text; none where YAML does not read it as well."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return {} if node is None else dict(_places(node, ()))
    except (yaml.YAMLError, RecursionError):  # tabs before a key
        return {}


def dotted(place: Place) -> str:
    """Write a place as a user reads it.

    >>> dotted(("capabilities", 0, "Budget", "requests"))
    'capabilities[0].Budget.requests'
    """
    written = ""
    for step in place:
        written += f"[{step}]" if isinstance(step, int) else f".{step}" if written else step
    return written


def line_of(place: Place, lines: Mapping[Place, int]) -> int | None:
    """Return the line of a place, or of the nearest place above it that the text has."""
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place)


def _places(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*place, str(key.value))
            yield inner, key.start_mark.line + 1
            yield from _places(value, inner)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            inner = (*place, index)
            yield inner, item.start_mark.line + 1
            yield from _places(item, inner)
