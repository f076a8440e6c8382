r"""JSON-RPC messages as lines of JSON: how they are read, refused and written.

Source: https://www.jsonrpc.org/specification, and "stdio" under "Transports" in the specification
of MCP: one message a line, UTF-8, no batches, and no `null` for an id.
"""

import json
import re
from collections.abc import Iterator
from typing import Any  # JSON as it comes

import mcp_types as types
from pydantic import ValidationError
from pydantic_core import from_json

from mcp_server.text import SURROGATE

MAX_LINE_BYTES = 1 << 25
"""Longest message: room for the largest file that may be written by default, in JSON's escapes."""
_END_BYTES = 4096  # of a message too long to be kept: enough to find its id there

_NAMED = rb'"(?:jsonrpc|method)"\s*:\s*"[^"\\]*"'
_ID = rb'"id"\s*:\s*(?P<id>-?[0-9]{1,100}|"[^"\\]*")'
_START = re.compile(rb"\s*\{\s*(?:(?:" + _NAMED + rb"|" + _ID + rb")\s*,\s*)*")
_END = re.compile(rb",\s*" + _ID + rb"\s*(?:,\s*" + _NAMED + rb"\s*)*\}\s*$")
_HALF_ESCAPED = re.compile(rb"\\u[dD][89a-fA-F]")


class NotAMessageError(Exception):
    """A line that cannot be taken; `answer` is what its sender is told, if it waits for any."""

    def __init__(self, reason: str, answer: types.JSONRPCError | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


class TooLong(bytes):
    """What is left of a line over `MAX_LINE_BYTES`: its two ends."""


class Lines:
    """Cuts bytes, as they come, into lines; of one that is too long it keeps the ends alone."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the lines that `chunk` ends, without their ends."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._hold(part)
            yield self.rest()
        self._hold(rest)

    def rest(self) -> bytes:
        """Return what has no end yet, and begin anew."""
        line = b"".join(self._parts)
        is_whole = self._size <= MAX_LINE_BYTES
        self._parts, self._size = [], 0
        return line if is_whole else TooLong(line)

    def _hold(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MAX_LINE_BYTES:
            kept = b"".join(self._parts)
            end = max(_END_BYTES, len(kept) - _END_BYTES)
            self._parts = [kept[:_END_BYTES], kept[end:]]


def decode(line: bytes) -> types.JSONRPCMessage:
    """Return the message that a line holds.

    Of two members with the same name the last one counts. NaN and infinity are taken although they
    are not JSON: where such a number is no use, the tool says so.

    Raises:
        NotAMessageError: it holds none.
    """
    if isinstance(line, TooLong):
        reason = f"it is longer than {MAX_LINE_BYTES:,} bytes; send less at once"
        raise _invalid(_id_at_the_ends(line), reason)
    try:
        value = from_json(line)
    except ValueError:
        raise _unparsable(line) from None
    if not isinstance(value, dict):
        raise _invalid(None, "a message is one JSON object, and MCP has no batches")
    model = _model_of(value)
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
    reason = f"{str(fault['loc'][0])!r} is wrong ({fault['msg']})"
    if model is types.JSONRPCRequest:
        raise _invalid(_usable(value["id"]), reason)
    raise NotAMessageError(reason)


def encode(message: types.JSONRPCMessage) -> bytes:
    """Return a message as a line, whatever its strings hold: one bad answer must not end all.

    Tools answer without lone surrogates (`text.outgoing`); whatever brings some here all the same
    has each of them replaced.
    """
    try:
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:  # a lone surrogate is what has no UTF-8
        value = message.model_dump(by_alias=True, exclude_unset=True)
        text = SURROGATE.sub("\ufffd", json.dumps(value, ensure_ascii=False))
    return text.encode() + b"\n"


def _model_of(value: dict[str, Any]) -> type[types.JSONRPCMessage]:
    if isinstance(value.get("method"), str):
        return types.JSONRPCRequest if "id" in value else types.JSONRPCNotification
    if "method" not in value and "result" in value:
        return types.JSONRPCResponse
    if "method" not in value and "error" in value:
        return types.JSONRPCError
    raise _invalid(_usable(value.get("id")), "'method' has to be there, and a string")


def _unparsable(line: bytes) -> NotAMessageError:
    """Return the refusal of a line that the strict parser has refused.

    The lenient one of the standard library tells what is not JSON from what is JSON that cannot be
    taken. The latter has an id, whose answer somebody waits for.
    """
    reason = "it is nested too deeply, or holds a number with too many digits"
    if _HALF_ESCAPED.search(line):
        reason = "it holds half of a surrogate pair, such as \\ud800, which is not a character"
    try:
        text = line.decode()
    except UnicodeDecodeError:
        text, reason = line.decode(errors="replace"), "it is not UTF-8"
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        return _refusal(types.PARSE_ERROR, None, f"The line is not JSON: {error}.")
    except (RecursionError, ValueError):  # too deep for this parser too; too many digits
        return _invalid(_id_at_the_ends(line), reason)
    if isinstance(value, dict) and "id" not in value and isinstance(value.get("method"), str):
        return NotAMessageError(reason)
    return _invalid(_usable(value.get("id")) if isinstance(value, dict) else None, reason)


def _id_at_the_ends(line: bytes) -> types.RequestId | None:
    """Return the id of a request that cannot be parsed, when it stands where clients write it.

    That is ahead of `params` or behind it: there it cannot be the "id" of something inside. The
    answer to a response would be taken for that to a request, so without a method there is none.
    """
    members = _START.match(line[:_END_BYTES])
    if members is None or b'"method"' not in members[0]:
        return None
    found = members if members["id"] else _END.search(line[-_END_BYTES:])
    return _usable(json.loads(found["id"].decode(errors="replace"))) if found else None


def _usable(value: object) -> types.RequestId | None:
    """Return an id that an answer can carry; None for any other value."""
    if isinstance(value, str):
        return None if SURROGATE.search(value) else value
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _invalid(request_id: types.RequestId | None, reason: str) -> NotAMessageError:
    message = f"The line is no message that can be taken: {reason}."
    return _refusal(types.INVALID_REQUEST, request_id, message)


def _refusal(code: int, request_id: types.RequestId | None, message: str) -> NotAMessageError:
    error = types.ErrorData(code=code, message=message)
    answer = types.JSONRPCError(jsonrpc="2.0", id=request_id, error=error)
    return NotAMessageError(message, answer)
