"""What a change has done to a text, as a small diff: bounded in bytes and in time."""

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO

from mcp_server.text import count_lines, counted, printable_line, rows_that_fit

MAX_DIFF_BYTES = 4096
"""Bytes of one diff: enough to see what was done, and little beside the file."""
_CONTEXT = 3  # lines around a change, as in every unified diff
_LINE_CHARS = 300
_LEAD_CHARS = 60  # of a long line, shown ahead of the place that differs
_MAX_LINES = 200_000  # of both texts that are looked at one by one
_MAX_PAIRS = 4_000_000  # of one line of each: aligning takes as long as there are pairs

Lines = Sequence[str]


@dataclass(frozen=True, slots=True)
class _Change:
    """Lines of one text, from `old` to `old_end`, that have become lines of the other."""

    old: int
    old_end: int
    new: int
    new_end: int


def common_start(one: str, other: str) -> int:
    """Return how many characters at the start of two texts are the same.

    >>> common_start("abc", "abd"), common_start("", "a"), common_start("ab", "abc")
    (2, 0, 2)
    """
    low, high = 0, min(len(one), len(other))
    while low < high:  # by halves: comparing slices is a hundred times faster than a loop
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def common_end(one: str, other: str) -> int:
    """Return how many characters at the end of two texts are the same.

    >>> common_end("abc", "xbc"), common_end("", "a"), common_end("bc", "abc")
    (2, 0, 2)
    """
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[len(one) - middle : len(one) - low] == other[len(other) - middle : len(other) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def diff(before: str, after: str, *, max_bytes: int = MAX_DIFF_BYTES) -> str:
    r"""Return the unified diff of two texts, without file names; empty when they are the same.

    What does not fit into `max_bytes` is left out, and the last line says how many lines that is.
    Of texts that differ all over in their number of lines it says only how many differ.

    >>> print(diff("one\ntwo\n", "one\n2\n"))
    @@ -1,2 +1,2 @@
     one
    -two
    +2
    """
    if before == after:
        return ""
    start, end, new_end = _middle(before, after)
    first = before.count("\n", 0, start) + 1
    size, new_size = count_lines(before[start:end]), count_lines(after[start:new_end])
    if size + new_size > _MAX_LINES or (size != new_size and size * new_size > _MAX_PAIRS):
        return (
            f"@@ -{_range(first, size)} +{_range(first, new_size)} @@\n"
            f"… {counted(size, 'line')} replaced by {counted(new_size, 'line')}"
        )
    old, new = _lines(before[start:end]), _lines(after[start:new_end])
    changes = list(_changes(old, new))
    ends = {line[-2:] for line in _changed(old, new, changes) if line.endswith("\n")}
    hidden = "\r\n" if ends == {"\r\n"} else "\n"  # CR is shown where it makes a difference
    hunks = list(_hunks(changes))
    every_row = (row for hunk in hunks for row in _rows(old, new, hunk, first, hidden))
    rows = rows_that_fit(every_row, max_bytes)
    left_out = sum(_size(old, hunk) for hunk in hunks) - len(rows)
    return "\n".join([*rows, *([f"… {counted(left_out, 'more line')}"] if left_out else [])])


def changed_lines(before: str, after: str) -> tuple[int, int]:
    r"""Return how many lines have come and how many have gone.

    It takes no longer than reading: nothing is aligned, so that a line that has only moved counts
    as neither.

    >>> changed_lines("one\ntwo\n", "one\n2\nthree\n"), changed_lines("", "a\nb")
    ((2, 1), (2, 0))
    """
    if not before or not after:
        return count_lines(after), count_lines(before)
    start, end, new_end = _middle(before, after)
    old, new = Counter(_lines(before[start:end])), Counter(_lines(after[start:new_end]))
    return (new - old).total(), (old - new).total()


def _middle(before: str, after: str) -> tuple[int, int, int]:
    """Return where the lines that differ begin, and end in each text, with their context."""
    start = before.rfind("\n", 0, common_start(before, after)) + 1
    same = common_end(before[start:], after[start:])
    ends = len(before) - same, len(after) - same
    at_lines = all(
        end == start or text[end - 1] == "\n"
        for end, text in zip(ends, (before, after), strict=True)
    )
    if not at_lines:
        newline = before.find("\n", ends[0])
        same = 0 if newline < 0 else len(before) - newline - 1
    for _ in range(_CONTEXT):
        start = before.rfind("\n", 0, max(0, start - 1)) + 1
        newline = before.find("\n", len(before) - same)
        same = 0 if newline < 0 else len(before) - newline - 1
    return start, len(before) - same, len(after) - same


def _lines(text: str) -> Lines:
    return list(StringIO(text, newline="\n"))  # str.splitlines() knows many more ends


def _changes(old: Lines, new: Lines) -> Iterator[_Change]:
    """Yield what differs, in order."""
    if len(old) * len(new) <= _MAX_PAIRS:
        for tag, *place in difflib.SequenceMatcher(None, old, new).get_opcodes():
            if tag != "equal":
                yield _Change(*place)
        return
    began = None
    for number, (one, other) in enumerate(zip(old, new, strict=True)):
        if one == other and began is not None:
            yield _Change(began, number, began, number)
            began = None
        elif one != other and began is None:
            began = number
    if began is not None:
        yield _Change(began, len(old), began, len(new))


def _changed(old: Lines, new: Lines, changes: Iterable[_Change]) -> Iterator[str]:
    for change in changes:
        yield from old[change.old : change.old_end]
        yield from new[change.new : change.new_end]


def _hunks(changes: list[_Change]) -> Iterator[list[_Change]]:
    """Yield the changes, together where their context would meet."""
    hunk: list[_Change] = []
    for change in changes:
        if hunk and change.old - hunk[-1].old_end > 2 * _CONTEXT:
            yield hunk
            hunk = []
        hunk.append(change)
    yield hunk


def _span(old: Lines, hunk: list[_Change]) -> tuple[int, int]:
    return max(0, hunk[0].old - _CONTEXT), min(len(old), hunk[-1].old_end + _CONTEXT)


def _size(old: Lines, hunk: list[_Change]) -> int:
    begin, end = _span(old, hunk)
    return 1 + end - begin + sum(change.new_end - change.new for change in hunk)


def _rows(old: Lines, new: Lines, hunk: list[_Change], first: int, hidden: str) -> Iterator[str]:
    begin, end = _span(old, hunk)
    new_begin = hunk[0].new - (hunk[0].old - begin)
    new_end = hunk[-1].new_end + (end - hunk[-1].old_end)
    spans = _range(first + begin, end - begin), _range(first + new_begin, new_end - new_begin)
    yield "@@ -{} +{} @@".format(*spans)
    at = begin
    for change in hunk:
        yield from (_row(" ", line, 0, hidden) for line in old[at : change.old])
        gone, come = old[change.old : change.old_end], new[change.new : change.new_end]
        yield from (_row("-", line, _lead(line, come, n), hidden) for n, line in enumerate(gone))
        yield from (_row("+", line, _lead(line, gone, n), hidden) for n, line in enumerate(come))
        at = change.old_end
    yield from (_row(" ", line, 0, hidden) for line in old[at:end])


def _range(first: int, count: int) -> str:
    # As in diff -u: an empty range is after a line.
    return f"{first if count else first - 1},{count}"


def _lead(line: str, others: Lines, number: int) -> int:
    """Return how many characters of a long line to skip, up to where it differs."""
    if len(line) <= _LINE_CHARS or number >= len(others):
        return 0
    return max(0, common_start(line, others[number]) - _LEAD_CHARS)


def _row(sign: str, line: str, skipped: int, hidden: str) -> str:
    text = line.removesuffix(hidden).removesuffix("\n")
    shown = printable_line(text[skipped : skipped + _LINE_CHARS])
    before, after = "…" * bool(skipped), "…" * (len(text) > skipped + _LINE_CHARS)
    note = "" if line.endswith("\n") else "\n\\ No newline at end of file"
    return f"{sign}{before}{shown}{after}{note}"
