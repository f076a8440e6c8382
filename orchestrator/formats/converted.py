"""What comes of reading an agent that another program keeps: a spec's values, and what is lost."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Self

from pydantic import JsonValue

from orchestrator.errors import SpecError
from orchestrator.spec_source import Place, dotted, line_of

READING = ("read_file", "list_directory", "find_files", "grep", "file_info", "read_files")
"""Tools that need something readable and nothing writable."""

_TEMPLATE = re.compile(r"(?<!\\)\{\{")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9]+")


@dataclass
class Conversion:
    """A spec's values as they come together, and what is said about it, line by line."""

    file: Path
    lines: Mapping[Place, int]
    """Of the values as they stand in the file; none once they have become others."""
    values: dict[str, JsonValue] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, place: Place, text: str) -> None:
        """Say what has become of something."""
        line = line_of(place, self.lines)
        where = f"line {line}: " if line else ""
        self.notes.append(f"{where}{dotted(place)}: {text}")

    def error(self, place: Place, problem: str) -> SpecError:
        """Return the error that says what is wrong at a place."""
        line = line_of(place, self.lines)
        return SpecError(problem, file=self.file, line=line, field=dotted(place) or None)

    def without_lines(self) -> Self:
        """Return it when it has come to its end: its values stand in no file."""
        return replace(self, lines={})

    def refuse_unknown(self, given: Iterable[str], known: Iterable[str]) -> None:
        """Refuse keys that the format does not have.

        Raises:
            SpecError: There is one; the near ones are named.
        """
        names = sorted(known)
        for key in given:
            if key not in names:
                near = get_close_matches(key, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(names)}."
                raise self.error((key,), f"there is no such key; {hint}")

    def text(self, values: Mapping[str, JsonValue], key: str, *, default: str | None = None) -> str:
        """Return a text.

        Raises:
            SpecError: It is missing and has no default, or is something else.
        """
        value = values.get(key, default)
        if value is None:
            raise self.error((key,), "the key is missing.")
        if not isinstance(value, str):
            raise self.error((key,), f"this is text, not {value!r}.")
        return value

    def name(self, written: str, place: Place = ("name",)) -> str:
        """Return the name of an agent, made one that a spec can have."""
        made = _NOT_IN_NAMES.sub("_", written.lower()).strip("_")[:64]
        if not made[:1].isalpha():
            made = f"agent_{made}".rstrip("_")[:64]
        if made != written:
            self.note(place, f"{written!r} is called {made!r} here.")
        return made

    def instructions(self, text: str, place: Place) -> str:
        """Return instructions without templates: what looks like one is text in other formats."""
        if _TEMPLATE.search(text):
            self.note(place, "'{{' is text here and is written '\\{{'; see deps_schema for inputs.")
        return _TEMPLATE.sub(r"\\{{", text)

    def give_hands(self, tools: Iterable[str], place: Place) -> None:
        """Grant tools of the workspace, on all of the root: other formats know no paths."""
        named = list(dict.fromkeys(tools))
        if not named:
            return
        grant: dict[str, JsonValue] = {"tools": [*named], "read": ["**"]}
        if any(tool not in READING for tool in named):
            grant["write"] = ["**"]
            self.note(place, "it may write anywhere in the root; narrow WorkspaceTools.write.")
        self.add_capability("WorkspaceTools", grant)

    def add_capability(self, name: str, arguments: JsonValue) -> None:
        """Add a capability with its arguments."""
        entries = self.values.setdefault("capabilities", [])
        assert isinstance(entries, list), "nothing else is put there"
        entries.append({name: arguments})
