"""A run as it is seen: progress on stderr, the answer on stdout.

So `workyard run … > answer.md` keeps the answer alone. On a terminal the answer appears while it is
written; elsewhere it comes whole, at the end.
"""

import sys

from pydantic import JsonValue
from rich.console import Console
from rich.text import Text

from orchestrator.cli.terminal import is_terminal, stderr, write
from orchestrator.events import (
    AgentMessage,
    Event,
    RunEnded,
    RunResumed,
    RunStarted,
    TextDelta,
    ToolCalled,
    ToolReturned,
)
from orchestrator.words import as_text, printable, told


class Progress:
    """Shows the events of runs.

    Args:
        live: Write text while it comes; by default, on a terminal.
        lines: Where all else is shown.
    """

    def __init__(self, *, live: bool | None = None, lines: Console = stderr) -> None:
        self._lines = lines
        self._live = is_terminal(sys.stdout) if live is None else live
        self._in_text = False
        self._has_ended = False
        self._text = ""
        """What was written since a tool was last called, as it was printed."""
        self._unsettled = ""
        """What was written of messages that are not whole yet."""

    def show(self, event: Event) -> None:
        """Show one event."""
        self._has_ended |= isinstance(event, RunEnded)
        if isinstance(event, TextDelta):
            self._write(event.content)
            return
        if isinstance(event, AgentMessage):
            self._settle(event.content)
        elif isinstance(event, ToolCalled):
            self._text = self._unsettled = ""
        self._end_text()
        line = describe(event)
        if line is not None:
            self._lines.print(line)

    def answer(self, output: JsonValue) -> None:
        """Print the answer, unless it is what was written last."""
        self._end_text()
        # As it is printed: what no database takes stands in events as it is printed, too.
        was_written = isinstance(output, str) and self._text.endswith(printable(output))
        if not (self._live and was_written):
            write(as_text(output) + "\n")

    def leave(self, last_event: RunEnded | None, session_id: str) -> None:
        """Say how the run ended, if that was not shown, and where its record is."""
        if last_event is not None and not self._has_ended:
            self.show(last_event)
        stderr.print(f"session {session_id}  (workyard sessions show {session_id})")

    def _settle(self, message: str) -> None:
        """Write what is not written yet of a message: what came fast did not come in pieces."""
        if self._unsettled.startswith(message):
            self._unsettled = self._unsettled.removeprefix(message)
            return
        self._write(message.removeprefix(self._unsettled))
        self._unsettled = ""

    def _write(self, text: str) -> None:
        if self._live and text:
            write(text)
            self._in_text = True
            self._text += printable(text)
            self._unsettled += text

    def _end_text(self) -> None:
        if self._in_text:
            write("\n")
            self._in_text = False


def describe(event: Event) -> Text | None:
    """Return an event as a line, or None if it is not one that a person follows."""
    line = told(event)
    return None if line is None else Text(printable(line), style=_style(event))


def _style(event: Event) -> str:
    match event:
        case RunStarted() | RunResumed() | RunEnded():
            return "bold"
        case ToolCalled():
            return "cyan"
        case ToolReturned(outcome=outcome) if outcome != "success":
            return "red"
        case _:
            return "dim"
