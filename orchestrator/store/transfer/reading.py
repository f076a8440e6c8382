"""An export → what it tells, or a clear error: a file may come from anywhere."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from pydantic import ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    ToolReturnPart,
)

from orchestrator.errors import InvalidInputError
from orchestrator.events import Event, EventAdapter, Usage
from orchestrator.store.messages import as_json, call_key, messages_of, read_result
from orchestrator.store.transfer.lines import (
    LINES,
    VERSION,
    CallLine,
    CompactionLine,
    EventLine,
    InstructionsLine,
    Line,
    MessageLine,
    RunLine,
    SessionLine,
)
from orchestrator.store.usage import read_usage

MAX_LINE_BYTES = 64 * 2**20
"""A tool's result of some megabytes fits, in base64 too."""

MAX_BYTES = 2**30
"""What is read is held in memory until all of it is known to be sound."""

_PROBLEM_CHARS = 300

REFUSED = (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError)
"""What comes of a line that is none; pydantic's `ValidationError` is a `ValueError`."""


@dataclass(frozen=True)
class Arrival:
    """A session that is to be put on record."""

    session: SessionLine
    runs: list[RunLine] = field(default_factory=list)
    messages: list[tuple[str, ModelMessage | CompactionLine]] = field(default_factory=list)
    """Each with its run, in the order of their numbers: 1, 2, …"""
    calls: list[tuple[CallLine, ToolReturnPart | None]] = field(default_factory=list)
    """Each with its result."""
    events: list[tuple[EventLine, Event]] = field(default_factory=list)
    """In the order of their numbers: 1, 2, …"""


class _UnsoundError(ValueError):
    """A line says what cannot be."""


def read_lines(file: BinaryIO) -> Arrival:
    """Return what an export in JSON Lines tells, once all of it is known to be sound.

    Raises:
        InvalidInputError: If it is not; it names the line.
    """
    reader: _Reader | None = None
    number = 0
    for number, text in enumerate(_texts(file), 1):
        try:
            line = _line(text)
            if reader is None:
                reader = _Reader(_first(line))
            else:
                reader.take(line)
        except REFUSED as error:
            raise InvalidInputError(
                f"Line {number} cannot be imported: {_problem(error)}. Nothing was written."
            ) from None
    if reader is None:
        raise InvalidInputError("The file is empty; nothing was written.")
    try:
        return reader.arrival()
    except _UnsoundError as error:
        raise InvalidInputError(
            f"The file cannot be imported: {error}, after {number} lines. Nothing was written."
        ) from None


def _texts(file: BinaryIO) -> Iterator[bytes]:
    total = 0
    while text := file.readline(MAX_LINE_BYTES + 1):
        total += len(text)
        if len(text) > MAX_LINE_BYTES or total > MAX_BYTES:
            raise InvalidInputError(
                f"The file has a line above {MAX_LINE_BYTES} bytes, or more than {MAX_BYTES} bytes "
                "in all, and is not imported."
            )
        yield text


def _line(text: bytes) -> Line:
    value = json.loads(text)
    if isinstance(value, dict) and value.get("type") == "session":
        version = value.get("version")
        if version != VERSION:
            raise _UnsoundError(f"its version is {version!r}, and this Workyard knows {VERSION}")
    return LINES.validate_python(value)


def _first(line: Line) -> SessionLine:
    if not isinstance(line, SessionLine):
        raise _UnsoundError("an export begins with its session")
    read_usage(dict(line.usage))
    return line


