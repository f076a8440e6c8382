r"""Replacing exact text as the caller sees it: lines end with LF, a stray byte reads `\xe9`.

What is replaced is found in one of these readings of the caller's text, the first that is there:

1. to the letter, when it holds CRLF: that is how line endings can be changed on purpose;
2. with LF for CRLF on both sides: the new text gets the endings of its place;
3. with `\xe9` for a byte that is not UTF-8, as all tools show it;
4. without the line numbers of `read_file`, when each line has one and the text stands once, at the
   line that the first number says. Anywhere else that is a guess, and an error instead.

Nothing else is guessed: all other bytes of the file stay as they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from dataclasses import replace as with_changes

from mcp_server.errors import EditConflictError, InvalidInputError, LimitError
from mcp_server.fence.texts.content import line_ends
from mcp_server.fence.texts.diffs import common_end, common_start
from mcp_server.fence.texts.nearest import nearest
from mcp_server.text import SURROGATE, counted, shown, unescaped_bytes

_MAX_CHARS = 100_000_000  # of a text that has grown: a short one that is everywhere can do that
_SHOWN_LINES = 10
_STEPS = 1000  # matches between two looks at the clock
_NUMBERED = tuple(re.compile(f" *([0-9]{{1,9}}){end}") for end in ("\t", "→", "(?:: |:$)"))
"""Lines as read_file shows them, and as other tools do."""

Check = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """Text of one file, and what to put in its place."""

    path: str
    old_string: str
    new_string: str
    replace_all: bool = False
    """Replace it wherever it stands, not only once."""


def _go_on() -> None:
    """Be the check of one who has no deadline."""


def apply(text: str, edits: Mapping[int, Edit], of: int, check: Check = _go_on) -> str:
    """Return the text of a file after several edits, each on the result of the one before.

    Args:
        text: the text of the file.
        edits: the edits of this file, by their number in the call, counted from 1.
        of: how many edits the call has; when there are several, errors name the one they mean.
        check: called now and then; raises when there is no more time.

    Raises:
        EditConflictError: a text to replace is not there, or not just once.
        InvalidInputError: an edit makes no sense.
        LimitError: the text would become too long.
    """
    for number, edit in edits.items():
        try:
            text = replace(text, edit, check)
        except InvalidInputError as error:
            if of == 1:
                raise
            raise type(error)(f"Edit {number} of {of}: {error}") from error
    return text


def replace(text: str, edit: Edit, check: Check = _go_on) -> str:
    """Return `text` after one edit.

    Raises:
        EditConflictError: the text to replace is not there, or not just once.
        InvalidInputError: the edit makes no sense.
        LimitError: the text would become too long.
    """
    there, reading = _found(text, edit, check)
    return _replaced(text, there, reading, check)


def count(text: str, edit: Edit) -> int:
    """Return how many times `replace` replaces something; raises what it raises."""
    there, reading = _found(text, edit, _go_on)
    return there.count(reading.old_string) if edit.replace_all else 1


def _found(text: str, edit: Edit, check: Check) -> tuple[str, Edit]:
    """Return how the edit is read, and what its text is in: the text itself or as it is seen."""
    _refuse_senseless(edit)
    seen = text.replace("\r\n", "\n")
    for there, reading in _readings(text, seen, edit):
        check()
        if reading.old_string in there:
            _refuse_unclear(there, reading)
            return there, reading
    numbered = _unnumbered(edit)
    if numbered is None:
        raise _not_there(seen, _with_lf(edit), "", check)
    first, reading = numbered
    if reading.old_string not in seen:
        note = " Leave out its line numbers: they are not part of the file."
        raise _not_there(seen, reading, note, check)
    places = _lines_of(seen, reading.old_string)
    if places == [first] and _starts_a_line(seen, reading.old_string):
        _refuse_unclear(seen, reading)
        return seen, reading
    raise EditConflictError(
        f"Each line of old_string starts with a number, which is not part of {shown(edit.path)}. "
        f"Without the numbers it begins at {_named(places)}: send it without them."
    )


def _refuse_senseless(edit: Edit) -> None:
    if not edit.old_string:
        raise InvalidInputError(
            f"old_string is empty. To add text to {shown(edit.path)}, give as old_string the line "
            "beside it, and as new_string that line with the text. To create or fill a file, use "
            "write_file."
        )
    if edit.old_string == edit.new_string:
        raise InvalidInputError(
            "old_string and new_string are the same, so there is nothing to change."
        )
    for name, value in (("old_string", edit.old_string), ("new_string", edit.new_string)):
        if "\0" in value or SURROGATE.search(value):
            raise InvalidInputError(f"{name} is not text: it holds a NUL or a lone surrogate.")


def _readings(text: str, seen: str, edit: Edit) -> Iterator[tuple[str, Edit]]:
    """Yield what to look for, and where, in the order in which it is taken."""
    old = edit.old_string
    # One that began or ended between CR and LF would tear a line end apart.
    if "\r\n" in old and not old.startswith("\n") and not old.endswith("\r"):
        yield text, edit
    plain = _with_lf(edit)
    yield seen, plain
    stray = unescaped_bytes(plain.old_string)
    if stray != plain.old_string and SURROGATE.search(seen):
        new = unescaped_bytes(plain.new_string)
        yield seen, with_changes(plain, old_string=stray, new_string=new)


def _with_lf(edit: Edit) -> Edit:
    return with_changes(
        edit,
        old_string=edit.old_string.replace("\r\n", "\n"),
        new_string=edit.new_string.replace("\r\n", "\n"),
    )


def _unnumbered(edit: Edit) -> tuple[int, Edit] | None:
    """Return the edit without pasted line numbers, and the first of them; None without any."""
    plain = _with_lf(edit)
    for pattern in _NUMBERED:
        old = _stripped(plain.old_string, pattern)
        if old is None or any(n != old[0][0] + index for index, n in enumerate(old[0])):
            continue
        new = _stripped(plain.new_string, pattern)
        if new is None and any(map(pattern.match, plain.new_string.split("\n"))):
            raise EditConflictError(
                "Lines of old_string and some of new_string start with line numbers, which are not "
                "part of the file. Send both without them."
            )
        new_string = plain.new_string if new is None else new[1]
        return old[0][0], with_changes(plain, old_string=old[1], new_string=new_string)
    return None


def _stripped(text: str, pattern: re.Pattern[str]) -> tuple[list[int], str] | None:
    """Return the numbers of the lines and the lines without them; None if a line has none."""
    numbers: list[int] = []
    lines: list[str] = []
    for line in text.removesuffix("\n").split("\n"):
        match = pattern.match(line)
        if match is None:
            return None
        numbers.append(int(match[1]))
        lines.append(line[match.end() :])
    return numbers, "\n".join(lines) + "\n" * text.endswith("\n")


def _refuse_unclear(there: str, edit: Edit) -> None:
    """Refuse an edit that would change nothing, or could mean another place than it does."""
    if edit.old_string == edit.new_string:
        raise InvalidInputError(
            "old_string and new_string differ in line endings alone, and those of the file are "
            "kept. To turn CRLF into LF, send old_string with CRLF; to turn LF into CRLF, send the "
            "whole file to write_file."
        )
    places = [] if edit.replace_all else _lines_of(there, edit.old_string)
    if len(places) > 1:
        total = max(len(places), there.count(edit.old_string))
        raise EditConflictError(
            f"old_string stands {total} times in {shown(edit.path)}: {_named(places)}. Add lines "
            "before or after it until it stands there once, or set replace_all to true to replace "
            "it everywhere."
        )


def _lines_of(there: str, old: str) -> list[int]:
    """Return the lines in which the first few places of `old` begin; they may overlap."""
    lines: list[int] = []
    line, counted_to, place = 1, 0, there.find(old)
    while place >= 0 and len(lines) <= _SHOWN_LINES:
        line += there.count("\n", counted_to, place)
        lines.append(line)
        counted_to, place = place, there.find(old, place + 1)
    return lines


def _named(lines: list[int]) -> str:
    some = ", ".join(map(str, dict.fromkeys(lines[:_SHOWN_LINES])))
    noun = "line" if some.isdigit() else "lines"
    return f"{noun} {some}{' and more' if len(lines) > _SHOWN_LINES else ''}"


def _starts_a_line(there: str, old: str) -> bool:
    place = there.find(old)
    return place == 0 or there[place - 1] == "\n"


def _not_there(seen: str, edit: Edit, note: str, check: Check) -> EditConflictError:
    if not seen:
        return EditConflictError(
            f"File {shown(edit.path)} is empty. Write its content with write_file."
        )
    if edit.old_string.endswith("\r") and edit.old_string[:-1] + "\n" in seen:
        note = " It ends between CR and LF: leave out the CR, or add the LF."
    near = nearest(seen, edit.old_string, check)
    return EditConflictError(f"old_string is not in {shown(edit.path)}.{note} {near}")


def _replaced(text: str, there: str, edit: Edit, check: Check) -> str:
    old, new = edit.old_string, edit.new_string
    times = there.count(old) if edit.replace_all else 1
    growth = times * (len(new) - len(old))
    if growth > 0 and len(there) + growth > _MAX_CHARS:
        raise LimitError(
            f"The edit would add {growth} characters to {shown(edit.path)}: old_string stands "
            f"{counted(times, 'time')} in it. Replace less.",
            limit=_MAX_CHARS,
            actual=len(there) + growth,
            unit="characters",
        )
    if len(there) == len(text):  # nothing in it looks different to the caller
        return there.replace(old, new, times)
    if line_ends(text) == "CRLF":
        return there.replace(old, new, times).replace("\n", "\r\n")
    return "".join(_spliced(text, there, edit, times, check))


def _spliced(text: str, seen: str, edit: Edit, times: int, check: Check) -> Iterator[str]:
    """Yield the pieces of a text whose line endings are mixed, found in it as it is seen."""
    old, new = edit.old_string, edit.new_string
    # What both begin and end with stays as it is, with the line endings that it has.
    head = common_start(old, new)
    tail = common_end(old[head:], new[head:])
    core, size = new[head : len(new) - tail], len(old) - head - tail
    at = at_seen = match = 0
    line_end, ending = -1, "\n"
    for number in range(times):
        if number % _STEPS == 0:
            check()
        match = seen.find(old, match)
        begin = _further(text, at, match + head - at_seen)
        end = _further(text, begin, size)
        if line_end < begin:
            line_end, ending = _line_end(text, begin)
        yield text[at:begin]
        yield core.replace("\n", ending)
        match += len(old)
        at, at_seen = end, match - tail
    yield text[at:]


def _further(text: str, at: int, distance: int) -> int:
    """Return the place in `text` that is `distance` characters after `at`, CRLF being one."""
    while distance:
        end = at + distance
        if text.startswith("\r\n", end - 1):
            end += 1
        distance -= end - at - text.count("\r\n", at, end)
        at = end
    return at


def _line_end(text: str, place: int) -> tuple[int, str]:
    """Return where the line at `place` ends, and how; a last line without an end has the last."""
    line_end = text.find("\n", place)
    newline = text.rfind("\n") if line_end < 0 else line_end
    ending = "\r\n" if newline > 0 and text[newline - 1] == "\r" else "\n"
    return (len(text) if line_end < 0 else line_end), ending
