"""JSON as people write it, with comments and trailing commas: what it says, and where.

What no host reads either (single quotes, names without quotes, two documents) is an error.
"""

import json
import re
from dataclasses import dataclass
from typing import NoReturn

from pydantic import JsonValue

_MAX_DEPTH = 100
_TOKEN = re.compile(
    r"""(?P<blank>[ \t\r\n]+ | //[^\r\n]* | /\*.*?\*/)
      | (?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")
      | (?P<mark>[{}\[\]:,])
      | (?P<word>[-+.0-9A-Za-z]+)""",
    re.DOTALL | re.VERBOSE,
)


@dataclass(slots=True)
class Node:
    """A value and where it stands; an object knows its members, in order."""

    start: int
    end: int
    plain: JsonValue
    members: "list[Member] | None" = None


@dataclass(slots=True)
class Member:
    """A name and its value."""

    key: str
    start: int
    value: Node
    comma: int | None = None
    """Where the comma behind it stands; the last member need not have one."""

    @property
    def end(self) -> int:
        """Where it ends, with its comma."""
        return self.value.end if self.comma is None else self.comma + 1


def scan(text: str) -> Node:
    """Return the one value of a text.

    Raises:
        ValueError: The text is not JSON; the message has the line.
    """
    scanner = _Scanner(text)
    node = scanner.value()
    if scanner.next_token():
        scanner.fail("there is more behind the end")
    return node


def end_of_comments(text: str, at: int) -> int:
    """Return where the last comment ends before the next token; `at` if there is none."""
    end = at
    while (match := _TOKEN.match(text, at)) and match.lastgroup == "blank":
        at = match.end()
        if not match[0].isspace():
            end = at
    return end


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def fail(self, problem: str) -> NoReturn:
        line = self._text.count("\n", 0, self._at) + 1
        raise ValueError(f"line {line}: {problem}")

    def next_token(self) -> str:
        """Return the token that is next, and stand before it; nothing at the end."""
        while match := _TOKEN.match(self._text, self._at):
            if match.lastgroup != "blank":
                return match[0]
            self._at = match.end()
        if self._at < len(self._text):
            self.fail(f"{self._text[self._at]!r} is not JSON")
        return ""

    def value(self) -> Node:
        token = self.next_token()
        if token not in ("{", "["):
            return self._scalar(token)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self.fail("it is nested too deeply")
        node = self._object() if token == "{" else self._array()
        self._depth -= 1
        return node

    def _scalar(self, token: str) -> Node:
        start = self._at
        try:
            plain: JsonValue = json.loads(token, parse_constant=_refuse)
        except ValueError:
            self.fail(
                "there should be a value" if token else "it ends too early"
            )  # shows no secret
        self._at += len(token)
        return Node(start, self._at, plain)

    def _object(self) -> Node:
        start, members = self._at, list[Member]()
        self._at += 1
        while self.next_token() != "}":
            self._check_comma(not members or members[-1].comma is not None)
            key = self._scalar(self.next_token())
            if not isinstance(key.plain, str):
                self.fail("a name must be text in quotes")
            if not self._passes(":"):
                self.fail("a colon is missing")
            member = Member(key.plain, key.start, self.value())
            if self._passes(","):
                member.comma = self._at - 1
            members.append(member)
        self._at += 1
        return Node(start, self._at, {each.key: each.value.plain for each in members}, members)

    def _array(self) -> Node:
        start, items = self._at, list[JsonValue]()
        self._at += 1
        is_parted = True
        while self.next_token() != "]":
            self._check_comma(is_parted)
            items.append(self.value().plain)
            is_parted = self._passes(",")
        self._at += 1
        return Node(start, self._at, items)

    def _check_comma(self, is_there: bool) -> None:
        if not is_there:
            self.fail("a comma is missing")

    def _passes(self, mark: str) -> bool:
        is_next = self.next_token() == mark
        self._at += is_next
        return is_next


def _refuse(constant: str) -> NoReturn:
    raise ValueError(constant)  # Python alone takes NaN for JSON
