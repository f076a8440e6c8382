"""Lines as a hostile or clumsy client writes them: each is answered, and none ends the server."""

from collections.abc import Iterator

import pytest

from mcp_server.wire import MAX_LINE_BYTES
from tests.mcp_server.conftest import Yard
from tests.mcp_server.raw import Wire, line, serving

PARSE_ERROR, INVALID_REQUEST, NO_METHOD, INVALID_PARAMS = -32700, -32600, -32601, -32602


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """One server for all faults, as each of them has to leave it at work."""
    root = tmp_path_factory.mktemp("root")
    yard = Yard(root, root)
    yard.write("docs/guide.md", "# Guide\n\nRun main.\n")
    with serving(root) as served:
        yield served


def raw(**members: str) -> bytes:
    """Return an object of members that are JSON already, or nearly."""
    return b"{%s}" % b", ".join(
        f'"{name}": {value}'.encode("utf-8", "surrogateescape") for name, value in members.items()
    )


def call(**members: str) -> bytes:
    return raw(**{"jsonrpc": '"2.0"', "id": "7", "method": '"tools/call"', **members})


def reading(path: str) -> str:
    return '{"name": "read_file", "arguments": {"path": ' + path + "}}"


def nested(levels: int) -> str:
    """Return an object with an "id" of its own, which is not that of the message."""
    return '{"id": 3, "a": ' + "[" * levels + "]" * levels + "}"


