"""What stands in a text instead of the text that a caller expected, and how the two differ.

The work is bounded: a few fragments of what was expected are looked for as they are, which is fast
in a text of any size, and only the lines around them are compared.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from itertools import islice

from mcp_server.fence.texts.diffs import common_start
from mcp_server.text import counted, printable_line

_MAX_LINES = 40  # of what was expected, from its start, that are looked for and compared
_MAX_CHARS = 500  # of a line that are compared
_MAX_SEEDS = 12
_MAX_PLACES = 12  # in which one fragment is looked at
_MAX_FOLDED = 1_000_000  # characters of a text that is searched without regard to case and the like
_ALIKE_ENOUGH = 0.9
_LEAD_CHARS = 100
_MIN_ALIKE = 0.4  # of the words; below that, what is near is another thing
_SHOWN_LINES = 12
_SHOWN_CHARS = 300
_SHOWN_DIFFERENCES = 3

_WORD = re.compile(r"\w{3,}")
_INNER_SPACES = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)|(?<=\S)\t(?=\S)")
# Accents are put in order in a time that grows with the square of how many follow each other.
_ACCENTED = re.compile(r"[\x00-\x7f]?[^\x00-\x7f]{1,100}")
# The pairs of apply_patch in openai/codex (seek_sequence.rs), and what cannot be seen at all.
_SPACES = dict.fromkeys([0xA0, *range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000], " ")
_UNSEEN = dict.fromkeys([0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0xAD])
_MARKS = (
    dict.fromkeys(range(0x2018, 0x201C), "'")
    | dict.fromkeys(range(0x201C, 0x2020), '"')
    | dict.fromkeys([*range(0x2010, 0x2016), 0x2212], "-")
)


def _translated(special: Mapping[int, str | None], line: str) -> str:
    return line.translate(special)


def _composed(line: str) -> str:
    return _ACCENTED.sub(lambda match: unicodedata.normalize("NFC", match[0]), line)


_SPECIAL: dict[str, Mapping[int, str | None]] = {
    "kinds of spaces": _SPACES,
    "invisible characters": _UNSEEN,
    "quotation marks or dashes": _MARKS,
}

_FOLDS: dict[str, Callable[[str], str]] = {
    **{name: partial(_translated, special) for name, special in _SPECIAL.items()},
    "composed accents (NFC, NFD)": _composed,
    "upper and lower case": str.casefold,
    "spaces between words": lambda line: _INNER_SPACES.sub(" ", line),
    "indentation": lambda line: line.lstrip(" \t"),
    "spaces at the end": lambda line: line.rstrip(" \t"),
}
"""What lines can differ in without looking different, and what takes it away; in this order."""


def nearest(text: str, expected: str, check: Callable[[], None]) -> str:
    """Return, for the caller who sent it, what is in `text` instead of `expected`.

    Both with LF as line end. `check` is called now and then and raises when there is no time left.
    """
    if (line := _double_escaped(text, expected)) is not None:
        return (
            'It holds escapes such as \\n or \\" as two characters; with real ones in their place '
            f"it stands at line {line}. Send it so."
        )
    wanted = expected[: _MAX_LINES * _MAX_CHARS].split("\n")[:_MAX_LINES]
    best, best_score = -1, _MIN_ALIKE
    for way in (_starts_by_lines, _starts_by_folded_lines, _starts_by_words):
        for start in dict.fromkeys(way(text, wanted)):
            check()
            score = _likeness(_lines_at(text, start, len(wanted)), wanted)
            if score > best_score:
                best, best_score = start, score
        if best_score > _ALIKE_ENOUGH:
            break
    if best < 0:
        return "Nothing in the file is like it: read the file, and copy from what it holds now."
    if len(expected) > len("\n".join(wanted)):
        return _described_from_mismatch(text, best, expected)
    return _described(text, best, wanted)


def _double_escaped(text: str, expected: str) -> int | None:
    if "\\" not in expected:
        return None
    plain = expected.replace("\\n", "\n").replace("\\t", "\t").replace('\\"', '"')
    place = text.find(plain)
    return None if place < 0 else text.count("\n", 0, place) + 1


def _starts_by_lines(text: str, wanted: list[str]) -> Iterator[int]:
    """Yield where in `text` the lines begin that could be meant by the `wanted` ones."""
    return _seeded(text, [(line.strip(), number) for number, line in enumerate(wanted)])


def _starts_by_folded_lines(text: str, wanted: list[str]) -> Iterator[int]:
    if len(text) <= _MAX_FOLDED:
        folded = _fold(text)
        for start in _seeded(folded, [(_fold(line), n) for n, line in enumerate(wanted)]):
            yield _start_of(text, folded.count("\n", 0, start))


def _starts_by_words(text: str, wanted: list[str]) -> Iterator[int]:
    return _seeded(
        text, [(word, n) for n, line in enumerate(wanted) for word in _WORD.findall(line)]
    )


def _seeded(text: str, seeds: list[tuple[str, int]]) -> Iterator[int]:
    """Yield where a seed's line begins in `text`, less the wanted lines before it."""
    longest = sorted(dict(reversed(seeds)).items(), key=lambda seed: len(seed[0]), reverse=True)
    for fragment, number in longest[:_MAX_SEEDS]:
        seed = fragment[:_MAX_CHARS]
        place = text.find(seed) if seed else -1
        for _ in range(_MAX_PLACES):
            if place < 0:
                break
            start = _lines_before(text, place, number)
            # Of a very long line only the part around the place.
            yield start if number else max(start, place - _LEAD_CHARS)
            place = text.find(seed, place + len(seed))


