"""What has happened in a run and is not on record yet, in the order in which it is told."""

from collections.abc import Sequence
from typing import TypeGuard

from pydantic_ai.messages import (
    FunctionToolCallEvent,
    ModelMessage,
    ModelRequest,
    ToolReturnPart,
)

from orchestrator.events import (
    Event,
    FileChanged,
    TextDelta,
    ThinkingDelta,
    ToolCalled,
    ToolReturned,
)
from orchestrator.store.facts import shown

Delta = type[TextDelta] | type[ThinkingDelta]


class Noted:
    """The events of a run that wait to be written, and the results that come with them."""

    def __init__(self, told: set[str]) -> None:
        self.events: list[Event] = []
        self.results: list[ToolReturnPart] = []
        self.text_chars = 0
        """Of the text that is being written."""
        self.calls = 0
        """How many calls have succeeded, as the events tell. One whose result is lost does not."""
        self._text: list[tuple[Delta, str]] = []
        self._has_shown_text = False
        """Whether a part of the response that is being written is among the events."""
        self._told = told
        """The ids of calls of the last answer whose results events have told."""
        self._changed: dict[str, list[FileChanged]] = {}  # by the ids of calls under way

    def __bool__(self) -> bool:
        return bool(self._text or self.events)

    def say(self, kind: Delta, text: str) -> None:
        """Take note of some more of an answer that is being written."""
        if text:
            self._text.append((kind, text))
            self.text_chars += len(text)

    def note(self, event: Event) -> None:
        """Take note of an event."""
        self.end_text()
        self.events.append(event)

    def note_call(self, event: FunctionToolCallEvent) -> None:
        """Take note of a call that is about to be made."""
        call = event.part
        self.note(
            ToolCalled(
                call_id=call.tool_call_id, tool=call.tool_name, arguments=call.args_as_dict()
            )
        )

    def note_changes(self, call_id: str, files: Sequence[FileChanged]) -> None:
        """Take note of what a call has changed, to be told with its result."""
        self._changed.setdefault(call_id, []).extend(files)

    def note_result(self, part: ToolReturnPart) -> None:
        """Take note of what a call has given."""
        self._told.add(part.tool_call_id)
        self.calls += part.outcome == "success"
        self.note(
            ToolReturned(
                call_id=part.tool_call_id,
                tool=part.tool_name,
                outcome=part.outcome,
                content=shown(part),
            )
        )
        self.results.append(part)
        self.events += self._changed.pop(part.tool_call_id, ())

    def note_untold(self, history: Sequence[ModelMessage]) -> None:
        """Take note of the results of which no event told, because the run was cancelled then."""
        last = history[-1] if history else None
        if isinstance(last, ModelRequest) and last.state == "interrupted":
            for part in filter(is_result, last.parts):
                if part.tool_call_id not in self._told:
                    self.note_result(part)

    def begin_answer(self) -> None:
        """Take note that the model is asked: calls to come are another answer's."""
        self._told.clear()

    def has_whole_answer(self) -> None:
        """Leave out the text of an answer that came at once: it is told once."""
        if not self._has_shown_text:
            self._text = [(kind, text) for kind, text in self._text if kind is not TextDelta]
        self.end_text()
        self._has_shown_text = False

    def end_text(self) -> None:
        """Turn the text that has come in so far into events, before what comes after it."""
        self._has_shown_text |= any(kind is TextDelta for kind, _ in self._text)
        self.events += [kind(content=text) for kind, text in _joined(self._text)]
        self._text = []
        self.text_chars = 0

    def written(self, *, events: int, results: int) -> None:
        """Forget what is on record now: so many of the oldest."""
        del self.events[:events]
        del self.results[:results]


def _joined(pending: list[tuple[Delta, str]]) -> list[tuple[Delta, str]]:
    joined: list[tuple[Delta, str]] = []
    for kind, text in pending:
        if joined and joined[-1][0] is kind:
            joined[-1] = (kind, joined[-1][1] + text)
        else:
            joined.append((kind, text))
    return joined


def is_result(part: object) -> TypeGuard[ToolReturnPart]:
    """Say whether a part of a message is what a call has given."""
    return isinstance(part, ToolReturnPart)