NOT_JSON = {
    "text": b"hello",
    "half a message": call()[:40],
    "two messages in a line": call() + call(),
    "single quotes": b"{'id': 7}",
    "a trailing comma": call()[:-1] + b",}",
    "a NUL in front": b"\0" + call(),
    "NUL alone": b"\0" * 100,
    "a NUL in a string": call(params=reading('"a\0b"')),
    "a bare control character": call(params=reading('"a\x1bb"')),
    "a byte order mark": b"\xef\xbb\xbf" + call(),
    "UTF-16": call().decode().encode("utf-16-le"),
    "bytes at random": bytes(range(11, 256)),
    "brackets without end": b"[" * 150,
    "a carriage return alone between two messages": call() + b"\r" + call(),
    "a header of another protocol": b"Content-Length: 100\r",
}
NO_REQUEST = {
    "a number": (b"7", None),
    "a string": (b'"tools/call"', None),
    "null": (b"null", None),
    "true": (b"true", None),
    "an empty array": (b"[]", None),
    "a batch": (b"[" + call() + b"]", None),
    "an empty object": (b"{}", None),
    "no method": (raw(jsonrpc='"2.0"', id="7"), 7),
    "a method that is a number": (call(method="5"), 7),
    "a method that is null": (call(method="null"), 7),
    "a method that is a number, without an id": (raw(jsonrpc='"2.0"', method="1"), None),
    "params that are an array": (call(params="[1]"), 7),
    "params that are a string": (call(params='"x"'), 7),
    "params that are false": (call(params="false"), 7),
    "no version": (raw(id="7", method='"ping"'), 7),
    "another version": (call(jsonrpc='"1.0"'), 7),
    "a version that is a number": (call(jsonrpc="2.0"), 7),
    "an id of null": (call(id="null"), None),
    "an id of true": (call(id="true"), None),
    "an id with a fraction": (call(id="1.5"), None),
    "an id of infinity": (call(id="1e999"), None),
    "an id that is an object": (call(id='{"a": 1}'), None),
    "an id that is an array": (call(id="[7]"), None),
    "half a character in an argument": (call(params=reading(r'"a\ud800b"')), 7),
    "half a character in a name": (call(params=r'{"\udc00": 1}'), 7),
    "half a character in the method": (call(method=r'"\ud800"'), 7),
    "half a character in the id": (call(id=r'"\ud800"'), None),
    "an argument that is not UTF-8": (call(params=reading('"caf\udce9"')), 7),
    "a surrogate in UTF-8": (call(params=reading('"\udced\udca0\udc80"')), 7),
    "an overlong encoding": (call(params=reading('"\udcc0\udcaf"')), 7),
    "300 levels": (call(params=nested(300)), 7),
    "100,000 levels": (call(params=nested(100_000)), 7),
    "100,000 levels, with the id at the end": (
        raw(method='"ping"', params=nested(100_000), id="7"),
        7,
    ),
    "100,000 levels of a response": (
        raw(jsonrpc='"2.0"', id="7", result=nested(100_000)),
        None,
    ),
    "a number of 5,000 digits": (call(params='{"a": %s}' % ("9" * 5000)), 7),
    "a line that is too long": (call(params=reading(f'"{"a" * MAX_LINE_BYTES}"')), 7),
    "a line that is too long, with the id at the end": (
        raw(method='"tools/call"', params=reading(f'"{"a" * MAX_LINE_BYTES}"'), id='"x"'),
        "x",
    ),
    "a line that is too long, of text": (b"a" * (MAX_LINE_BYTES + 1), None),
}
REFUSED = {
    "a tool that is a number": (call(params='{"name": 5}'), INVALID_PARAMS),
    "no tool": (call(params="{}"), INVALID_PARAMS),
    "no params": (call(), INVALID_PARAMS),
    "null for params": (call(params="null"), INVALID_PARAMS),
    "arguments that are a string": (
        call(params='{"name": "read_file", "arguments": "x"}'),
        INVALID_PARAMS,
    ),
    "_meta that is a string": (
        call(params='{"name": "read_file", "_meta": "x", "arguments": {}}'),
        INVALID_PARAMS,
    ),
    "a cursor that is a list": (
        call(method='"tools/list"', params='{"cursor": []}'),
        INVALID_PARAMS,
    ),
    "an unknown method": (call(method='"tools/nope"'), NO_METHOD),
    "a method without a name": (call(method='""'), NO_METHOD),
}
SERVED = {
    "a carriage return at the end": call(params=reading('"docs/guide.md"')) + b"\r",
    "space around it": b" \t " + call(params=reading('"docs/guide.md"')) + b"  ",
    "members that say nothing": call(params=reading('"docs/guide.md"'), x="[1, {}]"),
    "a name twice, of which the last one counts": call(
        params='{"name": "read_file", "arguments": {"path": "nope", "path": "docs/guide.md"}}'
    ),
    "escapes": call(params=reading(r'"docs\/guid\u0065.md"')),
}
TOLD = {
    "1e999": call(params='{"name": "read_file", "arguments": {"path": "x", "limit": 1e999}}'),
    "-1e999": call(params='{"name": "read_file", "arguments": {"path": "x", "limit": -1e999}}'),
    "NaN": call(params='{"name": "read_file", "arguments": {"path": "x", "offset": NaN}}'),
    "400 digits": call(
        params='{"name": "read_file", "arguments": {"path": "docs/guide.md", "offset": %s}}'
        % ("9" * 400)
    ),
    "a path that is a list": call(params=reading('["a"]')),
    "a NUL in a path": call(params=reading(r'"a\u0000b"')),
    "a path of a million characters": call(params=reading(f'"{"a" * 10**6}"')),
    "an argument that is no identifier": call(
        params='{"name": "read_file", "arguments": {"": 1, "\U0001f600": 2}}'
    ),
}
UNANSWERED = {
    "an empty line": b"",
    "space": b" \t\r",
    "a notification with wrong params": raw(jsonrpc='"2.0"', method='"x"', params="[]"),
    "a notification of another version": raw(jsonrpc='"1.0"', method='"x"'),
    "a notification with half a character": raw(
        jsonrpc='"2.0"', method='"x"', params=r'{"a": "\ud800"}'
    ),
    "an unknown notification": raw(jsonrpc='"2.0"', method='"notifications/nope"'),
    "a cancellation of nothing": raw(
        jsonrpc='"2.0"', method='"notifications/cancelled"', params='{"requestId": 99}'
    ),
    "a cancellation without an id": raw(jsonrpc='"2.0"', method='"notifications/cancelled"'),
    "a cancellation with a wrong id": raw(
        jsonrpc='"2.0"', method='"notifications/cancelled"', params='{"requestId": [true]}'
    ),
    "an answer to nothing": raw(jsonrpc='"2.0"', id="1", result="{}"),
    "an answer that is broken": raw(jsonrpc='"2.0"', id="1", result="5"),
    "an error that is broken": raw(jsonrpc='"2.0"', id="null", error='"x"'),
}


