"""Messages → rows, and back.

A row holds what no other row says. The instructions stand in every request of a run, and would be
most of what is stored: they are kept once, as a blob. The prompt is on the run's row, a tool's
result in the ledger of calls, where they were written before there was a message to hold them.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple  # Any: what JSON holds

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_ai import RequestUsage
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.errors import HistoryUnreadableError
from orchestrator.garbage import left_alone
from orchestrator.ids import run_of
from orchestrator.store.tables import plain

# A list of one: Pydantic takes no settings for the dataclass itself. They are those of messages.
_RESULTS = TypeAdapter(
    list[ToolReturnPart], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")
)

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, AssertionError)
"""What comes of a row that holds no message; pydantic's `ValidationError` is a `ValueError`."""
COMPACTION = "compaction"
"""The kind of a row that is no message, but what a model was given instead of some."""

IN_LEDGER = "in_ledger"
"""The one key of a part whose whole is in the ledger of calls; its value is the call's key."""

KEY_CHARS = 200
"""How long a key of the ledger is at most; PostgreSQL has no index for longer ones."""

_LEAN = frozenset({"system-prompt", "user-prompt", "tool-return", "text", "thinking", "tool-call"})
"""Kinds of parts whose fields are null unless something is said, apart from `content`."""

_IN_COLUMNS = ("part_kind", "tool_name", "tool_call_id", "outcome")
"""What a result says first, and what columns of the ledger say as well."""

_WHOLE = '{"part_kind":'
"""How a result's JSON begins when it is all there."""

_NOTHING = {field.name for field in fields(RequestUsage) if field.default == 0} | {"details"}
"""What of a response's usage is nothing when it is not said."""

_READABLE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_ESCAPED = json.JSONEncoder(separators=(",", ":"))

_PROMPTED = '{"parts":[{"in_run":true,'
"""How the body of a run's first message begins when its prompt is on the run's row."""


class StoredMessage(NamedTuple):
    """A message's row, with the name of its run."""

    seq: int
    run_pk: int
    run_id: str
    kind: str
    body: str
    instructions_pk: int | None
    prompt: str | None = None
    """What the run's row says, if the message is the run's first."""
    conversation_id: str = ""
    """The session that it was written in: in a fork, that may be an origin."""


@dataclass(frozen=True)
class Elsewhere:
    """What other rows say of the messages that are being read."""

    session_id: str
    """The one that is read, for errors."""
    results: Mapping[tuple[int, str], str] = field(default_factory=dict)
    """By the run's key and the call's id: JSON of the `ToolReturnPart`."""
    instructions: Mapping[int, bytes] = field(default_factory=dict)
    """By the blob's key."""


def call_key(call_id: str) -> str:
    """Return by what the ledger of calls knows a call: its id, if that can be a key.

    Providers give them, and may give anything.
    """
    key = plain(call_id)
    return key if len(key) <= KEY_CHARS else hashlib.sha256(key.encode()).hexdigest()


def dump_result(part: ToolReturnPart) -> str:
    """Return a tool's result as JSON."""
    said = _lean(_RESULTS.dump_python([part], mode="json")[0])
    return as_json({key: said[key] for key in _IN_COLUMNS} | said)


def short_result(text: str, key: str, tool: str, outcome: str) -> str:
    """Return a result's JSON without what the other columns of its row say, if they say it all."""
    head = _head_of_result(key, tool, outcome)
    return "{" + text[len(head) :] if text.startswith(head) else text


def long_result(text: str, key: str, tool: str, outcome: str) -> str:
    """Return the whole JSON of what `short_result` has made."""
    return text if text.startswith(_WHOLE) else _head_of_result(key, tool, outcome) + text[1:]


def _head_of_result(key: str, tool: str, outcome: str) -> str:
    columns = zip(_IN_COLUMNS, ("tool-return", tool, key, outcome), strict=True)
    return as_json(dict(columns))[:-1] + ","


