"""Members of a JSON file, set and removed where they stand; all else stays as it was written.

The comments and the layout of a settings file are its owner's, so nothing is printed anew: what
changes is cut out or put in at its place.
"""

import json
import re
from collections.abc import Sequence

from pydantic import JsonValue

from orchestrator.install.scanner import Member, Node, end_of_comments, scan


def read(text: str) -> JsonValue:
    """Return what a text says; an empty one is an empty object.

    Raises:
        ValueError: It is not JSON; the message has the line.
    """
    return scan(text).plain if text.strip() else {}


def put(text: str, path: Sequence[str], value: JsonValue) -> str:
    r"""Return the text with a member set, and the objects around it where they are missing.

    >>> print(put('{\n  "a": 1 // one\n}', ["b", "c"], 2))
    {
      "a": 1, // one
      "b": {
        "c": 2
      }
    }

    Raises:
        ValueError: The text is not JSON, what stands on the way is no object, or a name on the
            way stands there twice: programs differ in which one they take.
    """
    text = text if text.strip() else "{}" + newline_of(text)
    node = scan(text)
    for depth, key in enumerate(path):
        member = _member(node, path[:depth], key)
        if member is None:
            for name in reversed(path[depth + 1 :]):
                value = {name: value}
            return _inserted(text, node, key, value)
        node = member.value
    if node.plain == value:
        return text
    is_inline = "\n" not in text[node.start : node.end]
    new = _printed(text, value, None if is_inline else _indent(text, node.start))
    return text[: node.start] + new + text[node.end :]


def remove(text: str, path: Sequence[str]) -> str:
    """Return the text without a member; the comments around it stay.

    Raises:
        ValueError: As `put` does.
    """
    node = scan(text)
    member = None
    for depth, key in enumerate(path):
        member = _member(node, path[:depth], key)
        if member is None:
            return text
        if depth < len(path) - 1:
            node = member.value
    return text if member is None else _cut(text, node, member)


def newline_of(text: str) -> str:
    """Return how lines of a text end."""
    return "\r\n" if "\r\n" in text else "\n"


def _member(node: Node, path: Sequence[str], key: str) -> Member | None:
    where = repr(".".join(path)) if path else "the whole"
    if node.members is None:
        raise ValueError(f"{where} is not an object")
    found = [member for member in node.members if member.key == key]
    if len(found) > 1:
        raise ValueError(f"{where} has {key!r} twice")
    return found[0] if found else None


def _inserted(text: str, node: Node, key: str, value: JsonValue) -> str:
    members = node.members or []
    last = members[-1] if members else None
    behind = node.start + 1 if last is None else last.end
    place = end_of_comments(text, behind)  # what is said of the last member stays with it
    is_inline = bool(members) and "\n" not in text[node.start : node.end]
    base = _indent(text, node.start)
    inside = base + _unit(text)
    if members and "\n" in text[node.start : members[0].start]:
        inside = _indent(text, members[0].start)
    lead = " " if is_inline else newline_of(text) + inside
    new = f"{json.dumps(key, ensure_ascii=False)}: "
    new += _printed(text, value, None if is_inline else inside)
    comma = "," if last is not None and last.comma is None else ""
    if last is not None and last.comma is not None:
        new += ","
    rest = text[place:]  # the closing brace gets a line of its own, if it has none
    if not is_inline and "\n" not in text[place : node.end]:
        rest = newline_of(text) + base + text[node.end - 1 :]
    return text[:behind] + comma + text[behind:place] + lead + new + rest


def _cut(text: str, node: Node, member: Member) -> str:
    members = node.members or []
    number = members.index(member)
    start, end = member.start, member.end
    before = text[:start].rstrip(" \t\r\n")
    gap = text[len(before) : start]
    if re.match(r"[ \t]*\r?\n", text[end:]) or ("\n" not in gap and number > 0):
        start = len(before)  # its line goes with it, unless something else stands behind it there
    elif number == 0 and len(members) > 1 and text[end] == " ":
        end += 1
    if not (text[node.start + 1 : start] + text[end : node.end - 1]).strip():
        return text[: node.start] + "{}" + text[node.end :]
    # The last member has taken the comma away from the one before it.
    dangling = members[number - 1].comma if number and member.comma is None else None
    if dangling is None:
        return text[:start] + text[end:]
    return text[:dangling] + text[dangling + 1 : start] + text[end:]


def _printed(text: str, value: JsonValue, indent: str | None) -> str:
    """Return a value in the style of a text: on one line, or on several from `indent` on."""
    if indent is None:
        return json.dumps(value, ensure_ascii=False)
    printed = json.dumps(value, ensure_ascii=False, indent=_unit(text))
    return printed.replace("\n", newline_of(text) + indent)


def _indent(text: str, at: int) -> str:
    """Return the blanks that the line of a place begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    found = re.search(r'^([ \t]+)"', text, re.MULTILINE)
    return found[1] if found else "  "