@pytest.mark.parametrize("fault", NOT_JSON.values(), ids=NOT_JSON)
def test_a_line_that_is_not_json_is_answered(wire: Wire, fault: bytes) -> None:
    wire.send(fault + b"\n")
    answer = wire.answer()
    assert (answer["error"]["code"], answer["id"]) == (PARSE_ERROR, None)
    assert answer["error"]["message"].startswith("The line is not JSON: ")
    wire.goes_on_serving()


@pytest.mark.parametrize(("fault", "number"), NO_REQUEST.values(), ids=NO_REQUEST)
def test_json_that_is_no_request_is_answered_with_its_id(
    wire: Wire, fault: bytes, number: object
) -> None:
    wire.send(fault + b"\n")
    answer = wire.answer()
    assert (answer["error"]["code"], answer["id"]) == (INVALID_REQUEST, number)
    wire.goes_on_serving()


@pytest.mark.parametrize(("fault", "code"), REFUSED.values(), ids=REFUSED)
def test_params_of_the_wrong_types_are_answered(wire: Wire, fault: bytes, code: int) -> None:
    wire.send(fault + b"\n")
    answer = wire.answer()
    assert (answer["error"]["code"], answer["id"]) == (code, 7)
    wire.goes_on_serving()


@pytest.mark.parametrize("request_line", SERVED.values(), ids=SERVED)
def test_what_is_unusual_but_right_is_served(wire: Wire, request_line: bytes) -> None:
    wire.send(request_line + b"\n")
    assert "Run main." in wire.answer()["result"]["content"][0]["text"]
    wire.goes_on_serving()


@pytest.mark.parametrize("request_line", TOLD.values(), ids=TOLD)
def test_values_that_are_no_use_are_told_to_the_model(wire: Wire, request_line: bytes) -> None:
    wire.send(request_line + b"\n")
    answer = wire.answer()
    assert (answer["id"], answer["result"]["isError"]) == (7, True)
    wire.goes_on_serving()


@pytest.mark.parametrize("said", UNANSWERED.values(), ids=UNANSWERED)
def test_what_nobody_waits_for_is_not_answered(wire: Wire, said: bytes) -> None:
    wire.send(said + b"\n")
    wire.goes_on_serving()


@pytest.mark.parametrize("number", [0, -1, 10**99, 2**63, "", "7", "é\U0001f600", "9" * 5000])
def test_an_id_comes_back_as_it_was(wire: Wire, number: object) -> None:
    wire.send(line(number))
    assert wire.answer()["id"] == number
    wire.goes_on_serving()


def test_an_id_in_use_twice_is_answered_twice(wire: Wire) -> None:
    wire.send(line(7) + line("7") + line(7))
    assert sorted(str(answer["id"]) for answer in wire.answers(3)) == ["7", "7", "7"]
    wire.goes_on_serving()


def test_a_message_in_pieces_is_one_message(wire: Wire) -> None:
    for byte in line(7):
        wire.send(bytes([byte]))
    assert wire.answer()["id"] == 7
    wire.goes_on_serving()


def test_a_message_of_the_greatest_length_is_taken(wire: Wire) -> None:
    padding = MAX_LINE_BYTES - len(call(params=reading('""')))
    wire.send(call(params=reading(f'"{"a" * padding}"')) + b"\n")
    assert wire.answer()["result"]["isError"]
    wire.goes_on_serving()
