"""A diff shows what was done, and stays small and quick whatever was done."""

import difflib
import random
import time
from collections import Counter

import pytest

from mcp_server.fence.texts.diffs import (
    MAX_DIFF_BYTES,
    changed_lines,
    common_end,
    common_start,
    diff,
)

TEN = "".join(f"line {number}\n" for number in range(1, 11))


def test_a_change_is_shown_with_three_lines_around_it() -> None:
    assert diff(TEN, TEN.replace("line 5\n", "one\ntwo\n")) == (
        "@@ -2,7 +2,8 @@\n line 2\n line 3\n line 4\n-line 5\n+one\n+two\n line 6\n line 7\n line 8"
    )
    assert diff(TEN, TEN) == ""


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("", "a\n", "@@ -0,0 +1,1 @@\n+a"),
        ("a\n", "", "@@ -1,1 +0,0 @@\n-a"),
        ("a", "a\n", "@@ -1,1 +1,1 @@\n-a\n\\ No newline at end of file\n+a"),
        (
            "a\nb",
            "a\nc",
            "@@ -1,2 +1,2 @@\n a\n"
            "-b\n\\ No newline at end of file\n"
            "+c\n\\ No newline at end of file",
        ),
        ("a\r\nb\r\n", "a\r\nc\r\n", "@@ -1,2 +1,2 @@\n a\n-b\n+c"),
        ("a\r\nb", "x\r\nb", "@@ -1,2 +1,2 @@\n-a\n+x\n b\n\\ No newline at end of file"),
        ("a\r\nb\r\n", "a\r\nb\n", "@@ -1,2 +1,2 @@\n a\\x0d\n-b\\x0d\n+b"),
        ("a\x1b[31m\n", "a\x0cb\u2028c\n", "@@ -1,1 +1,1 @@\n-a\\x1b[31m\n+a\\x0cb\u2028c"),
        ("a\nb\na\n", "a\nb\na\nb\na\n", "@@ -1,3 +1,5 @@\n a\n b\n a\n+b\n+a"),
    ],
)
def test_the_small_print_of_lines_is_shown(before: str, after: str, shown: str) -> None:
    assert diff(before, after) == shown


def test_a_long_line_is_shown_where_it_differs() -> None:
    before = "x" * 5000 + "old" + "y" * 5000
    shown = diff(before, before.replace("old", "new")).split("\n")
    assert "xxoldyy" in shown[1]
    assert "xxnewyy" in shown[3]
    assert all(len(line) < 400 for line in shown)


def test_what_does_not_fit_is_counted() -> None:
    shown = diff(TEN, "ä\n" * 10_000, max_bytes=100)
    *rows, last = shown.split("\n")
    assert len("\n".join(rows).encode()) <= 100
    assert last == f"… {1 + 10 + 10_000 - len(rows)} more lines"
    assert len(diff("", "long line of text\n" * 100_000).encode()) < MAX_DIFF_BYTES + 100


def test_changes_in_two_places_are_shown_apart() -> None:
    text = "".join(f"{number}\n" for number in range(100))
    shown = diff(text, text.replace("\n10\n", "\nten\n").replace("\n90\n", "\n"))
    assert [line for line in shown.split("\n") if line.startswith("@@")] == [
        "@@ -8,7 +8,7 @@",
        "@@ -88,7 +88,6 @@",
    ]
    assert shown.count("\n") == 2 + 8 + 7 - 1
    near = diff(text, text.replace("\n10\n", "\nten\n").replace("\n17\n", "\n"))
    assert near.count("@@ -") == 1


def test_random_diffs_are_those_of_difflib() -> None:
    chance = random.Random(3)
    for _ in range(2000):
        before = [chance.choice("abcde") + "\n" for _ in range(chance.randrange(25))]
        after = [line for line in before if chance.random() > 0.1]
        for _ in range(chance.randrange(3)):
            after.insert(chance.randrange(len(after) + 1), chance.choice("abx") + "\n")
        shown = diff("".join(before), "".join(after)).split("\n")
        rebuilt = _patched(before, shown) if shown != [""] else before
        assert rebuilt == after
        least = list(difflib.unified_diff(before, after, lineterm=""))[2:]
        assert sum(row[:1] in ("+", "-") for row in shown) <= 3 * sum(
            row[:1] in "+-" for row in least
        )


def _patched(before: list[str], shown: list[str]) -> list[str]:
    """Apply a unified diff the way that `patch` does, checking what it removes and skips."""
    result: list[str] = []
    at = 0
    for row in shown:
        sign, line = row[:1], row[1:] + "\n"
        if sign == "@":
            first, count = map(int, row.split()[1][1:].split(","))
            begin = first - 1 if count else first
            result += before[at:begin]
            at = begin
            continue
        if sign in " -":
            assert before[at] == line
            at += 1
        if sign in " +":
            result.append(line)
    return result + before[at:]


@pytest.mark.parametrize("size", [0, 1, 2, 7, 100, 1001])
def test_common_ends_are_counted_to_the_letter(size: int) -> None:
    same = "ab" * size
    assert common_start(same + "x" + same, same + "y") == 2 * size
    assert common_end(same + "x" + same, "y" + same) == 2 * size
    assert common_start(same, same + "a") == 2 * size == common_end(same, "b" + same)


def test_a_large_file_takes_no_time_worth_naming() -> None:
    text = "".join(f"line {number} of text, here\n" for number in range(400_000))
    tenth = text[: len(text) // 10]
    for before, after, says in (
        (text, text.replace("line 200000 of", "LINE\n"), "-line 200000 of text, here"),
        (text, text.replace("line", "LINE"), "… 400000 lines replaced by 400000 lines"),
        (text, text.replace("line", "\n"), "… 400000 lines replaced by 800000 lines"),
        (tenth, tenth.replace("line 1", "LINE 1"), "-line 1 of text, here"),
        ("a\nz\n", "a\n" + tenth + "z\n", "+line 1 of text, here"),
        ("\n" * 10_000_000, "\n" * 10_000_001, "+"),
        ("x" * 10_000_000, "x" * 5_000_000 + "y" + "x" * 5_000_000, "xxyxx"),
        ("a\nb\n" * 1000, "b\nb\na\n" * 660, "-a"),
    ):
        started = time.process_time()
        shown = diff(before, after)
        assert time.process_time() - started < 3
        assert says in shown
        assert len(shown) < 5000


def test_lines_that_have_come_and_gone_are_counted_wherever_they_are() -> None:
    maker = random.Random(7)
    for _ in range(2000):
        old, new = ([maker.choice("abcd") for _ in range(maker.randrange(9))] for _ in range(2))
        before, after = ("\n".join(lines) + maker.choice(["", "\n"]) for lines in (old, new))
        held, holds = (Counter(text.splitlines(keepends=True)) for text in (before, after))
        come, gone = (holds - held).total(), (held - holds).total()
        assert changed_lines(before, after) == (come, gone), (before, after)


def test_lines_are_counted_in_no_more_time_than_it_takes_to_read_them() -> None:
    """Aligned, these took seconds; a write of any size is told."""
    lines = [f"line {number % 997}\n" for number in range(200_000)]
    before = "".join(lines)
    random.Random(7).shuffle(lines)
    start = time.perf_counter()
    assert changed_lines(before, "".join(lines) + "more\n") == (1, 0)
    assert time.perf_counter() - start < 2