def _problem(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        text = f"{where}: {first['msg']}" if where else first["msg"]
    elif isinstance(error, _UnsoundError | json.JSONDecodeError | UnicodeDecodeError):
        text = str(error)
    elif isinstance(error, RecursionError):
        text = "it is nested too deep"
    else:
        text = "it does not hold what its type says"
    return text[:_PROBLEM_CHARS]


@dataclass
class _Reader:
    """What has been read so far."""

    session: SessionLine
    runs: dict[str, RunLine] = field(default_factory=dict)
    instructions: dict[str, str] = field(default_factory=dict)
    messages: list[tuple[str, ModelMessage | CompactionLine]] = field(default_factory=list)
    calls: dict[tuple[str, str], tuple[CallLine, ToolReturnPart | None]] = field(
        default_factory=dict
    )
    events: list[tuple[EventLine, Event]] = field(default_factory=list)

    def take(self, line: Line) -> None:
        """Take one more line.

        Raises:
            ValueError: If it does not fit those before it.
        """
        match line:
            case SessionLine():
                raise _UnsoundError("an export has one session")
            case RunLine():
                self._take_run(line)
            case InstructionsLine():
                self._take_instructions(line)
            case MessageLine():
                self._take_message(line)
            case CompactionLine():
                self._take_compaction(line)
            case CallLine():
                self._take_call(line)
            case EventLine():
                self._take_event(line)

    def arrival(self) -> Arrival:
        """Return all of it.

        Raises:
            ValueError: If something is missing.
        """
        window = self.session.window_seq
        if window and not (
            window <= len(self.messages)
            and isinstance(self.messages[window - 1][1], CompactionLine)
        ):
            raise _UnsoundError(f"its window_seq is {window}, which is no compaction")
        self._check_whole("messages", self.session.last_message_seq, len(self.messages))
        self._check_whole("events", self.session.last_event_seq, len(self.events))
        for run in self.runs.values():
            self._check_output(run)
        return Arrival(
            self.session,
            list(self.runs.values()),
            self.messages,
            list(self.calls.values()),
            self.events,
        )

    def _check_whole(self, what: str, told: int | None, there: int) -> None:
        if told is not None and told != there:
            raise _UnsoundError(f"it is to have {told} {what} and has {there}; it may be cut")

    def _take_run(self, line: RunLine) -> None:
        if line.id in self.runs:
            raise _UnsoundError(f"run {line.id!r} comes twice")
        if line.output is not None and line.output_at is not None:
            raise _UnsoundError("its answer is both there and elsewhere")
        self.runs[line.id] = line

    def _take_instructions(self, line: InstructionsLine) -> None:
        if sha256_of(line.text) != line.sha256:
            raise _UnsoundError("its text has another hash")
        self.instructions[line.sha256] = line.text

    def _take_message(self, line: MessageLine) -> None:
        self._check_next("message", line, len(self.messages))
        (message,) = messages_of(as_json([line.message]))
        if line.instructions is not None:
            if not isinstance(message, ModelRequest) or line.instructions not in self.instructions:
                raise _UnsoundError("its instructions are not there")
            message.instructions = self.instructions[line.instructions]
        self.messages.append((line.run_id, message))

    def _take_compaction(self, line: CompactionLine) -> None:
        self._check_next("message", line, len(self.messages))
        if line.upto >= line.seq:
            raise _UnsoundError(f"it stands for messages up to {line.upto}, which come after it")
        messages_of(as_json(line.given))
        Usage.model_validate(line.usage)
        self.messages.append((line.run_id, line))

    def _take_call(self, line: CallLine) -> None:
        key = (line.run_id, line.call_id)
        if line.run_id not in self.runs:
            raise _UnsoundError(f"there is no run {line.run_id!r} before it")
        if key in self.calls or call_key(line.call_id) != line.call_id:
            raise _UnsoundError(f"call {line.call_id!r} comes twice, or its id cannot be one")
        result = self._result_of(line)
        if result is not None and line.outcome is None:
            raise _UnsoundError("it has a result and no outcome")
        self.calls[key] = (line.model_copy(update={"result": None}), result)  # held once is enough

    def _take_event(self, line: EventLine) -> None:
        self._check_next("event", line, len(self.events))
        event = EventAdapter.validate_python(line.event)
        self.events.append((line.model_copy(update={"event": {}}), event))

    def _check_next(
        self, what: str, line: MessageLine | CompactionLine | EventLine, before: int
    ) -> None:
        if line.seq != before + 1:
            raise _UnsoundError(f"{what} {before + 1} is missing before {what} {line.seq}")
        if line.run_id not in self.runs:
            raise _UnsoundError(f"there is no run {line.run_id!r} before it")

    def _result_of(self, line: CallLine) -> ToolReturnPart | None:
        if line.result is not None:
            return read_result(as_json(line.result))
        if line.result_seq is None:
            return None
        message = self._message(line.result_seq)
        parts = message.parts if isinstance(message, ModelRequest) else ()
        for part in parts:
            if isinstance(part, ToolReturnPart) and call_key(part.tool_call_id) == line.call_id:
                return part
        raise _UnsoundError(f"message {line.result_seq} has no result of call {line.call_id!r}")

    def _check_output(self, run: RunLine) -> None:
        if run.output_at is None:
            return
        seq, index = run.output_at
        message = self._message(seq)
        parts = message.parts if isinstance(message, ModelResponse) else ()
        if index >= len(parts) or not isinstance(parts[index], TextPart):
            raise _UnsoundError(f"run {run.id!r} has its answer in message {seq}, where no text is")

    def _message(self, seq: int) -> ModelMessage | CompactionLine | None:
        return self.messages[seq - 1][1] if seq <= len(self.messages) else None


def sha256_of(text: str) -> str:
    """Return the hash that names instructions."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
