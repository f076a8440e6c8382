"""Messages → rows, and back.

A row holds what no other row says. The instructions stand in every request of a run, and would be
most of what is stored: they are kept once, as a blob. The prompt is on the run's row, a tool's
result in the ledger of calls, where they were written before there was a message to hold them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any  # what JSON holds

from pydantic import TypeAdapter, ValidationError
from pydantic_ai.messages import (
    ModelMessage,
    ModelMessagesTypeAdapter,
    ModelResponse,
    ToolReturnPart,
    UserPromptPart,
)

from orchestrator.errors import HistoryUnreadableError

_RESULT = TypeAdapter(ToolReturnPart)

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What comes of a row that holds no message; pydantic's `ValidationError` is a `ValueError`."""
COMPACTION = "compaction"
"""The kind of a row that is no message, but what a model was given instead of some."""

IN_LEDGER = "in_ledger"
"""The one key of a part whose whole is in the ledger of calls; its value is the call's id."""

_PROMPTED = '{"parts":[{"in_run":true,'
"""How the body of a run's first message begins when its prompt is on the run's row."""


@dataclass(frozen=True)
class StoredMessage:
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


def dump_result(part: ToolReturnPart) -> dict[str, Any]:
    """Return a tool's result as its row and its message hold it."""
    dumped: dict[str, Any] = _RESULT.dump_python(part, mode="json", exclude_none=True)
    return dumped


def as_json(value: object) -> str:
    """Return compact JSON that every database takes, lone surrogates escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def message_body(
    message: ModelMessage,
    *,
    run_id: str,
    session_id: str,
    prompt: str | None,
    results: Mapping[str, dict[str, Any]],
) -> tuple[str, str | None]:
    """Return a message's body for its row, and its instructions if it has any.

    Args:
        message: The message.
        run_id: The run whose row it will name.
        session_id: The session whose row it will name.
        prompt: What the run's row says, if the message is the run's first.
        results: What the ledger says of the run's calls, by their ids.
    """
    body: dict[str, Any] = ModelMessagesTypeAdapter.dump_python(
        [message], mode="json", exclude_none=True
    )[0]
    del body["kind"]
    own: dict[str, Any] = {}
    for key, known in (("run_id", run_id), ("conversation_id", session_id)):
        said = body.pop(key, None)
        if said != known:
            own[key] = said
    instructions: str | None = body.pop("instructions", None)
    if message.kind == "request":
        body["parts"] = [_in_ledger(part, results) for part in body["parts"]]
        if prompt is not None and not own:
            body["parts"][0] = _in_run(body["parts"][0], prompt)
    return as_json({**own, **body}), instructions


def _in_run(part: dict[str, Any], prompt: str) -> dict[str, Any]:
    if part.get("part_kind") != "user-prompt" or part["content"] != prompt:
        return part
    return {"in_run": True} | {key: value for key, value in part.items() if key != "content"}


def _in_ledger(part: dict[str, Any], results: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if part["part_kind"] == "tool-return" and results.get(part["tool_call_id"]) == part:
        return {IN_LEDGER: part["tool_call_id"]}
    return part


def read_messages(rows: Sequence[StoredMessage], elsewhere: Elsewhere) -> list[ModelMessage]:
    """Return the messages that rows hold, in the same order.

    Raises:
        HistoryUnreadableError: If one of them is none; it names session and message.
    """
    try:
        texts = [_whole(row, elsewhere) for row in rows]
        return ModelMessagesTypeAdapter.validate_json("[" + ",".join(texts) + "]")
    except _UNREADABLE:
        return _one_by_one(rows, elsewhere)


def is_settled(message: ModelMessage) -> bool:
    """Say whether a history can go on after a message: nothing is left that has no answer."""
    if isinstance(message, ModelResponse):
        return not message.tool_calls
    return not any(isinstance(part, UserPromptPart) for part in message.parts)


def _one_by_one(rows: Sequence[StoredMessage], elsewhere: Elsewhere) -> list[ModelMessage]:
    messages: list[ModelMessage] = []
    for row in rows:
        try:
            messages.append(_alone(_whole(row, elsewhere)))
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


def _alone(text: str) -> ModelMessage:
    try:
        return ModelMessagesTypeAdapter.validate_json(f"[{text}]")[0]
    except ValidationError:  # JSON of lone surrogates, which pydantic's own reader refuses
        return ModelMessagesTypeAdapter.validate_python([json.loads(text)])[0]


def _whole(row: StoredMessage, elsewhere: Elsewhere) -> str:
    """Return a message's JSON, filled with what other rows say."""
    head = f'"kind":"{row.kind}","run_id":"{row.run_id}","conversation_id":"{row.conversation_id}"'
    if row.instructions_pk is not None:
        instructions = elsewhere.instructions[row.instructions_pk].decode()
        head += f',"instructions":{as_json(instructions)}'
    body = row.body
    if row.prompt is not None and body.startswith(_PROMPTED):
        content = '{"parts":[{"content":' + as_json(row.prompt) + ","
        body = content + body.removeprefix(_PROMPTED)
    if body.startswith('{"parts":') and IN_LEDGER not in body:
        # No need to take it apart and to put it together again.
        return "{" + head + "," + body[1:]
    fields = {**json.loads("{" + head + "}"), **json.loads(body)}
    if row.kind == "request":
        fields["parts"] = [_from_ledger(part, row, elsewhere) for part in fields["parts"]]
    return as_json(fields)


def _from_ledger(part: dict[str, Any], row: StoredMessage, elsewhere: Elsewhere) -> dict[str, Any]:
    if IN_LEDGER not in part:
        return part
    result: dict[str, Any] = json.loads(elsewhere.results[row.run_pk, part[IN_LEDGER]])
    return result
