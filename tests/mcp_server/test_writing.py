"""Replacing files: only what the caller has seen, and in the manner of what was there."""

import threading
from hashlib import sha256
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import InvalidInputError, StaleFileError
from mcp_server.fence.changes.change import Change
from mcp_server.fence.changes.tree import Tree
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard, call


async def write(workspace: Workspace, **arguments: object) -> str:
    return await call(workspace, "write_file", **arguments)


async def shown_hash(workspace: Workspace, path: str) -> str:
    """The hash as read_file shows it."""
    text = await call(workspace, "read_file", path=path)
    return text.partition("sha256 ")[2].split()[0]


async def test_a_file_is_replaced_while_it_is_what_was_seen(
    yard: Yard, workspace: Workspace
) -> None:
    seen = await shown_hash(workspace, "docs/guide.md")
    await write(workspace, path="docs/guide.md", content="new\n", expected_hash=seen)
    assert (yard.root / "docs/guide.md").read_text() == "new\n"


async def test_a_stale_write_changes_nothing_and_shows_what_has_changed(
    yard: Yard, workspace: Workspace
) -> None:
    seen = await shown_hash(workspace, "docs/guide.md")
    yard.write("docs/guide.md", "# Guide\n\nRun main twice.\n")
    with pytest.raises(StaleFileError) as stale:
        await write(workspace, path="docs/guide.md", content="mine", expected_hash=seen)
    assert "-Run main.\n+Run main twice." in str(stale.value)
    assert (yard.root / "docs/guide.md").read_text() == "# Guide\n\nRun main twice.\n"


async def test_what_was_written_before_a_restart_is_compared_too(yard: Yard) -> None:
    async with Workspace.open(yard.root, Grant.full()) as first:
        answer = await write(first, path="notes.txt", content="one\n")
    written = answer.rpartition(" ")[2]
    yard.write("notes.txt", "two\n")
    async with Workspace.open(yard.root, Grant.full()) as second:
        with pytest.raises(StaleFileError, match="-one\n\\+two"):
            await write(second, path="notes.txt", content="x", expected_hash=written)


async def test_a_caller_who_may_not_read_is_not_shown_what_has_changed(yard: Yard) -> None:
    async with Workspace.open(yard.root, Grant.full()) as first:
        answer = await write(first, path="notes.txt", content="hidden one\n")
    yard.write("notes.txt", "hidden two\n")
    grant = Grant(tools=("write_file",), write=("**",))
    async with Workspace.open(yard.root, grant) as second:
        with pytest.raises(StaleFileError) as stale:
            await write(
                second, path="notes.txt", content="x", expected_hash=answer.rpartition(" ")[2]
            )
    assert "hidden" not in str(stale.value)
    assert sha256(b"hidden two\n").hexdigest()[:8] not in str(stale.value)


async def test_a_file_that_is_gone_is_not_what_was_seen(yard: Yard, workspace: Workspace) -> None:
    seen = await shown_hash(workspace, "docs/guide.md")
    (yard.root / "docs/guide.md").unlink()
    with pytest.raises(StaleFileError, match="does not exist any more"):
        await write(workspace, path="docs/guide.md", content="x", expected_hash=seen)
    assert not (yard.root / "docs/guide.md").exists()


@pytest.mark.parametrize("given", ["", "abc", "xyz12345", "0" * 65, "%%%%%%%%", "sha256"])
async def test_what_is_no_hash_is_an_error_and_not_ignored(
    workspace: Workspace, given: str
) -> None:
    with pytest.raises(InvalidInputError, match=r"is not a SHA-256.* or leave it out"):
        await write(workspace, path="docs/guide.md", content="x", expected_hash=given)


async def test_a_change_that_has_begun_is_answered_when_it_is_done_however_late(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = threading.Event(), threading.Event()
    make = Tree.make

    def slow(self: Tree, change: Change) -> None:
        begun.set()
        released.wait(10)
        make(self, change)

    monkeypatch.setattr(Tree, "make", slow)
    grant = Grant.full().model_copy(update={"limits": Limits(call_s=0.2)})
    async with Workspace.open(yard.root, grant) as workspace, anyio.create_task_group() as tasks:

        async def release() -> None:
            await anyio.to_thread.run_sync(begun.wait)
            await anyio.sleep(0.4)  # twice as long as the call may take
            released.set()

        tasks.start_soon(release)
        assert "Created late.txt" in await write(workspace, path="late.txt", content="x")
    assert (yard.root / "late.txt").read_text() == "x"


async def test_a_replaced_file_keeps_its_line_ends_and_its_mark(
    yard: Yard, workspace: Workspace
) -> None:
    file: Path = yard.write("dos.txt", b"\xef\xbb\xbfone\r\ntwo\r\n")
    await write(workspace, path="dos.txt", content="three\nfour\n")
    assert file.read_bytes() == b"\xef\xbb\xbfthree\r\nfour\r\n"
