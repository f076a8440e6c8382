"""The same call with the same key is done once, and answered alike."""

import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import mcp_types as types
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from mcp_server.errors import InvalidInputError, PermissionDeniedError, StaleFileError
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.changes.changer import ChangeRequest
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.changes.moving import MovePath
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant
from mcp_server.fence.ledger import Selection
from mcp_server.fence.texts.edits import Edit
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings
from tests.mcp_server.conftest import Yard
from tests.mcp_server.doomed import fork, opened, write_with_key

KEYED = Caller(key="k1")


@asynccontextmanager
async def served(root: Path) -> AsyncIterator[Client]:
    """Connect to the real server in a process of its own, over stdio."""
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mcp_server", "--root", str(root)],
        env=dict(os.environ),
    )
    async with Client(stdio_client(server)) as client:
        yield client


async def call(
    client: Client, name: str, arguments: dict[str, object], meta: Mapping[str, object]
) -> tuple[bool, str]:
    result = await client.call_tool(name, arguments, meta=cast(types.RequestParamsMeta, dict(meta)))
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    return result.is_error, block.text


async def do(workspace: Workspace, request: ChangeRequest, caller: Caller = KEYED) -> Outcome:
    return await workspace.change(request, caller, lambda outcome: outcome)


async def test_a_repeated_call_is_done_once_and_answered_word_for_word_even_by_another_server(
    yard: Yard,
) -> None:
    edit: dict[str, object] = {"path": "src/app.py", "old_string": "1", "new_string": "11"}
    write: dict[str, object] = {"path": "new/file.txt", "content": "x\n"}
    calls = [("edit_file", edit, "k1"), ("write_file", write, "k2")]
    answers = []
    for _ in range(2):
        async with served(yard.root) as client:
            for name, arguments, key in (*calls, *calls):
                answers.append(await call(client, name, arguments, {"workyard/key": key}))
    assert answers == answers[:2] * 4
    assert not any(is_error for is_error, _ in answers)
    assert (yard.root / "src/app.py").read_text() == "def main():\n    return 11\n"


async def test_a_key_or_name_that_cannot_be_is_refused_as_the_callers_fault(yard: Yard) -> None:
    arguments: dict[str, object] = {"path": "new.txt", "content": "x"}
    async with served(yard.root) as client:
        for name, value in (
            ("key", ""),
            ("key", 7),
            ("key", ["k"]),
            ("key", "k" * 201),
            ("session", "a\nb"),
            ("agent", "\u202e"),
            ("run", {}),
        ):
            meta: dict[str, object] = {f"workyard/{name}": value}
            is_error, text = await call(client, "write_file", arguments, meta)
            assert is_error
            assert f"_meta holds 'workyard/{name}' as " in text
            assert not (yard.root / "new.txt").exists()


async def test_a_key_with_other_arguments_or_another_tool_is_refused(workspace: Workspace) -> None:
    await do(workspace, WriteFile(path="new.txt", text="x"))
    for request in (
        WriteFile(path="new.txt", text="y"),
        WriteFile(path="other.txt", text="x"),
        WriteFile(path="new.txt", text="x", tool="another"),
        MovePath(source="src", destination="away"),
    ):
        with pytest.raises(InvalidInputError, match="belongs to another one"):
            await do(workspace, request)


def test_the_same_call_from_two_processes_at_once_is_done_once(yard: Yard, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for number in range(3):
        workers = [fork(write_with_key, yard.root, state, f"k{number}") for _ in range(2)]
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
    with opened(yard.root, state) as changer:
        calls = changer.calls(Selection(), -1, Deadline(30))
    assert [call.caller.key for call in calls] == ["k2", "k1", "k0"]


async def test_a_call_that_was_undone_is_answered_but_not_done_again(
    yard: Yard, workspace: Workspace
) -> None:
    request = WriteFile(path="new.txt", text="x")
    done = await do(workspace, request)
    await workspace.undo(Selection(), Caller())
    repeated = await do(workspace, request)
    assert repeated.number == done.number
    assert not (yard.root / "new.txt").exists()


async def test_a_call_that_failed_may_be_made_again_with_its_key(
    yard: Yard, workspace: Workspace
) -> None:
    request = WriteFile(path="new.txt", text="x", expected_hash="0" * 12)
    for _ in range(2):
        with pytest.raises(StaleFileError):
            await do(workspace, request)
    other = WriteFile(path="new.txt", text="x")
    await do(workspace, other)
    assert (yard.root / "new.txt").read_text() == "x"


@pytest.mark.parametrize(
    ("request_made", "narrower"),
    [
        (
            EditFiles(edits=[Edit(path="src/app.py", old_string="1", new_string="2")]),
            Grant(read=("docs/**",), write=("**",)),
        ),
        (
            EditFiles(edits=[Edit(path="src/app.py", old_string="1", new_string="2")]),
            Grant(read=("**",), write=("docs/**",)),
        ),
        (
            MovePath(source="docs/guide.md", destination="src/guide.md"),
            Grant(read=("**",), write=("docs/**",)),
        ),
    ],
)
async def test_who_may_less_gets_nothing_by_repeating_a_key(
    yard: Yard, tmp_path: Path, request_made: ChangeRequest, narrower: Grant
) -> None:
    journal = JournalSettings(tmp_path / "state")
    async with Workspace.open(yard.root, Grant.full(), journal=journal) as workspace:
        await do(workspace, request_made)
    async with Workspace.open(yard.root, narrower, journal=journal) as workspace:
        with pytest.raises(PermissionDeniedError):
            await do(workspace, request_made)


async def test_who_may_only_write_is_answered_when_it_repeats_a_key(yard: Yard) -> None:
    write = WriteFile(path="src/app.py", text="x")
    async with Workspace.open(yard.root, Grant(write=("**",))) as workspace:
        first, second = [(await do(workspace, write)).number for _ in range(2)]
    assert first == second


async def test_calls_without_a_key_are_never_taken_for_one_another(workspace: Workspace) -> None:
    write = WriteFile(path="new.txt", text="x")
    first, second = [(await do(workspace, write, Caller())).number for _ in range(2)]
    assert first != second
