"""How stdin and stdout begin, fill up and end, with a real process at the other side."""

import errno
import json
import os
import pty
import random
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from fcntl import F_GETFL, fcntl
from pathlib import Path

import pytest

from mcp_server.stdio import MAX_AT_ONCE, MAX_HELD_BYTES
from tests.mcp_server.conftest import Yard
from tests.mcp_server.raw import (
    INITIALIZE,
    TIMEOUT_S,
    Wire,
    called,
    command,
    line,
    serving,
)

START = json.dumps(INITIALIZE).encode() + b"\n"
STALL_S = 1  # without room for a byte: the server has stopped to read


def run(yard: Yard, said: bytes) -> tuple[int, list[object], str]:
    """Return exit code, ids of the answers and log of a server that is told `said`.

    An id of None stands for every answer that is an error.
    """
    done = subprocess.run(
        command(yard.root), input=START + said, capture_output=True, timeout=TIMEOUT_S
    )
    answers = [json.loads(answer) for answer in done.stdout.splitlines()]
    ids = [answer["id"] if "result" in answer else None for answer in answers]
    return done.returncode, ids, done.stderr.decode()


@pytest.mark.parametrize(
    ("said", "answered"),
    [
        (line(1) + line(2).rstrip(b"\n"), ["start", 1, 2]),
        (line(1) + line(2)[:-5], ["start", 1, None]),
        (line(1) + b"\n \n", ["start", 1]),
        (b"".join(map(line, range(500))), ["start", *range(500)]),
    ],
    ids=["a line without an end", "half a line", "a blank line", "many calls"],
)
def test_all_that_came_before_the_end_of_stdin_is_answered(
    yard: Yard, said: bytes, answered: list[object]
) -> None:
    code, ids, log = run(yard, said)
    assert (code, sorted(map(str, ids)), log) == (0, sorted(map(str, answered)), "")


def test_answers_wait_for_a_client_that_reads_them_after_the_end(yard: Yard) -> None:
    yard.write("large.txt", "a line of text\n" * 300)
    with serving(yard.root) as wire:
        os.write(wire.stdin, b"".join(called(n, "read_file", path="large.txt") for n in range(100)))
        assert wire.process.stdin is not None
        wire.process.stdin.close()
        with pytest.raises(subprocess.TimeoutExpired):
            wire.process.wait(STALL_S)
        assert {answer["id"] for answer in wire.answers(100)} == set(range(100))
        assert wire.process.wait(TIMEOUT_S) == 0


def test_a_line_without_end_is_not_kept(yard: Yard) -> None:
    with serving(yard.root) as wire:
        for _ in range(200):
            wire.send(b"a" * 1_000_000)
        wire.send(b"\n")
        assert "longer than" in wire.answer()["error"]["message"]
        wire.goes_on_serving()
        assert wire.peak_bytes() < 170e6


def test_what_is_dropped_leaves_a_line_in_the_log(yard: Yard) -> None:
    code, ids, log = run(yard, b'{"jsonrpc": "2.0", "method": "x\\ny", "params": 5}\n')
    assert (code, ids) == (0, ["start"])
    assert log == (
        "WARNING mcp_server.stdio: dropped, as nobody waits for an answer: 'params' is wrong "
        "(Input should be a valid dictionary)\n"
    )


def test_files_can_stand_for_both_sides(yard: Yard, tmp_path: Path) -> None:
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    requests.write_bytes(START + b"".join(map(line, range(300))))
    with requests.open("rb") as stdin, answers.open("wb") as stdout:
        done = subprocess.run(command(yard.root), stdin=stdin, stdout=stdout, timeout=TIMEOUT_S)
    assert done.returncode == 0
    written = [json.loads(answer) for answer in answers.read_text().splitlines()]
    assert all("result" in answer for answer in written)
    assert {answer["id"] for answer in written} == {"start", *range(300)}


def test_null_devices_end_it_quietly(yard: Yard) -> None:
    null = subprocess.DEVNULL
    assert subprocess.run(command(yard.root), stdin=null, stdout=null).returncode == 0


def test_a_disk_that_is_full_is_told_by_the_exit_code(yard: Yard) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command(yard.root),
            input=START,
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_S,
        )
    assert done.returncode == 6
    reason = os.strerror(errno.ENOSPC)
    assert done.stderr.decode().endswith(f"Answers cannot be written to stdout: {reason}.\n")
    assert b"Traceback" not in done.stderr


def test_a_terminal_is_served(yard: Yard) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(yard.root), stdin=theirs, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            wire = Wire(process, ours, process.stdout.fileno())
            wire.initialize()
            wire.goes_on_serving()
            wire.send(b"\4")  # Ctrl-D
            assert process.wait(TIMEOUT_S) == 0
        finally:
            process.kill()
    os.close(ours)
    os.close(theirs)


