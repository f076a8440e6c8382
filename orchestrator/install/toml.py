"""Members of a TOML file, set and removed where they stand; all else stays as it was written."""

import tomllib
from collections.abc import MutableMapping, Sequence
from typing import Any  # what tomlkit gives is a mapping or a value of many types

import tomlkit
from pydantic import JsonValue
from tomlkit.exceptions import TOMLKitError

from orchestrator.install.jsonc import newline_of


def read(text: str) -> JsonValue:
    """Return what a text says.

    Raises:
        ValueError: It is not TOML; the message has the line.
    """
    return tomllib.loads(text)


def put(text: str, path: Sequence[str], value: JsonValue) -> str:
    """Return the text with a member set, and the tables around it where they are missing.

    Raises:
        ValueError: The text is not TOML, or what stands on the way is no table.
    """
    document = _document(text)
    table: MutableMapping[str, Any] = document
    for depth, key in enumerate(path[:-1]):
        if key not in table:
            table[key] = tomlkit.table(is_super_table=True)
        table = _table(table[key], path[: depth + 1])
    if path[-1] in table and table[path[-1]] == value:
        return text
    table[path[-1]] = value
    return _printed(document, text)


def remove(text: str, path: Sequence[str]) -> str:
    """Return the text without a member.

    Raises:
        ValueError: As `put` does.
    """
    document = _document(text)
    table: MutableMapping[str, Any] = document
    for depth, key in enumerate(path[:-1]):
        if key not in table:
            return text
        table = _table(table[key], path[: depth + 1])
    if path[-1] not in table:
        return text
    del table[path[-1]]
    # The blank line that has parted a last table from the others goes with it.
    after, end = _printed(document, text), newline_of(text)
    return after.removesuffix(end) if after.endswith(2 * end) else after


def _document(text: str) -> tomlkit.TOMLDocument:
    tomllib.loads(text)  # it tells the line, and takes nothing that is not TOML
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ValueError(str(error)) from None


def _table(found: object, path: Sequence[str]) -> MutableMapping[str, Any]:
    if not isinstance(found, MutableMapping):
        raise ValueError(f"{'.'.join(path)!r} is not a table")
    return found


def _printed(document: tomlkit.TOMLDocument, before: str) -> str:
    text = tomlkit.dumps(document)
    if newline_of(before) == "\n":
        return text
    return text.replace("\r\n", "\n").replace("\n", "\r\n")
