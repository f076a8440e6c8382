"""`python -m mcp_server` as hosts start it: a real process, real pipes, real clients."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import anyio
import pytest
from fastmcp.client.transports import StdioTransport
from mcp import Client, StdioServerParameters
from mcp_types import TextContent
from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.function import AgentInfo, FunctionModel

from mcp_server.command import main
from mcp_server.fence import confinement
from mcp_server.fence.grant import TOOL_NAMES, WRITING_TOOLS, Grant, Limits
from tests.mcp_server.conftest import Yard

START_S = 30  # importing the SDK takes most of a second, several on a busy machine
COMMAND = [sys.executable, "-m", "mcp_server"]


def run(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=START_S
    )


@contextmanager
def serving(yard: Yard, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [*COMMAND, "--root", str(yard.root), *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ask(process: subprocess.Popen[str], number: int, method: str, **params: object) -> object:
    """Send one request and return the result of the next line of stdout, which must be its."""
    assert process.stdin is not None
    assert process.stdout is not None
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    assert answer["jsonrpc"] == "2.0"
    assert answer["id"] == number
    return answer["result"]


def logged_grant(log: str) -> Grant:
    (line,) = (line for line in log.splitlines() if "; grant: " in line)
    return Grant.from_json(line.partition("; grant: ")[2])


def initialize(process: subprocess.Popen[str]) -> None:
    client = {"name": "probe", "version": "1"}
    ask(process, 0, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_sdk_client_is_served_in_both_eras(
    yard: Yard, mode: Literal["legacy", "auto"]
) -> None:
    parameters = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "--root", str(yard.root)]
    )
    Path(os.fsdecode(os.fsencode(yard.root) + b"/caf\xe9")).write_bytes(b"\xe9 main")
    with anyio.fail_after(START_S):
        async with Client(parameters, mode=mode) as client:
            assert (client.protocol_version == "2026-07-28") == (mode == "auto")
            assert len((await client.list_tools()).tools) >= 4
            for name, arguments, expected in (
                ("list_directory", {}, "caf\\xe9\t6"),
                ("grep", {"pattern": "main"}, "src/app.py:1:def main():"),
                ("write_file", {"path": "new.txt", "content": "hello"}, "Created new.txt"),
                ("read_file", {"path": "new.txt"}, "     1\thello"),
            ):
                result = await client.call_tool(name, dict(arguments))
                assert isinstance(result.content[0], TextContent)
                assert expected in result.content[0].text


async def test_a_pydantic_ai_agent_works_through_it(yard: Yard) -> None:
    def scripted(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        calls = [
            ToolCallPart("write_file", {"path": "notes.md", "content": "# Notes\n"}),
            ToolCallPart("read_file", {"path": "notes.md"}),
            ToolCallPart("read_file", {"path": "../outside/secret.txt"}),
        ]
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse(parts=[calls[turn] if turn < len(calls) else TextPart("done")])

    transport = StdioTransport(
        COMMAND[0], [*COMMAND[1:], "--root", str(yard.root)], keep_alive=False
    )
    toolset = MCPToolset[None](
        transport, id="files", init_timeout=START_S, tool_error_behavior="failed"
    )
    with anyio.fail_after(START_S):
        run = await Agent(FunctionModel(scripted), toolsets=[toolset]).run("go")
    returned = [
        (part.outcome, str(part.content))
        for message in run.all_messages()
        for part in message.parts
        if part.part_kind == "tool-return"
    ]
    assert returned[0] == (
        "success",
        "Created notes.md · 1 line · 8 bytes · sha256 365d0b84ae63",
    )
    assert returned[1][1].startswith("notes.md · lines 1-1 of 1")
    assert returned[2][0] == "failed"
    assert "leads out of the workspace" in returned[2][1]


def test_every_line_on_stdout_is_a_message_and_eof_ends_it(yard: Yard) -> None:
    with serving(yard, "--log-level", "debug") as process:
        initialize(process)
        calls: tuple[tuple[str, dict[str, str]], ...] = (
            ("read_file", {"path": "src/app.py"}),
            ("read_file", {"path": "nope"}),
            ("grep", {"pattern": "("}),
            ("nope", {}),
            ("list_directory", {}),
        )
        for number, (name, arguments) in enumerate(calls, 1):
            ask(process, number, "tools/call", name=name, arguments=arguments)
        rest, log = process.communicate(timeout=START_S)
        assert (process.returncode, rest) == (0, "")
    assert f"serving {yard.root}; confinement: " in log
    assert logged_grant(log) == Grant.full()
    assert "Traceback" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_although_stdin_is_open(yard: Yard, number: int) -> None:
    with serving(yard) as process:
        initialize(process)
        process.send_signal(number)
        assert process.wait(START_S) == 128 + number
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_a_client_that_goes_away_unread_is_no_crash(yard: Yard) -> None:
    with serving(yard) as process:
        initialize(process)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write('{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}\n' * 20)
        process.stdin.close()
        assert process.wait(START_S) == 0
        # From 3.13 on, Python itself mentions a pipe that it could not flush when it ends.
        assert "Traceback" not in process.stderr.read()


def test_a_grant_from_the_command_line_or_a_file_is_enforced(yard: Yard) -> None:
    text = '{"tools": ["list_directory"], "read": ["docs/**"]}'
    file = yard.outside / "grant.json"
    file.write_text(text)
    for argument in (text, str(file)):
        with serving(yard, "--grant", argument) as process:
            initialize(process)
            listed = ask(process, 1, "tools/call", name="list_directory", arguments={})
            assert ". · 1 entry\\ndocs/" in json.dumps(listed, ensure_ascii=False)
            refused = ask(process, 2, "tools/call", name="read_file", arguments={"path": "x"})
            assert "not granted" in json.dumps(refused)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--root"),
        (["--rot", "."], "--root"),
        (["--root", ".", "--verbose"], "--verbose"),
        (["--root", ".", "--log-level", "loud"], "LOUD"),
        (["--root", ""], "root is empty"),
        (["--root", "no/such/root"], "'no/such/root' cannot be opened: No such file"),
        (["--root", sys.executable], "cannot be opened: Not a directory"),
        (["--root", ".", "--grant", ""], "not JSON"),
        (["--root", ".", "--grant", "{"], "not JSON"),
        (["--root", ".", "--grant", '{"tools": ["reed"]}'], "'reed'"),
        (["--root", ".", "--grant", "no/such/file"], "'no/such/file' cannot be read"),
        (["--root", ".", "--grant", "[]"], "cannot be read"),
        (["--root", ".", "--grant", "{", "--read-only"], "not JSON"),
        (["--root", ".", "--grant", "", "--tools", "grep"], "not JSON"),
        (["--root", ".", "--tools", ""], "there is no tool ''; the tools are"),
        (["--root", ".", "--tools", "", "--read-only"], "there is no tool ''"),
        (["--root", ".", "--tools", "grep,"], "there is no tool ''"),
        (["--root", ".", "--tools", "grep,reed"], "there is no tool 'reed'"),
        (["--root", ".", "--tools", "reed", "--grant", "{}"], "there is no tool 'reed'"),
        (["--root", ".", "--read", ""], "relative to the workspace"),
        (["--root", ".", "--write", "/etc"], "relative to the workspace"),
        (["--root", ".", "--deny", "../x"], "relative to the workspace"),
        (["--root", ".", "--allow", "[z-a]"], "not well formed"),
        (["--root", ".", "--read-only", "--write", "a"], "not allowed with argument"),
    ],
)
def test_wrong_arguments_are_one_clear_line_and_exit_code_2(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, complaint = capfd.readouterr()
    assert out == ""
    assert says in complaint
    assert complaint.count("\n") == 1
    assert complaint.startswith("python -m mcp_server: ")


READING = tuple(name for name in TOOL_NAMES if name not in WRITING_TOOLS)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--read-only"], Grant(tools=READING, read=("**",))),
        (
            ["--tools", "grep, write_file", "--read", "a/**", "--read", "b", "--write", "c"],
            Grant(tools=("grep", "write_file"), read=("a/**", "b"), write=("c",)),
        ),
        (
            ["--tools", "grep,write_file", "--read-only", "--deny", "x", "--allow", ".env"],
            Grant(tools=("grep",), read=("**",), deny=("x",), allow=(".env",)),
        ),
        (["--grant", "{}", "--tools", "grep", "--read", "**", "--allow", "**"], Grant()),
    ],
)
def test_flags_say_what_callers_may_do(yard: Yard, arguments: list[str], expected: Grant) -> None:
    done = run("--root", str(yard.root), "--log-level", "info", *arguments)
    assert done.returncode == 0
    effective = logged_grant(done.stderr)
    assert effective.tools == expected.tools
    for path in ("a/x", "b", "c", "d", "x", ".env", ".git", "a/.env"):
        assert effective.may_read(path) == expected.may_read(path)
        assert effective.may_write(path) == expected.may_write(path)


def test_no_flag_widens_a_grant_and_what_none_speaks_of_stays(yard: Yard) -> None:
    given = Grant(
        tools=("read_file", "write_file"),
        read=("docs/**", ".env"),
        write=("docs/**",),
        deny=("docs/private",),
        allow=(".env",),
        limits=Limits(read_lines=5000),
    )
    widening = ["--tools", ",".join(TOOL_NAMES), "--write", "**", "--read", "**", "--allow", "**"]
    for flags in (["--deny", "docs/x"], widening):
        arguments = ["--root", str(yard.root), "--grant", given.model_dump_json()]
        effective = logged_grant(run(*arguments, "--log-level", "info", *flags).stderr)
        assert effective.tools == given.tools
        assert effective.limits == given.limits
        for path in ("docs/a", ".env", "src/a", "docs/private/a", "docs/.git", ".git/a"):
            assert effective.may_read(path) == given.may_read(path)
            assert effective.may_write(path) == given.may_write(path)
        assert effective.may_read("docs/x") == (flags == widening)


def test_a_server_that_is_read_only_writes_nothing(yard: Yard) -> None:
    with serving(yard, "--read-only") as process:
        initialize(process)
        assert '"write_file"' not in json.dumps(ask(process, 1, "tools/list"))
        write = {"path": "new.txt", "content": "x"}
        refused = ask(process, 2, "tools/call", name="write_file", arguments=write)
        assert "not granted" in json.dumps(refused)
    assert not (yard.root / "new.txt").exists()


@pytest.mark.usefixtures("no_landlock")
def test_without_the_confinement_that_is_required_nothing_is_served(
    yard: Yard, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(yard.root), "--require-confinement"]) == 6
    out, complaint = capfd.readouterr()
    assert out == ""
    assert "Confinement is required, but this kernel has no Landlock" in complaint
    assert "Traceback" not in complaint


@pytest.mark.skipif(confinement._abi() == 0, reason="no Landlock here")
def test_with_the_confinement_that_is_required_it_serves(yard: Yard) -> None:
    done = run("--root", str(yard.root), "--require-confinement", "--log-level", "info")
    assert (done.returncode, done.stdout) == (0, "")
    assert "; confinement: Landlock (ABI " in done.stderr


def test_help_names_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--grant JSON|FILE" in capsys.readouterr().out


def test_a_wrong_root_is_told_before_the_sdk_is_imported() -> None:
    """Importing the SDK takes most of a second: nobody should wait for it to read of a typo."""
    code = (
        "import sys; from mcp_server.command import main; code = main(['--root', 'no/such/root']);"
        "print(code, sorted({'mcp', 'mcp_types', 'starlette'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "2 []\n"


def test_the_process_ends_with_the_codes_of_main() -> None:
    done = run("--root", "no/such/root")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "python -m mcp_server: Root 'no/such/root' cannot be opened: No such file or directory.\n"
    )


def test_the_home_directory_can_be_meant_where_no_shell_says_which(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(yard.root.parent))
    (yard.root.parent / "grant.json").write_text('{"tools": ["read_file"], "read": ["**"]}')
    assert run("--root", "~/root", "--grant", "~/grant.json").returncode == 0
    assert run("--root", "~/nowhere").returncode == 2


def test_a_grant_file_below_the_root_is_refused(
    yard: Yard, capfd: pytest.CaptureFixture[str]
) -> None:
    """A caller could write there what it may do after the next start."""
    yard.write("grant.json", "{}")
    yard.link("link.json", yard.outside / "grant.json")
    (yard.outside / "grant.json").write_text("{}")
    (yard.outside / "in.json").symlink_to(yard.root / "grant.json")
    for file in (yard.root / "grant.json", yard.root / "link.json", yard.outside / "in.json"):
        assert main(["--root", str(yard.root), "--grant", str(file)]) == 2
        assert "lies below the root" in capfd.readouterr().err