def test_sockets_as_some_hosts_use_them_are_served(yard: Yard) -> None:
    """Node gives its children socket pairs for pipes."""
    their_stdin, our_stdin = socket.socketpair()
    their_stdout, our_stdout = socket.socketpair()
    with their_stdin, our_stdin, their_stdout, our_stdout:
        process = subprocess.Popen(
            command(yard.root), stdin=their_stdin.fileno(), stdout=their_stdout.fileno()
        )
        with process:
            try:
                wire = Wire(process, our_stdin.fileno(), our_stdout.fileno())
                wire.initialize()
                wire.send(b"".join(called(each, "nope") for each in range(5000)))
                assert {answer["id"] for answer in wire.answers(5000)} == set(range(5000))
                wire.goes_on_serving()
                our_stdin.shutdown(socket.SHUT_WR)
                assert process.wait(TIMEOUT_S) == 0
            finally:
                process.kill()


def test_no_pipe_is_made_non_blocking_for_those_who_share_it(yard: Yard) -> None:
    stdin, ours = os.pipe()
    answers, stdout = os.pipe()
    with subprocess.Popen(command(yard.root), stdin=stdin, stdout=stdout) as process:
        try:
            wire = Wire(process, ours, answers)
            wire.initialize()
            wire.goes_on_serving()
            assert not (fcntl(stdin, F_GETFL) | fcntl(stdout, F_GETFL)) & os.O_NONBLOCK
        finally:
            process.kill()
    for fd in (stdin, ours, answers, stdout):
        os.close(fd)


def test_what_is_printed_elsewhere_does_not_get_between_the_answers() -> None:
    code = """if True:
        import os, subprocess, sys
        from mcp_server.pipes import standard_streams

        print("before", flush=True)
        with standard_streams() as (stdin, stdout):
            print("printed")
            subprocess.run(["cat"])
            subprocess.run(["echo", "by a child"])
            os.write(stdout, os.read(stdin, 100))
        print("after")
        print(sys.stdin.read())
    """
    done = subprocess.run(
        [sys.executable, "-E", "-c", code], input="said", capture_output=True, text=True
    )
    assert done.stdout == "before\nsaidafter\n\n"
    assert sorted(done.stderr.splitlines()) == ["by a child", "printed"]


@pytest.mark.parametrize("closing", ["<&-", ">&-", "<&- >&-"])
def test_a_closed_stdin_or_stdout_is_one_clear_line(yard: Yard, closing: str) -> None:
    shell = ["sh", "-c", f'exec "$@" {closing}', "sh", *command(yard.root)]
    done = subprocess.run(shell, input=START, stderr=subprocess.PIPE, timeout=TIMEOUT_S)
    assert done.returncode == 6
    assert (
        done.stderr == b"python -m mcp_server: stdin and stdout have to be open: MCP goes there.\n"
    )


def test_a_flood_that_is_written_before_any_answer_is_read_is_answered(yard: Yard) -> None:
    count = 10_000
    flood = b"".join(
        line(each) if each % 10 == 0 else called(each, "nope") for each in range(count)
    )
    with serving(yard.root) as wire:
        written = 0
        while written < len(flood):
            _, writable, _ = select.select([], [wire.stdin], [], TIMEOUT_S)
            assert writable, "the server waits for answers to be read, although it has room"
            written += os.write(wire.stdin, flood[written:][: select.PIPE_BUF])
        ids = [answer["id"] for answer in wire.answers(count)]
        assert sorted(ids) == list(range(count))
        wire.goes_on_serving()
        assert wire.peak_bytes() < 150e6


@pytest.mark.long
def test_ten_thousand_files_are_read_over_one_connection(yard: Yard) -> None:
    yard.write("large.txt", "a line of text\n" * 300)
    with serving(yard.root) as wire:
        wire.send(b"".join(called(n, "read_file", path="large.txt") for n in range(10_000)))
        answers = wire.answers(10_000)
        assert {answer["id"] for answer in answers} == set(range(10_000))
        assert all("of 300 " in answer["result"]["content"][0]["text"] for answer in answers)
        wire.goes_on_serving()
        assert wire.peak_bytes() < 150e6


PADDING = " " * 1000 + "\n"  # fewer lines fill what there is


@pytest.mark.parametrize(
    "unread",
    [
        pytest.param(lambda n: called(n, "list_directory"), id="calls"),
        pytest.param(lambda _: b"x", id="lines that are not JSON"),
        pytest.param(lambda n: line(n, "ping"), id="pings", marks=pytest.mark.long),
    ],
)
def test_a_client_that_never_reads_is_stopped_and_loses_nothing(
    yard: Yard, unread: Callable[[int], bytes]
) -> None:
    with serving(yard.root) as wire:
        asked = written = 0
        rest = b""
        while select.select([], [wire.stdin], [], STALL_S)[1]:
            while len(rest) < select.PIPE_BUF:
                rest += unread(asked).replace(b"\n", b"") + PADDING.encode()
                asked += 1
            sent = os.write(wire.stdin, rest[: select.PIPE_BUF])
            rest = rest[sent:]
            written += sent
            assert written < 100 * MAX_HELD_BYTES
        assert wire.peak_bytes() < 150e6
        wire.send(rest)
        ids = sorted(str(answer["id"]) for answer in wire.answers(asked))
        assert ids in (sorted(map(str, range(asked))), ["None"] * asked)
        wire.goes_on_serving()


