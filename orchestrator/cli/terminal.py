"""Words for a terminal: what comes from models and files cannot steer it."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO  # Any: what a console prints, and how

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.words import in_line, printable


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a stream is a terminal; one that was closed is none."""
    return stream is not None and stream.isatty()


class Screen(Console):
    """A console that takes text for what it says: never for markup, an emoji's name or an order."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print text, control characters shown, or what was made for a console."""
        shown = (Text(printable(each)) if isinstance(each, str) else each for each in objects)
        super().print(*shown, **options)


stderr = Screen(stderr=True, highlight=False, soft_wrap=True)
stdout = Screen(highlight=False, width=None if is_terminal(sys.stdout) else 160)


def write(text: str) -> None:
    """Write text to stdout as it is, apart from control characters."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that no cell can break: text is folded, never cut, and never markup."""
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        # The first column names the thing: it must be whole to be copied.
        table.add_column(Text(in_line(column)), overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout.print(table)


def ago(moment: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"