def read_result(text: str) -> ToolReturnPart:
    """Return a tool's result from its row in the ledger.

    Raises:
        ValueError: If it is none.
    """
    try:
        return _RESULTS.validate_json(f"[{text}]")[0]
    except ValidationError:
        return _RESULTS.validate_python([_with_bytes(json.loads(text))])[0]


def as_json(value: object) -> str:
    """Return compact JSON that every database takes, lone surrogates escaped."""
    text = _READABLE.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED.encode(value)
    return text


def message_body(
    message: ModelMessage,
    *,
    run_id: str,
    session_id: str,
    prompt: str | None,
    results: Mapping[str, str],
) -> tuple[str, str | None]:
    """Return a message's body for its row, and its instructions if it has any.

    Args:
        message: The message.
        run_id: The run whose row it will name.
        session_id: The session whose row it will name.
        prompt: What the run's row says, if the message is the run's first.
        results: What the ledger says of the run's calls, by their keys: JSON.
    """
    body: dict[str, Any] = ModelMessagesTypeAdapter.dump_python([message], mode="json")[0]
    body = {key: value for key, value in body.items() if value is not None and key != "kind"}
    body["parts"] = [_lean(part) for part in body["parts"]]
    used = _used(body.pop("usage", {}))
    if used:
        body["usage"] = used
    if body.get("state") == "complete":
        del body["state"]
    said = {
        "run_id": body.pop("run_id", None),
        "conversation_id": body.pop("conversation_id", None),
    }
    known = {"run_id": run_id, "conversation_id": session_id}
    if said["run_id"] is not None:  # an attempt at the run is the run
        said["run_id"] = run_of(said["run_id"])
    own = {key: value for key, value in said.items() if value != known[key]}
    instructions: str | None = body.pop("instructions", None)
    if message.kind == "request":
        body["parts"] = [_in_ledger(part, results) for part in body["parts"]]
        if prompt is not None and body["parts"] and not own:
            body["parts"][0] = _in_run(body["parts"][0], prompt)
    return as_json({**own, **body}), instructions


def _used(usage: dict[str, Any]) -> dict[str, Any]:
    """Return a usage without zeros: a provider counts three of a dozen things."""
    return {
        key: value
        for key, value in usage.items()
        if value is not None and not (key in _NOTHING and not value)
    }


def _lean(part: dict[str, Any]) -> dict[str, Any]:
    """Return a part without nulls that are what Pydantic AI takes where nothing is said.

    Not without any: a tool may have returned null, and so may what it returned have them.
    """
    if part["part_kind"] not in _LEAN:
        return part
    return {key: value for key, value in part.items() if value is not None or key == "content"}


def _in_run(part: dict[str, Any], prompt: str) -> dict[str, Any]:
    if part.get("part_kind") != "user-prompt" or part["content"] != prompt:
        return part
    return {"in_run": True} | {key: value for key, value in part.items() if key != "content"}


def _in_ledger(part: dict[str, Any], results: Mapping[str, str]) -> dict[str, Any]:
    if part["part_kind"] != "tool-return":
        return part
    key = call_key(part["tool_call_id"])
    # As JSON: to Python, 1 and true are the same.
    part = {name: part[name] for name in _IN_COLUMNS} | part
    return {IN_LEDGER: key} if key in results and results[key] == as_json(part) else part


def read_messages(rows: Sequence[StoredMessage], elsewhere: Elsewhere) -> list[ModelMessage]:
    """Return the messages that rows hold, in the same order.

    Raises:
        HistoryUnreadableError: If one of them is none; it names session and message.
    """
    try:
        with left_alone():
            texts = [_text(row, elsewhere) for row in rows]
            messages = ModelMessagesTypeAdapter.validate_json("[" + ",".join(texts) + "]")
            for row, message in zip(rows, messages, strict=True):
                _complete(message, row, elsewhere)
    except _UNREADABLE:
        return _one_by_one(rows, elsewhere)
    return messages