def _lines_before(text: str, place: int, count: int) -> int:
    """Return where the line begins that is `count` lines before the one at `place`."""
    start = text.rfind("\n", 0, place) + 1
    for _ in range(count):
        start = text.rfind("\n", 0, max(0, start - 1)) + 1
    return start


def _start_of(text: str, number: int) -> int:
    start = 0
    for _ in range(number):
        start = text.find("\n", start) + 1
    return start


def _lines_at(text: str, start: int, count: int) -> list[str]:
    return list(islice(_lines_from(text, start), count))


def _lines_from(text: str, start: int) -> Iterator[str]:
    while start <= len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield text[start : min(end, start + _MAX_CHARS)]
        start = end + 1


def _likeness(lines: list[str], wanted: list[str]) -> float:
    """Return how much of the `wanted` lines is in `lines`, from 0 to 1."""
    total = alike = 0.0
    for number, line in enumerate(wanted):
        weight = len(line.strip()[:_MAX_CHARS])
        total += weight
        if number < len(lines):
            alike += weight * _shared(_fold(lines[number]), _fold(line[:_MAX_CHARS]))
    return alike / total if total else 0


def _shared(line: str, wanted: str) -> float:
    if wanted in line:
        return 1
    words = set(_WORD.findall(wanted))
    return len(words & set(_WORD.findall(line))) / len(words) if words else 0


def _fold(line: str, without: str = "") -> str:
    for name, fold in _FOLDS.items():
        if name != without:
            line = fold(line)
    return line


def _described_from_mismatch(text: str, start: int, expected: str) -> str:
    """Describe what is too long to be shown from the first line on that differs."""
    start = max(start, text.find(expected[:_MAX_CHARS], start))
    same = common_start(text[start : start + len(expected)], expected)
    cut = expected.rfind("\n", 0, same) + 1
    rest = expected[cut:].split("\n")[:_MAX_LINES]
    said = _described(text, start + cut, rest)
    return (
        f"Line {expected.count(chr(10), 0, cut) + 1} of old_string is the first to differ. {said}"
    )


def _described(text: str, start: int, wanted: list[str]) -> str:
    held = _lines_at(text, start, len(wanted))
    first = text.count("\n", 0, start) + 1
    differences = [(n, said) for n in range(len(wanted)) if (said := _difference(held, wanted, n))]
    notes = [f"line {first + n}: {said}" for n, said in differences[:_SHOWN_DIFFERENCES]]
    if len(differences) > len(notes):
        notes.append("and more lines")
    begin = 0
    if len(held) > _SHOWN_LINES and differences:
        begin = max(0, differences[0][0] - _SHOWN_LINES // 2)
    rows = held[begin : begin + _SHOWN_LINES]
    last = first + begin + len(rows) - 1
    place = f"line {last} is" if len(rows) == 1 else f"lines {first + begin}-{last} are"
    return (
        f"The nearest text, from line {first} on, differs in {'; '.join(notes) or 'a long line'}. "
        f"In the file {place}:\n" + "\n".join(map(_shown_line, rows))
    )


def _difference(held: list[str], wanted: list[str], number: int) -> str:
    """Return in words how a line of the file differs from the wanted one; "" if it does not."""
    if number >= len(held):
        return "the file ends before it"
    one, other = held[number], wanted[number][:_MAX_CHARS]
    fits = _fitting(is_first=number == 0, is_last=number == len(wanted) - 1)
    if fits(one, other):
        return ""
    if not fits(_fold(one), _fold(other)):
        return "other text"
    names = [name for name in _FOLDS if not fits(_fold(one, name), _fold(other, name))]
    return ", ".join(_detailed(name, one, other) for name in names) or "white space"


def _fitting(*, is_first: bool, is_last: bool) -> Callable[[str, str], bool]:
    """Return what tells whether a wanted line is what a line of the file has at its place."""
    if is_first and is_last:
        return str.__contains__
    if is_first:
        return str.endswith
    return str.startswith if is_last else str.__eq__


def _detailed(name: str, held: str, wanted: str) -> str:
    if name == "indentation":
        kinds = [_blanks(line[: len(line) - len(line.lstrip(" \t"))]) for line in (held, wanted)]
    elif name == "spaces at the end":
        kinds = [_blanks(line[len(line.rstrip(" \t")) :]) for line in (held, wanted)]
    elif name in _SPECIAL:
        kinds = [_changed(line, _SPECIAL[name]) for line in (held, wanted)]
    else:
        return name
    return f"{name} ({kinds[0]} in the file, {kinds[1]} in old_string)"


def _blanks(blanks: str) -> str:
    runs = [(run[0][0], len(run[0])) for run in re.finditer(r" +|\t+", blanks)]
    names = {" ": "space", "\t": "tab"}
    return " and ".join(counted(count, names[kind]) for kind, count in runs) or "none"


def _changed(line: str, special: Collection[int]) -> str:
    codes = dict.fromkeys(ord(character) for character in line if ord(character) in special)
    return " ".join(f"U+{code:04X}" for code in codes) or "plain"


def _shown_line(line: str) -> str:
    return printable_line(line[:_SHOWN_CHARS]) + "…" * (len(line) > _SHOWN_CHARS)
