"""Directories of many files, the same at each run."""

from pathlib import Path

NEEDLE = "needle"
"""A word in `MATCHES` files of a tree, one line in each."""
MATCHES = 20

_FILES_IN_DIRECTORY = 50
_DIRECTORIES_IN_AREA = 20
_BODY = "".join(
    f"def part_{number}(price):\n    return round(price * {number}, 2)\n\n" for number in range(20)
)


def make_tree(root: Path, files: int) -> Path:
    """Write modules of a kilobyte below `root`, fifty in a directory."""
    for number in range(files):
        file = root / tree_file(number)
        if number % _FILES_IN_DIRECTORY == 0:
            file.parent.mkdir(parents=True)
        tail = f"{NEEDLE} = {number}\n" if number % (files // MATCHES) == 0 else ""
        file.write_text(f"NUMBER = {number}\n{_BODY}{tail}")
    return root


def tree_file(number: int) -> str:
    """Return the path of a file of a tree."""
    part = number // _FILES_IN_DIRECTORY
    area = part // _DIRECTORIES_IN_AREA
    return f"area_{area:03}/part_{part:04}/module_{number:06}.py"


def make_directory(root: Path, files: int) -> Path:
    """Write so many small files into one directory."""
    root.mkdir(parents=True)
    for number in range(files):
        (root / f"note_{number:04}.txt").write_text(f"{number}\n")
    return root


def text_of(size: int) -> str:
    """Return lines of text, `size` bytes in all.

    >>> len(text_of(4096))
    4096
    """
    line = "Prices are rounded once, at the till, and never again.\n"
    return (line * (size // len(line) + 1))[: size - 1] + "\n"
