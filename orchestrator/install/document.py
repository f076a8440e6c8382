"""A settings text and what it says; each edit is read back before it counts."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from pydantic import JsonValue

Path = Sequence[str]
"""The names of the members that lead to one, from the outermost on."""


class Language(Protocol):
    """A language of settings; the modules `jsonc` and `toml` are two."""

    def read(self, text: str, /) -> JsonValue:
        """Return what a text says, or raise ValueError."""
        ...

    def put(self, text: str, path: Path, value: JsonValue, /) -> str:
        """Return the text with a member set, or raise ValueError."""
        ...

    def remove(self, text: str, path: Path, /) -> str:
        """Return the text without a member, or raise ValueError."""
        ...


@dataclass(frozen=True)
class Document:
    """A text of settings, which is an object; every error is a ValueError."""

    language: Language
    text: str
    plain: dict[str, JsonValue]

    @classmethod
    def parsed(cls, language: Language, text: str) -> Self:
        """Return the document of a text.

        Raises:
            ValueError: It is broken, or no object.
        """
        plain = language.read(text)
        if not isinstance(plain, dict):
            raise ValueError("the whole is not an object")
        return cls(language, text, plain)

    def get(self, path: Path) -> JsonValue:
        """Return a member; None where there is none.

        Raises:
            ValueError: What stands on the way is no object.
        """
        found: JsonValue = self.plain
        for depth, key in enumerate(path):
            if not isinstance(found, dict):
                raise ValueError(f"{'.'.join(path[:depth])!r} is not an object")
            found = found.get(key)
            if found is None:
                return None
        return found

    def put(self, path: Path, value: JsonValue) -> Self:
        """Return the document with a member set.

        Raises:
            ValueError: The text cannot be edited there.
        """
        expected, inner = self._copied_to(path)
        inner[path[-1]] = value
        return self._checked(self.language.put(self.text, path, value), expected, path)

    def remove(self, path: Path) -> Self:
        """Return the document without a member that is there.

        Raises:
            ValueError: The text cannot be edited there.
        """
        expected, inner = self._copied_to(path)
        inner.pop(path[-1], None)
        return self._checked(self.language.remove(self.text, path), expected, path)

    def _copied_to(self, path: Path) -> tuple[dict[str, JsonValue], dict[str, JsonValue]]:
        """Return a copy of what the document says, and the object in it that a path ends in."""
        whole = copy.deepcopy(self.plain)
        inner = whole
        for key in path[:-1]:
            inner = _object_in(inner, key)
        return whole, inner

    def _checked(self, text: str, expected: dict[str, JsonValue], path: Path) -> Self:
        changed = self.parsed(self.language, text)
        # In TOML the table around the last entry goes with it.
        if _without_empty(changed.plain, path[:-1]) != _without_empty(expected, path[:-1]):
            raise ValueError("it cannot be edited safely; change it by hand")
        return changed


def _object_in(around: dict[str, JsonValue], key: str) -> dict[str, JsonValue]:
    inner = around.setdefault(key, {})
    if not isinstance(inner, dict):
        raise ValueError(f"{key!r} is not an object")
    return inner


def _without_empty(plain: Mapping[str, JsonValue], path: Path) -> dict[str, JsonValue]:
    if not path:
        return {**plain}
    inner = plain.get(path[0])
    rest = _without_empty(inner, path[1:]) if isinstance(inner, dict) else inner
    others = {key: value for key, value in plain.items() if key != path[0]}
    return {**others, path[0]: rest} if rest else others
