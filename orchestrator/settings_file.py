"""TOML files that the user writes: read strictly, and what is wrong in one is told with its place.

No value of them is ever shown: it may be a secret that was put in the wrong place.
"""

import re
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Generic, TypeVar  # Any: what TOML holds
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError

from orchestrator.errors import SettingsFileError
from orchestrator.spec_source import Place, line_of

ModelT = TypeVar("ModelT", bound=BaseModel)
ErrorT = TypeVar("ErrorT", bound=SettingsFileError)

_HEADER = re.compile(r"\s*\[\[?(.+?)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"\s*([^=#\[{]+?)\s*=")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class SettingsFile(Generic[ErrorT]):
    """What a file says, and on which line."""

    file: Path
    values: dict[str, Any]
    lines: Mapping[Place, int]
    fault: type[ErrorT]

    def error(self, problem: str, place: Place) -> ErrorT:
        """Return the error that says what is wrong at a place."""
        line = line_of(place, self.lines)
        return self.fault(problem, file=self.file, key=_key(place), line=line)

    def read_as(self, model: type[ModelT], about: Callable[[str, str, Place], str]) -> ModelT:
        """Return the values as a model.

        Args:
            model: What they have to fit.
            about: Returns what is wrong in a user's words, from the kind of a fault, Pydantic's
                words for it, and its place.

        Raises:
            SettingsFileError: They do not fit: the first fault.
        """
        try:
            return model.model_validate(self.values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            message = first["msg"].removeprefix("Value error, ")
            raise self.error(about(first["type"], message, first["loc"]), first["loc"]) from None


def read_settings(file: Path, fault: type[ErrorT]) -> SettingsFile[ErrorT] | None:
    """Return what a file says; None if there is none.

    Raises:
        SettingsFileError: If it cannot be read, or is not TOML.
    """
    try:
        text = file.read_text(encoding="utf-8")
        return SettingsFile(file, tomllib.loads(text), _lines(text), fault)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise fault(f"it cannot be read: {_reason(error)}", file=file) from None


def known_names(name: str, known: Collection[str], nothing: str) -> str:
    """Return the way out for a name that there is not: a near one, or those that there are."""
    near = get_close_matches(name, known, n=1)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there is: {', '.join(sorted(known))}" if known else nothing


def plain_url(url: str) -> str:
    """Return an address that holds no secret.

    Raises:
        ValueError: It is no http(s) address, or holds what may be one.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is no http(s) URL")
    if parts.username is not None or parts.password is not None or parts.query:
        raise ValueError("a URL holds no key, user or query here; keys are named by variables")
    return url


def _lines(text: str) -> Mapping[Place, int]:
    """Return on which line each table and key is first spoken of."""
    lines: dict[Place, int] = {}
    for place, line in _places(text):
        for depth in range(1, len(place) + 1):
            lines.setdefault(place[:depth], line)
    return lines


def _places(text: str) -> Iterator[tuple[Place, int]]:
    """Yield where tables and keys stand; what is in a text of several lines may pose as one."""
    table: Place = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            table = _path(header[1])
            yield table, number
        elif key := _KEY.match(line):
            yield (*table, *_path(key[1])), number


def _path(key: str) -> Place:
    """Return the names that a key of TOML holds, which may be quoted and dotted."""
    try:
        value: object = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    names: Place = ()
    while isinstance(value, dict):
        name, value = next(iter(value.items()))
        names = (*names, name)
    return names


def _key(place: Place) -> str | None:
    """Return a place as TOML writes it: `fallback."openai:x"[0]`."""
    key = ""
    for part in place:
        if isinstance(part, int):
            key += f"[{part}]"
        else:
            quoted = part if _BARE.fullmatch(part) else f'"{part}"'
            key += f".{quoted}" if key else quoted
    return key or None


def _reason(error: Exception) -> str:
    match error:
        case OSError():
            return (error.strerror or type(error).__name__).lower()
        case UnicodeDecodeError():
            return "it is no UTF-8 text"
        case _:
            return str(error)
