"""Words for a terminal: what comes from models and files cannot steer it."""

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.events import Usage


def is_terminal(stream: TextIO | None) -> bool:
    """Say whether a stream is a terminal; one that was closed is none."""
    return stream is not None and stream.isatty()


stderr = Console(stderr=True, highlight=False, soft_wrap=True)
stdout = Console(highlight=False, width=None if is_terminal(sys.stdout) else 160)

_CONTROLS = (code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t")
_TURNS = (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""These turn the direction in which a line reads, and so what it seems to say."""

_ESCAPES = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in _TURNS},
}


def printable(text: str) -> str:
    r"""Return the text with control characters shown, not obeyed.

    >>> print(printable("\x1b[2J cleared"))
    \x1b[2J cleared
    """
    return text.translate(_ESCAPES).encode(errors="backslashreplace").decode()


def write(text: str) -> None:
    """Write text to stdout as it is, apart from control characters."""
    sys.stdout.write(printable(text))
    sys.stdout.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table that no cell can break: text is folded, never cut, and never markup."""
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for number, column in enumerate(columns):
        # The first column names the thing: it must be whole to be copied.
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout.print(table)


def one_line(text: str, limit: int = 100) -> str:
    """Return the text on one line, cut to `limit` characters."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def in_words(usage: Usage) -> str:
    """Return what was used, as a line.

    >>> in_words(Usage(requests=2, tool_calls=1, input_tokens=1200, output_tokens=30))
    '2 requests, 1 tool call, 1,200 tokens in, 30 out, cost unknown'
    """
    parts = [
        _count(usage.requests, "request"),
        _count(usage.tool_calls, "tool call"),
        f"{usage.input_tokens:,} tokens in",
        f"{usage.output_tokens:,} out",
    ]
    parts.append("cost unknown" if usage.cost is None else f"${usage.cost:.4f}")
    return ", ".join(parts)


def ago(moment: datetime) -> str:
    """Return how long ago something was, in the largest unit that fits."""
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return "just now"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
