"""What a call has changed is told beside its text: bounded, and to who may know it."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, cast  # Any: JSON as it comes

import mcp_types as types
import pytest
from mcp import Client

from mcp_server.changed import CHANGES, MAX_FILES, ChangedFiles
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Grant
from mcp_server.fence.ledger import Selection
from mcp_server.fence.workspace import Workspace
from mcp_server.server import create_server
from mcp_server.text import MAX_ANSWER_BYTES
from tests.mcp_server.conftest import Yard
from tests.mcp_server.test_idempotency import served

Way = Literal["stdio", "in process"]


@asynccontextmanager
async def connected(yard: Yard, way: Way) -> AsyncIterator[Client]:
    async with AsyncExitStack() as stack:
        if way == "stdio":
            yield await stack.enter_async_context(served(yard.root))
            return
        workspace = await stack.enter_async_context(Workspace.open(yard.root, Grant.full()))
        yield await stack.enter_async_context(Client(create_server(workspace)))


async def told(
    client: Client, name: str, arguments: Mapping[str, object], key: str | None = None
) -> dict[str, Any] | None:
    """Return what the result tells of changes, or None."""
    meta = None if key is None else cast(types.RequestParamsMeta, {"workyard/key": key})
    result = await client.call_tool(name, dict(arguments), meta=meta)
    return (result.meta or {}).get(CHANGES)


def one(path: str, kind: str, **more: object) -> dict[str, object]:
    return {"files": [{"path": path, "kind": kind, **more}], "more": 0}


EDITS: list[dict[str, object]] = [
    {"path": "src/app.py", "old_string": "return 1", "new_string": "x = 2\n    return x"},
    {"path": "docs/guide.md", "old_string": "Run main.", "new_string": "Call main."},
]
CALLS: list[tuple[str, dict[str, object], dict[str, object] | None]] = [
    (
        "write_file",
        {"path": "new/dir/a.txt", "content": "a\nb"},
        one("new/dir/a.txt", "created", added=2, removed=0),
    ),
    (
        "write_file",
        {"path": "docs/guide.md", "content": "# Guide\n"},
        one("docs/guide.md", "modified", added=0, removed=2),
    ),
    ("write_file", {"path": "src/app.py", "content": "def main():\n    return 1\n"}, None),
    ("edit_file", EDITS[0], one("src/app.py", "modified", added=2, removed=1)),
    (
        "apply_edits",
        {"edits": EDITS},
        {
            "files": [
                {"path": "src/app.py", "kind": "modified", "added": 2, "removed": 1},
                {"path": "docs/guide.md", "kind": "modified", "added": 1, "removed": 1},
            ],
            "more": 0,
        },
    ),
    ("apply_edits", {"edits": EDITS, "dry_run": True}, None),
    ("apply_edits", {"edits": [*EDITS, {**EDITS[0], "old_string": "none"}]}, None),
    ("make_directory", {"path": "new/dir"}, one("new/dir/", "created")),
    ("make_directory", {"path": "src"}, None),
    (
        "move_path",
        {"source": "docs/guide.md", "destination": "new/g.md"},
        one("new/g.md", "moved", moved_from="docs/guide.md"),
    ),
    ("move_path", {"source": "src", "destination": "lib"}, one("lib", "moved", moved_from="src")),
    ("delete_path", {"path": "src/app.py"}, one("src/app.py", "deleted", added=0, removed=2)),
    (
        "delete_path",
        {"path": "docs", "recursive": True},
        {
            "files": [
                {"path": "docs/guide.md", "kind": "deleted", "added": 0, "removed": 3},
                {"path": "docs/", "kind": "deleted"},
            ],
            "more": 0,
        },
    ),
    ("delete_path", {"path": "docs"}, None),
    ("read_file", {"path": "src/app.py"}, None),
    ("nope", {}, None),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), CALLS)
async def test_a_result_tells_which_files_the_call_has_changed_and_how(
    yard: Yard, name: str, arguments: dict[str, object], expected: dict[str, object] | None
) -> None:
    async with connected(yard, "in process") as client:
        assert await told(client, name, arguments) == expected


@pytest.mark.parametrize("way", ["stdio", "in process"])
async def test_a_repeated_call_tells_the_same_until_it_is_undone(yard: Yard, way: Way) -> None:
    write = "write_file", {"path": "src/app.py", "content": "x\n"}, "k"
    said = []
    for _ in range(2):
        async with connected(yard, way) as client:
            said += [await told(client, *write), await told(client, *write)]
    assert said == [one("src/app.py", "modified", added=1, removed=2)] * 4

    async with Workspace.open(yard.root, Grant.full()) as workspace:
        await workspace.undo(Selection(), Caller())
    async with connected(yard, way) as client:
        assert await told(client, *write) is None
        async with Workspace.open(yard.root, Grant.full()) as workspace:
            await workspace.undo(Selection(number=2), Caller())
        assert await told(client, *write) == said[0]


async def test_the_text_that_a_model_reads_says_nothing_of_it(yard: Yard) -> None:
    async with connected(yard, "stdio") as client:
        result = await client.call_tool("delete_path", {"path": "src", "recursive": True})
    (block,) = result.content
    assert isinstance(block, types.TextContent)
    assert block.text == "Deleted src/ with 1 entry in it"
    assert (block.meta, result.structured_content) == (None, None)


async def test_what_is_no_text_is_told_without_lines(yard: Yard, workspace: Workspace) -> None:
    yard.write("old/a.bin", b"\0\n\n")
    yard.link("old/link", "a.bin")
    async with Client(create_server(workspace)) as client:
        assert await told(client, "delete_path", {"path": "old", "recursive": True}) == {
            "files": [
                {"path": "old/a.bin", "kind": "deleted"},
                {"path": "old/link", "kind": "deleted"},
                {"path": "old/", "kind": "deleted"},
            ],
            "more": 0,
        }


async def test_of_very_many_files_the_first_are_told_and_the_rest_is_counted(
    yard: Yard, workspace: Workspace
) -> None:
    for number in range(MAX_FILES + 50):
        yard.write(f"many/{number:03}", "x")
    async with Client(create_server(workspace)) as client:
        said = await told(client, "delete_path", {"path": "many", "recursive": True})
    assert said is not None
    assert [file["path"] for file in said["files"]] == [f"many/{n:03}" for n in range(MAX_FILES)]
    assert said["more"] == 50 + 1, "the directory counts too"


async def test_very_long_names_are_told_as_far_as_an_answer_may_go(
    yard: Yard, workspace: Workspace
) -> None:
    deep = "/".join(["d" * 200] * 15)
    for number in range(30):
        yard.write(f"{deep}/{number:02}")
    async with Client(create_server(workspace)) as client:
        said = await told(client, "delete_path", {"path": "d" * 200, "recursive": True})
    assert said is not None
    assert 10 < len(said["files"]) < 30
    assert sum(len(file["path"]) for file in said["files"]) <= MAX_ANSWER_BYTES
    assert len(said["files"]) + said["more"] == 31


async def test_names_are_told_as_tools_show_them(yard: Yard, workspace: Workspace) -> None:
    for name in (b"two\nlines", b"caf\xe9"):
        (yard.root / "odd").mkdir(exist_ok=True)
        (yard.root / "odd" / os.fsdecode(name)).touch()
    async with Client(create_server(workspace)) as client:
        said = await told(client, "delete_path", {"path": "odd", "recursive": True})
    assert said is not None
    paths = [file["path"] for file in said["files"]]
    assert paths == ["odd/caf\\xe9", "odd/two\\x0alines", "odd/"]


async def test_who_may_not_read_learns_no_names_and_no_lines_by_writing(yard: Yard) -> None:
    """What it asked for by name it knows; what was in a directory, and in a file, it does not."""
    grant = Grant.full().model_copy(update={"read": ("src/**",)})
    async with (
        Workspace.open(yard.root, grant) as workspace,
        Client(create_server(workspace)) as client,
    ):
        new = await told(client, "write_file", {"path": "out/new.md", "content": "a\n"})
        assert new == one("out/new.md", "created", added=1, removed=0)
        old = await told(client, "write_file", {"path": "docs/guide.md", "content": "a\n"})
        assert old == one("docs/guide.md", "modified")
        gone = await told(client, "delete_path", {"path": "docs", "recursive": True})
        assert gone == {"files": [{"path": "docs/", "kind": "deleted"}], "more": 1}


def test_what_is_told_is_read_back_as_it_was() -> None:
    said = ChangedFiles.model_validate({"files": [{"path": "a", "kind": "deleted"}], "more": 3})
    assert ChangedFiles.from_meta(said.meta or {}) == said
    assert ChangedFiles.from_meta({"other": 1}) == ChangedFiles()
    assert ChangedFiles().meta is None
