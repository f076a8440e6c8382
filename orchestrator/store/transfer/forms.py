"""What a session is exported as: JSON Lines, messages of Pydantic AI, Markdown."""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal  # Any: JSON

from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.store.facts import shown
from orchestrator.store.messages import IN_LEDGER, as_json
from orchestrator.store.transfer.lines import VERSION
from orchestrator.store.transfer.outgoing import (
    Look,
    Told,
    calls_of,
    compaction_of,
    events_of,
    head_of,
    messages_of,
)
from orchestrator.store.transfer.reading import sha256_of

Form = Literal["jsonl", "messages", "markdown"]

ARGUMENTS_CHARS = 300
"""How much of a call's arguments Markdown shows."""

_OF_SESSION = (
    *("id", "external_id", "agent", "root", "title", "state", "state_version", "usage"),
    *("window_seq", "last_message_seq", "last_event_seq", "created_at", "updated_at"),
)
_OF_RUN = (
    *("id", "status", "agent", "spec_sha256", "model", "prompt", "inputs", "output"),
    *("first_message_seq", "attempt", "requests", "tool_calls", "input_tokens"),
    *("cache_read_tokens", "output_tokens", "cost", "error_code", "error_text"),
    *("started_at", "ended_at"),
)
_OF_CALL = ("call_id", "tool", "arguments_sha256", "outcome", "called_at", "returned_at")
_LINE_ENDS = {ord(end): f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"}
"""What some readers take for the end of a line, as JSON may write it."""

_SURROGATES = re.compile("[\ud800-\udfff]")


async def as_lines(look: Look) -> AsyncIterator[str]:
    """Yield the lines of an export that can be imported; see `lines`."""
    head = await look(head_of)
    yield _line("session", {"version": VERSION} | _columns(head.session, _OF_SESSION))
    for run in head.runs:
        yield _line("run", _columns(run, _OF_RUN) | {"output_at": head.output_at(run)})
    known: set[str] = set()
    results: dict[tuple[str, str], int] = {}
    async for told in messages_of(look, head):
        results |= {(told.row.run_id, key): told.row.seq for key in _in_ledger(told)}
        for line in _lines_of(told, head.session.id, known):
            yield line
    own = {run.id for run in head.runs if head.is_own(run)}
    async for call in calls_of(look, head):
        seq = results.get((call.run_id, call.row.call_id))
        if seq is None and call.run_id not in own:
            continue  # it was made after what a fork shares
        whole = None if seq or call.result is None else json.loads(call.result)
        result = {"result": whole, "result_seq": seq}
        yield _line("call", {"run_id": call.run_id} | _columns(call.row, _OF_CALL) | result)
    async for recorded in events_of(look, head):
        event = recorded.event.model_dump(mode="json")
        at = {"seq": recorded.seq, "run_id": recorded.run_id, "at": recorded.at}
        yield _line("event", at | {"event": event})


async def as_messages(look: Look) -> AsyncIterator[str]:
    """Yield JSON that `ModelMessagesTypeAdapter` of Pydantic AI loads.

    It refuses half a surrogate pair: where a text has one, there is U+FFFD.
    """
    head = await look(head_of)
    between = "[\n"
    async for told in messages_of(look, head):
        if told.message is not None:
            text = json.dumps(_dumped(told.message), ensure_ascii=False)
            yield between + _SURROGATES.sub("\ufffd", text)
            between = ",\n"
    yield "[]\n" if between == "[\n" else "\n]\n"


async def as_markdown(look: Look) -> AsyncIterator[str]:
    """Yield a session as a person reads it: prompts, answers, and calls with their results."""
    head = await look(head_of)
    session = head.session
    yield f"# {session.title or 'A session'}\n\n"
    yield f"- session {_code(session.id)}\n- root {_code(session.root)}\n"
    yield f"- begun {session.created_at:%Y-%m-%d %H:%M} UTC\n"
    runs = {run.id: run for run in head.runs}
    of_run = ""
    async for told in messages_of(look, head):
        if told.row.run_id != of_run:
            of_run = told.row.run_id
            run = runs[of_run]
            yield f"\n## {run.agent} with {run.model}, {run.started_at:%Y-%m-%d %H:%M}\n"
        for part in _shown_parts(told):
            yield f"\n{part}\n"


def _line(kind: str, fields: Mapping[str, Any]) -> str:
    said = {name: _as_text(value) for name, value in fields.items() if value is not None}
    return as_json({"type": kind} | said).translate(_LINE_ENDS) + "\n"


def _columns(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


def _lines_of(told: Told, session_id: str, known: set[str]) -> Iterator[str]:
    at = {"seq": told.row.seq, "run_id": told.row.run_id}
    if told.message is None:
        yield _line("compaction", at | compaction_of(told, session_id))
        return
    message = _dumped(told.message)
    instructions, sha256 = message.pop("instructions", None), None
    if instructions is not None:
        sha256 = sha256_of(instructions)
        if sha256 not in known:
            known.add(sha256)
            yield _line("instructions", {"sha256": sha256, "text": instructions})
    yield _line("message", at | {"instructions": sha256, "message": message})


def _dumped(message: ModelMessage) -> dict[str, Any]:
    dumped: dict[str, Any] = ModelMessagesTypeAdapter.dump_python([message], mode="json")[0]
    return {name: value for name, value in dumped.items() if value is not None}


def _in_ledger(told: Told) -> list[str]:
    """Return the keys of the calls whose results a message has from the ledger."""
    if told.row.kind != "request" or IN_LEDGER not in told.row.body:
        return []
    return [part[IN_LEDGER] for part in json.loads(told.row.body)["parts"] if IN_LEDGER in part]


def _shown_parts(told: Told) -> Iterator[str]:
    if told.message is None:
        yield "*From here on the model was given a summary of what is above.*"
        return
    for part in told.message.parts:
        match part:
            case UserPromptPart(content=content):
                text = content if isinstance(content, str) else "\n".join(map(_item, content))
                yield "\n".join(f"> {line}".rstrip() for line in text.split("\n"))
            case TextPart(content=text) if text:
                yield text
            case ToolCallPart(tool_name=tool):
                arguments = as_json(part.args_as_dict())
                cut = len(arguments) > ARGUMENTS_CHARS
                yield f"**{tool}** {_code(arguments[:ARGUMENTS_CHARS] + '…' * cut)}"
            case ToolReturnPart():
                yield _block(shown(part))
            case _:
                pass


def _item(content: object) -> str:
    return content if isinstance(content, str) else f"({type(content).__name__})"


def _code(text: str) -> str:
    ticks = "`" * (_longest_ticks(text) + 1)
    return f"{ticks} {text} {ticks}" if "`" in text else f"{ticks}{text}{ticks}"


def _block(text: str) -> str:
    fence = "`" * max(3, _longest_ticks(text) + 1)
    return f"{fence}\n{text}\n{fence}"


def _longest_ticks(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


FORMS = {"jsonl": as_lines, "messages": as_messages, "markdown": as_markdown}
"""By name, how a session is written."""
