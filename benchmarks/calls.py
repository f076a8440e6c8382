"""The calls that file servers are compared by: the same work, as each of them wants it asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Goal
from benchmarks.trees import NEEDLE, make_directory, make_tree, text_of, tree_file

OURS, THEIRS = "Workyard", "reference server"
CALLS = 20
"""Calls in a row of which a round takes the mean: one alone is as short as a hiccup."""
NO_MORE = Goal(ratio=1)
LISTED, SOUGHT = 1000, 5000
_BYTES = 4096
_LINES = 200
_FOUND = tree_file(SOUGHT - 7)
_BEFORE, _AFTER = "price_100 = 'before'\n", "price_100 = 'after'\n"

Arguments = Mapping[str, object]


@dataclass(frozen=True)
class Call:
    """A tool, and what the call of a number asks of it; `path` is relative to the root."""

    tool: str
    arguments: Callable[[int], Arguments]


@dataclass(frozen=True)
class Figure:
    """One piece of work, and the call for it of each server that can do it."""

    name: str
    by: Mapping[str, Call]
    shows: str
    """What is in an answer when the work was done."""
    calls: int = CALLS
    goal: Goal = NO_MORE


def make_root(root: Path) -> Path:
    """Write what the calls work on."""
    make_directory(root / "listed", LISTED)
    make_tree(root / "tree", SOUGHT)
    (root / "read.txt").write_text(text_of(_BYTES))
    lines = [f"price_{number} = {number}\n" for number in range(_LINES)]
    lines[100] = _BEFORE
    (root / "edited.py").write_text("".join(lines))
    return root


def _read(_: int) -> Arguments:
    return {"path": "read.txt"}


def _write_new(number: int) -> Arguments:
    return {"path": f"new_{number}.txt", "content": text_of(_BYTES)}


def _write_over(number: int) -> Arguments:
    return {"path": "written.txt", "content": f"{number % 10}{text_of(_BYTES - 1)}"}


def _edit(number: int) -> Arguments:
    old, new = (_AFTER, _BEFORE) if number % 2 else (_BEFORE, _AFTER)
    return {"path": "edited.py", "old_string": old, "new_string": new}


def _edit_theirs(number: int) -> Arguments:
    ours = _edit(number)
    edit = {"oldText": ours["old_string"], "newText": ours["new_string"]}
    return {"path": ours["path"], "edits": [edit]}


def _list(_: int) -> Arguments:
    return {"path": "listed"}


def _find(_: int) -> Arguments:
    return {"path": "tree", "glob": f"**/{Path(_FOUND).name}"}


def _find_theirs(_: int) -> Arguments:
    return {"path": "tree", "pattern": f"**/{Path(_FOUND).name}"}


def _both(tool: str, arguments: Callable[[int], Arguments]) -> Mapping[str, Call]:
    call = Call(tool, arguments)
    return {OURS: call, THEIRS: call}


READ = Figure(
    "read a file of 4 KB",
    {OURS: Call("read_file", _read), THEIRS: Call("read_text_file", _read)},
    shows="Prices are rounded",
)

FIGURES = (
    READ,
    Figure("write a new file of 4 KB", _both("write_file", _write_new), shows="new_"),
    Figure("write over a file of 4 KB", _both("write_file", _write_over), shows="written.txt"),
    Figure(
        f"edit one of {_LINES} lines",
        {OURS: Call("edit_file", _edit), THEIRS: Call("edit_file", _edit_theirs)},
        shows="edited.py",
    ),
    Figure(
        f"list a directory of {LISTED:,}, theirs without sizes",
        _both("list_directory", _list),
        shows=f"note_{LISTED - 1:04}.txt",
    ),
    Figure(
        f"list a directory of {LISTED:,}, both with sizes",
        {OURS: Call("list_directory", _list), THEIRS: Call("list_directory_with_sizes", _list)},
        shows=f"note_{LISTED - 1:04}.txt",
    ),
    Figure(
        f"find 1 of {SOUGHT:,} files by name",
        {OURS: Call("find_files", _find), THEIRS: Call("search_files", _find_theirs)},
        shows=_FOUND,
        calls=1,
        goal=Goal(ratio=1, ms=25),
    ),
    Figure(
        f"grep {SOUGHT:,} files",
        {OURS: Call("grep", lambda _: {"path": "tree", "pattern": NEEDLE})},
        shows=NEEDLE,
        calls=1,
        goal=Goal(ms=40),
    ),
)
