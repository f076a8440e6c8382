"""What is answered while the server is still being loaded, and what happens to it afterwards.

`held` is a server whose SDK cannot be loaded before the test says so: the package `mcp` that is
found first waits for a file. What is answered meanwhile, the front has answered.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any  # JSON as it comes

import pytest

from mcp_server.remembered import METHODS
from tests.mcp_server.raw import INITIALIZE, TIMEOUT_S, Wire, called, command, line

INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
START = json.dumps(INITIALIZE).encode() + b"\n"
STALL_S = 0.5
WAITS = """\
import importlib, os, sys, time

while not os.path.exists({gate!r}):
    time.sleep(0.005)
sys.path.remove({place!r})
del sys.modules["mcp"]
importlib.import_module("mcp")
"""
ALONE = """\
import sys
before = {name.partition(".")[0] for name in sys.modules}
import mcp_server.front
print(*sorted({name.partition(".")[0] for name in sys.modules} - before - sys.stdlib_module_names))
"""


@contextmanager
def started(words: list[str], environment: dict[str, str] | None = None) -> Iterator[Wire]:
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, env=environment) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Wire(process, process.stdin.fileno(), process.stdout.fileno())
        finally:
            process.kill()


class Served:
    """A root, and the ways to start a server for it."""

    def __init__(self, root: Path, beside: Path) -> None:
        self.words = command(root)
        self._gate = beside / "gate"
        self._place = beside / "first on the path"
        (self._place / "mcp").mkdir(parents=True)
        text = WAITS.format(gate=str(self._gate), place=str(self._place))
        (self._place / "mcp" / "__init__.py").write_text(text)

    def usual(self) -> AbstractContextManager[Wire]:
        return started(self.words)

    @contextmanager
    def held(self) -> Iterator[Wire]:
        """Start one that is not loaded before `let_load`."""
        self._gate.unlink(missing_ok=True)
        with started(self.words, os.environ | {"PYTHONPATH": str(self._place)}) as wire:
            yield wire

    def let_load(self) -> None:
        self._gate.touch()


def files() -> list[Path]:
    return sorted(Path(os.environ["XDG_CACHE_HOME"]).glob("workyard/answers/*"))


def listed(wire: Wire) -> dict[str, object]:
    """Ask what hosts ask first; return the results by method."""
    results: dict[str, object] = {}
    wire.send(START)
    results["initialize"] = wire.answer()["result"]
    wire.send(INITIALIZED)
    for method in ("tools/list", "resources/templates/list"):
        wire.send(line(method, method, {"_meta": {}}))
        results[method] = wire.answer()["result"]
    return results


@pytest.fixture
def served(tmp_path: Path) -> Served:
    """Return a server that has been asked before."""
    root = tmp_path / "root"
    (root / "docs").mkdir(parents=True)
    (root / "docs" / "guide.md").write_text("Run main.\n")
    served = Served(root, tmp_path)
    with served.usual() as wire:
        listed(wire)
        wire.goes_on_serving()
        wire.end()
        assert wire.process.wait(TIMEOUT_S) == 0  # it has kept what there is to keep
    return served


def assert_all_is_left_to_the_server(served: Served) -> None:
    with served.held() as wire:
        wire.send(START)
        with pytest.raises(AssertionError, match="no answer"):
            wire.answer(timeout_s=STALL_S)
        served.let_load()
        assert wire.answer()["id"] == "start"
        wire.goes_on_serving()


def test_what_was_asked_before_is_answered_while_the_sdk_cannot_be_loaded(served: Served) -> None:
    with served.usual() as wire:
        expected = listed(wire)

    with served.held() as wire:
        assert listed(wire) == expected
        served.let_load()
        wire.goes_on_serving()


def test_front_imports_nothing_but_the_standard_library_and_where_caches_are() -> None:
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["mcp_server", "platformdirs"]


def test_each_request_is_answered_once_whoever_answers(served: Served) -> None:
    with served.held() as wire:
        wire.send(START + INITIALIZED + line(1, "tools/list", {"_meta": {}}))
        first = [answer["id"] for answer in wire.answers(2)]
        wire.send(called(2, "write_file", path="new.txt", content="once"))
        wire.send(line(3, "tools/list", {"_meta": {}}) + line("4", "ping", {"_meta": {}}))
        assert wire.answer()["id"] == 3, "it does not wait for the call ahead of it"
        served.let_load()
        later = [answer["id"] for answer in wire.answers(2)]
        wire.send(line(5, "tools/list", {"_meta": {}}))
        assert wire.answer()["id"] == 5
        wire.end()
        assert wire.rest() == b""

    assert first == ["start", 1]
    assert sorted(map(str, later)) == ["2", "4"]


def test_line_that_is_half_said_when_the_server_comes_is_heard_whole(served: Served) -> None:
    whole = called(7, "read_file", path="docs/guide.md")
    with served.held() as wire:
        wire.send(START + whole[:30])
        wire.answer()
        served.let_load()
        wire.send(whole[30:])

        assert "Run main." in wire.answer()["result"]["content"][0]["text"]


def test_all_that_was_said_before_the_end_is_done(served: Served) -> None:
    with served.held() as wire:
        wire.send(START + called(7, "read_file", path="docs/guide.md"))
        wire.answer()
        wire.end()
        served.let_load()

        assert "Run main." in wire.answer()["result"]["content"][0]["text"]
        assert wire.process.wait(TIMEOUT_S) == 0


def test_client_that_reads_late_gets_every_answer_once_and_whole(served: Served) -> None:
    count = 200
    with served.held() as wire:
        asked = b"".join(line(n, "tools/list", {"_meta": {}}) for n in range(count))
        os.write(wire.stdin, START + asked)  # `send` would read
        time.sleep(STALL_S)
        served.let_load()
        answers = wire.answers(count + 1)
        wire.goes_on_serving()

    assert [answer["id"] for answer in answers[1:]] == list(range(count))
    assert len({json.dumps(answer["result"]) for answer in answers[1:]}) == 1


def test_flood_ahead_of_the_server_waits_in_the_pipe(served: Served) -> None:
    said = called("big", "read_file", path="docs/guide.md").rstrip() + b" " * 2_000_000 + b"\n"
    with served.held() as wire:
        wire.send(START)
        wire.answer()
        taken = 0
        while select.select([], [wire.stdin], [], STALL_S)[1]:
            taken += os.write(wire.stdin, said[taken : taken + select.PIPE_BUF])
        served.let_load()
        wire.send(said[taken:])

        assert taken < 600_000
        assert "Run main." in wire.answer()["result"]["content"][0]["text"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_server_that_is_still_loading(served: Served, number: int) -> None:
    with served.held() as wire:
        wire.send(START)
        wire.answer()
        wire.process.send_signal(number)

        assert wire.process.wait(TIMEOUT_S) in (-number, 128 + number)


def test_root_that_has_gone_is_said_and_nothing_answered(served: Served, tmp_path: Path) -> None:
    (tmp_path / "root").rename(tmp_path / "elsewhere")

    with served.usual() as wire:
        wire.send(START)
        assert wire.rest() == b""
        assert wire.process.wait(TIMEOUT_S) == 2


def test_client_that_says_something_else_of_itself_is_answered_by_the_server(
    served: Served,
) -> None:
    other = START.replace(b'"capabilities": {}', b'"capabilities": {"sampling": {}}')
    assert other != START
    with served.held() as wire:
        wire.send(other + line(1, "tools/list", {"_meta": {}}))
        with pytest.raises(AssertionError, match="no answer"):
            wire.answer(timeout_s=STALL_S)
        served.let_load()

        assert [answer["id"] for answer in wire.answers(2)] == ["start", 1]


def change(file: Path, alter: Callable[[dict[str, Any]], object]) -> None:
    kept = json.loads(file.read_text())
    alter(kept)
    file.write_text(json.dumps(kept))


def another_code(kept: dict[str, Any]) -> None:
    ours = next(name for name in kept["made_of"] if name.endswith("mcp_server/server.py"))
    kept["made_of"][ours] = [1, 2, 3]


def misspelt(kept: dict[str, Any]) -> None:
    text = json.dumps(kept["results"]).replace("read_file", "raed_file")
    kept["results"] = json.loads(text)


def no_results(kept: dict[str, Any]) -> None:
    kept["results"] = []


def exchange_for_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGE: dict[str, Callable[[Path], object]] = {
    "another code": lambda file: change(file, another_code),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "empty": lambda file: file.write_text(""),
    "not JSON": lambda file: file.write_bytes(b"\xff\x00"),
    "another shape": lambda file: file.write_text("[1]"),
    "results that are a list": lambda file: change(file, no_results),
    "results that are no text": lambda file: change(
        file, lambda kept: kept.update(results=dict.fromkeys(kept["results"], 5))
    ),
    "nested without end": lambda file: file.write_text("[" * 100_000),
    "writable for others": lambda file: file.chmod(0o666),
    "a directory": exchange_for_a_directory,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_memory_that_cannot_be_trusted_is_none(
    served: Served, damage: Callable[[Path], object]
) -> None:
    (file,) = files()
    damage(file)

    assert_all_is_left_to_the_server(served)


def test_memory_that_could_not_be_trusted_is_written_anew(served: Served) -> None:
    (file,) = files()
    change(file, lambda kept: kept.update(results={**kept["results"], "more": 5}))

    with served.usual() as wire:
        expected = listed(wire)
        wire.end()
        assert wire.process.wait(TIMEOUT_S) == 0

    with served.held() as wire:
        assert listed(wire) == expected


def test_memory_that_a_caller_could_write_is_neither_used_nor_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "guide.md").write_text("Run main.\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    beside = tmp_path / "beside"
    served = Served(tmp_path, beside)
    with served.usual() as wire:
        listed(wire)
        wire.goes_on_serving()

    assert files() == []


def test_answer_that_was_told_and_is_another_by_now_is_remembered_and_said_in_the_log(
    served: Served,
) -> None:
    (file,) = files()
    change(file, misspelt)
    with served.usual() as wire:
        told = listed(wire)
        wire.goes_on_serving()
        wire.end()
        assert wire.process.stderr is not None
        log = wire.process.stderr.read().decode()
    with served.held() as wire:
        assert "raed_file" not in json.dumps(listed(wire))

    assert "raed_file" in json.dumps(told["tools/list"])
    assert "the answer to tools/list, told ahead, is another by now" in log


def test_cache_that_cannot_be_written_costs_time_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "root" / "docs").mkdir(parents=True)
    (tmp_path / "root" / "docs" / "guide.md").write_text("Run main.\n")
    (tmp_path / "no directory").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "no directory"))
    served = Served(tmp_path / "root", tmp_path)

    with served.usual() as wire:
        listed(wire)
        wire.goes_on_serving()


def test_only_listings_are_remembered() -> None:
    assert not [
        name for name in METHODS if name != "initialize" and not name.endswith(("list", "discover"))
    ]