def is_settled(message: ModelMessage) -> bool:
    """Say whether a history can go on after a message: nothing is left that has no answer."""
    if isinstance(message, ModelResponse):
        return not message.tool_calls
    return not any(isinstance(part, UserPromptPart) for part in message.parts)


def _one_by_one(rows: Sequence[StoredMessage], elsewhere: Elsewhere) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for row in rows:
        try:
            (message,) = messages_of(f"[{_text(row, elsewhere)}]")
            _complete(message, row, elsewhere)
            messages.append(message)
        except _UNREADABLE as error:
            fork_at = _last_settled(rows, messages)
            raise HistoryUnreadableError(elsewhere.session_id, row.seq, fork_at=fork_at) from error
    return messages


def _last_settled(rows: Sequence[StoredMessage], messages: Sequence[ModelMessage]) -> int:
    """Return the number of the last of the messages that another run can follow, or did."""
    before = zip(rows, rows[1:], messages, strict=False)
    return max(
        (
            row.seq
            for row, following, message in before
            if is_settled(message) or following.run_pk != row.run_pk
        ),
        default=rows[0].seq - 1,
    )


def messages_of(text: str) -> list[ModelMessage]:
    """Return the messages of a JSON list.

    Raises:
        ValueError: If it is none.
    """
    try:
        return ModelMessagesTypeAdapter.validate_json(text)
    except ValidationError:
        return ModelMessagesTypeAdapter.validate_python(_with_bytes(json.loads(text)))


def _with_bytes(value: Any) -> Any:
    """Return JSON that was read by Python as Pydantic takes it from there: with bytes as bytes.

    Pydantic's own reader refuses lone surrogates, and only that one knows of base64.
    """
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    if not isinstance(value, dict):
        return value
    value = {key: _with_bytes(item) for key, item in value.items()}
    if value.get("kind") == "binary" and isinstance(value.get("data"), str):
        with suppress(ValueError):  # what a tool returned may look like a file and be none
            value["data"] = base64.b64decode(value["data"], altchars="-_", validate=True)
    return value


def _text(row: StoredMessage, elsewhere: Elsewhere) -> str:
    """Return a message's JSON, but for what `_complete` fills in."""
    body = row.body
    if row.prompt is not None and body.startswith(_PROMPTED):
        body = '{"parts":[{"content":"",' + body.removeprefix(_PROMPTED)
    if row.kind == "request" and IN_LEDGER in body:
        whole = json.loads(body)
        whole["parts"] = [_from_ledger(part, row, elsewhere) for part in whole["parts"]]
        body = as_json(whole)
    return f'{{"kind":"{row.kind}",' + body[1:]


def _complete(message: ModelMessage, row: StoredMessage, elsewhere: Elsewhere) -> None:
    """Fill in what need not be JSON first: texts that would be escaped, and taken apart again."""
    own = () if row.body.startswith('{"parts":') else json.loads(row.body)
    if "run_id" not in own:
        message.run_id = row.run_id
    if "conversation_id" not in own:
        message.conversation_id = row.conversation_id
    if isinstance(message, ModelResponse):
        return
    if row.instructions_pk is not None:
        stored = elsewhere.instructions[row.instructions_pk]
        message.instructions = stored.decode(errors="surrogatepass")
    first = message.parts[0] if message.parts else None
    if row.prompt is not None and row.body.startswith(_PROMPTED):
        assert isinstance(first, UserPromptPart), "it was written as one"
        first.content = row.prompt


def _from_ledger(part: dict[str, Any], row: StoredMessage, elsewhere: Elsewhere) -> dict[str, Any]:
    if IN_LEDGER not in part:
        return part
    result: dict[str, Any] = json.loads(elsewhere.results[row.run_pk, part[IN_LEDGER]])
    return result
