"""Markdown with front matter: YAML between two lines `---`, and text."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import yaml
from pydantic import JsonValue

from orchestrator.errors import SpecError
from orchestrator.formats.converted import Conversion
from orchestrator.spec_source import parse

_FENCE = "---"


def split(text: str, file: Path) -> tuple[dict[str, JsonValue], str, Conversion]:
    """Return the front matter, the text below it, and a conversion that has nothing yet.

    Raises:
        SpecError: If there is none, or it is not YAML.
    """
    first, *rest = text.removeprefix("\ufeff").splitlines()[:1], text.splitlines()[1:]
    if [line.rstrip() for line in first] != [_FENCE]:
        raise SpecError("the file does not begin with a line '---'.", file=file, line=1)
    below = rest[0]
    end = next((n for n, line in enumerate(below) if line.rstrip() == _FENCE), None)
    if end is None:
        raise SpecError("the front matter has no end, a line '---'.", file=file, line=1)
    # A line before it, so that each has the number that it has in the file.
    values, lines = parse("\n" + "\n".join(below[:end]) + "\n", file)
    return values, "\n".join(below[end + 1 :]).strip() + "\n", Conversion(file, lines)


def written(head: Mapping[str, JsonValue], body: str) -> str:
    """Return Markdown with front matter."""
    front = yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True, width=1000)
    return f"{_FENCE}\n{front}{_FENCE}\n\n{body.strip()}\n"


def names_in(value: JsonValue, key: str, into: Conversion) -> Iterator[str]:
    """Yield names that stand in a list, or in one text with commas between them.

    Raises:
        SpecError: It is neither.
    """
    if value is None:
        return
    if isinstance(value, str):
        yield from _parts(value)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield from (str(item).strip() for item in value)
    else:
        raise into.error((key,), "this is a list of names, or names with commas between them.")


def _parts(text: str) -> Iterator[str]:
    """Yield what stands between commas that are not in brackets."""
    part, depth = "", 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth <= 0:
            yield from filter(None, [part.strip()])
            part = ""
        else:
            part += char
    yield from filter(None, [part.strip()])
