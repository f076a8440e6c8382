"""Files that do not behave: each gets a clear error, and the server goes on serving."""

import os
import subprocess
import sys
from hashlib import sha256

import pytest

from mcp_server.errors import LimitError
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard
from tests.mcp_server.raw import called, serving

GROW = """
import sys
with open(sys.argv[1], "ab", buffering=0) as file:
    print("ready", flush=True)
    while file.tell() < 20_000_000:
        file.write(b"0123456789abcde\\n" * 10)
"""
WITHOUT_OVERRIDE = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_hundreds_of_reads_of_a_fifo_stop_nothing(yard: Yard) -> None:
    """Four such reads stop the reference server for good."""
    os.mkfifo(yard.root / "pipe")
    tools = ("read_file", "grep", "edit_file", "write_file", "file_info")
    more: dict[str, dict[str, str]] = {
        "grep": {"pattern": "x"},
        "edit_file": {"old_string": "a", "new_string": "b"},
        "write_file": {"content": "x"},
    }
    with serving(yard.root) as wire:
        names = [tools[number % len(tools)] for number in range(500)]
        calls = (
            called(at, name, path="pipe", **more.get(name, {})) for at, name in enumerate(names)
        )
        wire.send(b"".join(calls))
        for answer in wire.answers(len(names)):
            assert answer["result"]["isError"], names[answer["id"]]
            text = answer["result"]["content"][0]["text"]
            assert "'pipe' is a" in text, names[answer["id"]]
        wire.goes_on_serving()


async def test_a_file_that_grows_while_it_is_read_is_whole_or_too_large(yard: Yard) -> None:
    file = yard.write("growing.log")
    grant = Grant.full().model_copy(update={"limits": Limits(file_bytes=1_000_000)})
    lengths: list[int] = []

    async def read_on(workspace: Workspace) -> None:
        while True:
            read = await workspace.read_text("growing.log")
            lengths.append(read.size)
            assert read.size == len(read.text) <= 1_000_000
            assert read.sha256 == sha256(read.text.encode()).hexdigest()

    command = [sys.executable, "-S", "-c", GROW, str(file)]
    async with Workspace.open(yard.root, grant) as workspace:
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            with pytest.raises(LimitError, match="files over 1000000 bytes are not read"):
                await read_on(workspace)
        assert lengths == sorted(lengths)
        assert (await workspace.read_text("src/app.py")).size == 25


def test_what_the_system_does_not_let_the_server_at_is_said_and_stops_nothing(yard: Yard) -> None:
    yard.write("closed/secret.txt", "x")
    yard.write("sealed.txt", "x")
    for name in ("closed", "sealed.txt"):
        (yard.root / name).chmod(0)
    calls = {
        "closed": ("list_directory", {}),
        "closed/secret.txt": ("read_file", {}),
        "closed/new.txt": ("write_file", {"content": "x"}),
        "sealed.txt": ("read_file", {}),
    }
    try:
        # The system lets root in everywhere, but for the capability to.
        with serving(yard.root, through=[sys.executable, "-c", WITHOUT_OVERRIDE]) as wire:
            for path, (name, arguments) in calls.items():
                wire.send(called(path, name, path=path, **arguments))
                result = wire.answer()["result"]
                assert result["isError"]
                assert "operating system does not let the server" in result["content"][0]["text"]
            wire.send(called("root", "list_directory", depth=2))
            assert "closed/" in wire.answer()["result"]["content"][0]["text"]
            wire.send(called("grep", "grep", pattern="Run main"))
            assert "docs/guide.md:3:" in wire.answer()["result"]["content"][0]["text"]
            wire.goes_on_serving()
    finally:
        (yard.root / "closed").chmod(0o755)