def test_a_server_whose_answers_nobody_reads_still_ends_on_a_signal(yard: Yard) -> None:
    with serving(yard.root) as wire:
        flood = called(1, "list_directory") * 10_000
        written = 0
        while written < len(flood):
            written += os.write(wire.stdin, flood[written:][: select.PIPE_BUF])
        wire.process.send_signal(signal.SIGTERM)
        assert wire.process.wait(TIMEOUT_S) == 128 + signal.SIGTERM


def cancelled(number: object) -> bytes:
    params = {"requestId": number}
    said = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}
    return json.dumps(said).encode() + b"\n"


def test_a_ping_passes_calls_that_wait(yard: Yard) -> None:
    calls = 20 * MAX_AT_ONCE
    with serving(yard.root) as wire:
        wire.send(b"".join(map(line, range(calls))) + line("ping", "ping"))
        ids = [answer["id"] for answer in wire.answers(calls + 1)]
        assert ids.index("ping") < calls - MAX_AT_ONCE


def test_a_call_that_is_cancelled_while_it_waits_is_not_begun(yard: Yard) -> None:
    calls = range(3 * MAX_AT_ONCE)
    last = calls[-1]
    with serving(yard.root) as wire:
        written = called(last, "write_file", path="new.txt", content="x")
        # At once: the pipe holds it all, so that it is read before anything is begun.
        os.write(
            wire.stdin, b"".join(map(line, calls[:-1])) + written + cancelled(last) + line("end")
        )
        ids = {answer["id"] for answer in wire.answers(len(calls))}
        assert ids == {*calls[:-1], "end"}
        wire.goes_on_serving()
    assert not (yard.root / "new.txt").exists()


def test_calls_that_are_cancelled_at_work_make_room_for_others(yard: Yard) -> None:
    calls = 3 * MAX_AT_ONCE
    with serving(yard.root) as wire:
        answered = 0
        for each in range(calls):
            wire.send(called(each, "grep", pattern="main") + line("begun", "ping"))
            while wire.answer()["id"] != "begun":
                answered += 1
            wire.send(cancelled(each))
        wire.send(line("end"))
        while wire.answer()["id"] != "end":
            answered += 1
        assert answered < calls - MAX_AT_ONCE, "too few were at work when they were cancelled"
        wire.goes_on_serving()


BASES = (
    line(0),
    called(0, "grep", pattern="ma(in|ke)", path="docs", glob="*.md"),
    called(0, "read_file", path="caf\u00e9 \U0001f600", offset=-5, limit=10**12),
    line(0, "ping"),
    line(0, "tools/list", {"cursor": "x"}),
    line(0, "resources/read", {"uri": "file:///etc/passwd", "_meta": {"progressToken": 5}}),
)
PIECES = [
    *b'{}[]",:\\\0\x7f\xff\xc0\xed /-+.eE0129',
    *(b"null", b"true", b"NaN", b"1e999", b"-1", b'"id"', b'"method"', b'"params"', b"\\ud800"),
    *(b"\\u0000", b"[" * 300, b"9" * 5000, b'"a":', b"\xed\xa0\x80", b'{"_meta":5}', b"\r"),
]


def mutated(number: int, dice: random.Random) -> bytes:
    """Return a request with a few bytes left out, doubled, exchanged or put in."""
    text = bytearray(dice.choice(BASES).rstrip(b"\n").replace(b'"id": 0', b'"id": %d' % number))
    for _ in range(dice.randint(1, 4)):
        start = dice.randrange(len(text) + 1)
        end = min(len(text), start + dice.choice((0, 1, 1, 2, 20)))
        piece = dice.choice(PIECES)
        piece = bytes([piece]) if isinstance(piece, int) else piece
        text[start:end] = dice.choice((b"", piece, piece, text[start:end] * 2))
    return bytes(text.replace(b"\n", b" "))


def is_waited_for(text: bytes) -> bool:
    """Whether JSON-RPC wants an answer, as far as the parser of the standard library can tell."""
    try:
        value = json.loads(text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return bool(text.strip())
    if not isinstance(value, dict):
        return True
    is_notification = "id" not in value and isinstance(value.get("method"), str)
    return not is_notification and not ("method" not in value and {"result", "error"} & set(value))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_no_mutation_of_a_request_is_met_with_silence(yard: Yard, seed: int) -> None:
    dice = random.Random(seed)
    with serving(yard.root) as wire:
        for number in range(2000):
            text = mutated(number, dice)
            wire.send(text + b"\n")
            if is_waited_for(text):
                answer = wire.answer()
                assert "result" in answer or "error" in answer, text
        wire.goes_on_serving()
