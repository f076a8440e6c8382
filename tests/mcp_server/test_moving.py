"""Make, move and delete: what they do, what they refuse, and that all of it can be undone."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.changes import moving
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.ledger import Selection
from mcp_server.fence.openers import Opener
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard, call
from tests.mcp_server.layouts import snapshot

Attempts = list[Callable[[], Awaitable[str]]]


@pytest.fixture
async def workspace(yard: Yard, opener: Opener) -> AsyncIterator[Workspace]:
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as opened:
        yield opened


async def make(workspace: Workspace, path: str) -> str:
    return await call(workspace, "make_directory", path=path)


async def move(workspace: Workspace, source: str, destination: str) -> str:
    return await call(workspace, "move_path", source=source, destination=destination)


async def delete(workspace: Workspace, path: str, *, recursive: bool = False) -> str:
    return await call(workspace, "delete_path", path=path, recursive=recursive)


async def test_a_directory_is_made_with_those_above_it(yard: Yard, workspace: Workspace) -> None:
    assert await make(workspace, "a/b/c/") == "Made a/b/c/"
    assert (yard.root / "a/b/c").is_dir()
    assert await make(workspace, "a/b/c") == "Directory 'a/b/c' was there already."


async def test_a_directory_does_not_take_a_name_that_is_taken(
    yard: Yard, workspace: Workspace
) -> None:
    yard.link("link", "src")
    for path in ("src/app.py", "link"):
        with pytest.raises(NotAFileError, match="is taken"):
            await make(workspace, path)


async def test_a_file_and_a_directory_are_moved_with_what_they_hold(
    yard: Yard, workspace: Workspace
) -> None:
    (yard.root / "src/app.py").chmod(0o750)
    content = (yard.root / "src/app.py").read_bytes()
    assert await move(workspace, "src", "lib/deep/src") == "Moved src -> lib/deep/src"
    moved = yard.root / "lib/deep/src/app.py"
    assert (moved.read_bytes(), moved.stat().st_mode & 0o777) == (content, 0o750)
    assert not (yard.root / "src").exists()


async def test_a_move_replaces_nothing(yard: Yard, workspace: Workspace) -> None:
    """The reference server's tests have it too: move_file fails if the destination exists."""
    yard.link("dangling", "nowhere")
    before = snapshot(yard.root)
    for destination in ("docs/guide.md", "docs", "dangling", "src/app.py"):
        with pytest.raises(InvalidInputError, match="exists, and nothing is replaced"):
            await move(workspace, "src/app.py", destination)
    assert snapshot(yard.root) == before


@pytest.mark.parametrize("destination", ["src", "src/new", "src/a/b", "docs/../src/x"])
async def test_a_directory_is_not_moved_into_itself(
    yard: Yard, workspace: Workspace, destination: str
) -> None:
    before = snapshot(yard.root)
    with pytest.raises(InvalidInputError, match=r"into itself|exists"):
        await move(workspace, "src", destination)
    assert snapshot(yard.root) == before


async def test_a_link_is_moved_and_deleted_itself(yard: Yard, workspace: Workspace) -> None:
    yard.link("in", "src")
    yard.link("out", yard.outside / "secret.txt")
    yard.link("out-dir", "../outside")
    await move(workspace, "in", "other")
    assert (yard.root / "other").readlink().name == "src"
    for name in ("other", "out", "out-dir"):
        assert await delete(workspace, name) == f"Deleted {name} (a link)"
    assert sorted(os.listdir(yard.root)) == ["docs", "src"]
    assert (yard.outside / "secret.txt").exists()
    assert (yard.root / "src/app.py").exists()


async def test_a_link_with_a_slash_behind_it_is_not_a_directory(
    yard: Yard, workspace: Workspace
) -> None:
    """CVE-2026-39822: `link/` makes O_NOFOLLOW follow."""
    yard.link("out", "../outside")
    yard.link("in", "src")
    for path in ("out/", "in/", "in/."):
        with pytest.raises(NotAFileError, match="not a directory"):
            await delete(workspace, path, recursive=True)
        with pytest.raises(NotAFileError, match="not a directory"):
            await move(workspace, path, "elsewhere")
    assert (yard.outside / "secret.txt").exists()
    assert (yard.root / "src/app.py").exists()


async def test_what_is_behind_a_link_that_leads_out_stays(yard: Yard, workspace: Workspace) -> None:
    yard.link("out", "../outside")
    attempts: Attempts = [
        lambda: delete(workspace, "out/secret.txt"),
        lambda: move(workspace, "out/secret.txt", "mine"),
        lambda: move(workspace, "src/app.py", "out/app.py"),
        lambda: make(workspace, "out/new"),
        lambda: delete(workspace, "../outside", recursive=True),
        lambda: move(workspace, "src", "../src"),
    ]
    for attempt in attempts:
        with pytest.raises(PathEscapeError):
            await attempt()
    assert os.listdir(yard.outside) == ["secret.txt"]


async def test_a_recursive_deletion_does_not_follow_links(yard: Yard, workspace: Workspace) -> None:
    yard.link("src/out", "../../outside")
    yard.link("src/docs", "../docs")
    await delete(workspace, "src", recursive=True)
    assert (yard.outside / "secret.txt").exists()
    assert (yard.root / "docs/guide.md").exists()
    assert not (yard.root / "src").exists()


async def test_a_directory_that_holds_something_is_deleted_only_on_purpose(
    yard: Yard, workspace: Workspace
) -> None:
    with pytest.raises(InvalidInputError, match="not empty"):
        await delete(workspace, "src")
    assert await delete(workspace, "src", recursive=True) == "Deleted src/ with 1 entry in it"
    (yard.root / "empty").mkdir()
    assert await delete(workspace, "empty") == "Deleted empty/ with 0 entries in it"


@pytest.mark.parametrize("path", [".", "", "/", "src/..", "docs/../.", "./"])
async def test_the_root_stays(yard: Yard, workspace: Workspace, path: str) -> None:
    before = snapshot(yard.root)
    attempts: Attempts = [
        lambda: delete(workspace, path, recursive=True),
        lambda: move(workspace, path, "x"),
        lambda: move(workspace, "src", path),
    ]
    for attempt in attempts:
        with pytest.raises(ServerError):
            await attempt()
    assert snapshot(yard.root) == before


async def test_what_is_not_there_names_what_is_near(workspace: Workspace) -> None:
    attempts: Attempts = [
        lambda: delete(workspace, "docs/gide.md"),
        lambda: move(workspace, "docs/gide.md", "x"),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError, match=r"'docs' holds 'guide\.md'"):
            await attempt()


async def test_everything_can_be_undone(yard: Yard, workspace: Workspace) -> None:
    yard.write("deep/a/b/run.sh", b"#!/bin/sh\r\n\xff\x00")
    (yard.root / "deep/a/b/run.sh").chmod(0o700)
    (yard.root / "deep/a").chmod(0o750)
    yard.link("deep/link", "a/b")
    yard.link("deep/dangling", "nowhere")
    before = snapshot(yard.root)
    await make(workspace, "new/dir")
    await move(workspace, "deep/a/b", "new/dir/b")
    await delete(workspace, "new/dir/b/run.sh")
    await move(workspace, "src/app.py", "deep/app.py")
    await delete(workspace, "deep", recursive=True)
    await delete(workspace, "docs", recursive=True)
    for _ in range(6):
        await workspace.undo(Selection(), Caller())
    assert snapshot(yard.root) == before


async def test_a_session_is_undone_as_a_whole_through_moves(
    yard: Yard, workspace: Workspace
) -> None:
    before = snapshot(yard.root)
    mine = Caller(session="mine")

    async def change(request: moving.MovePath | moving.DeletePath | moving.MakeDirectory) -> None:
        await workspace.change(request, mine, lambda outcome: None)

    await change(moving.MovePath(source="src", destination="lib"))
    await change(moving.MovePath(source="lib/app.py", destination="lib/main.py"))
    await change(moving.DeletePath(path="lib/main.py"))
    await change(moving.MovePath(source="docs", destination="lib/docs"))
    await workspace.undo(Selection(session="mine"), Caller())
    assert snapshot(yard.root) == before


async def test_what_is_denied_is_neither_moved_nor_deleted_with_its_directory(
    yard: Yard, opener: Opener
) -> None:
    yard.write("app/.env", "secret")
    yard.write("app/main.py")
    before = snapshot(yard.root)
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        attempts: Attempts = [
            lambda: delete(workspace, "app", recursive=True),
            lambda: move(workspace, "app", "other"),
            lambda: delete(workspace, "app/.env"),
            lambda: move(workspace, "app/.env", "env.txt"),
            lambda: move(workspace, "src/app.py", ".git/hooks/pre-commit"),
            lambda: move(workspace, "src", "a.pem"),
            lambda: make(workspace, ".git"),
        ]
        for attempt in attempts:
            with pytest.raises(PermissionDeniedError) as refused:
                await attempt()
            assert "secret" not in str(refused.value).replace("secrets, history", "")
    assert snapshot(yard.root) == before


async def test_a_move_carries_nothing_hidden_into_view(yard: Yard, opener: Opener) -> None:
    yard.write("private/a.txt", "hidden")
    before = snapshot(yard.root)
    grant = Grant(read=("src/**",), write=("**",))
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        for source in ("private/a.txt", "private"):
            with pytest.raises(PermissionDeniedError):
                await move(workspace, source, "src/shown")
    assert snapshot(yard.root) == before


async def test_no_link_to_what_is_hidden_is_put_where_a_search_reads_it(
    yard: Yard, opener: Opener
) -> None:
    yard.write("private/a.txt", "app.py\n")
    yard.write(".env", "docs\n")
    yard.link("links/one", "../private/a.txt")
    yard.link("env", ".env")
    yard.link("more/chain", "../env")
    before = snapshot(yard.root)
    grant = Grant(read=("src/**", "more/**"), write=("**",))
    moves = [("links/one", "src/.gitignore"), ("links", "src/x")]
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        for source, destination in moves:
            with pytest.raises(PermissionDeniedError):
                await move(workspace, source, destination)
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        for source, destination in [("more/chain", "src/.gitignore"), ("more", "src2")]:
            with pytest.raises(PermissionDeniedError, match="would lead to what may not be read"):
                await move(workspace, source, destination)
    assert snapshot(yard.root) == before


async def test_a_deletion_too_large_to_be_kept_is_refused(yard: Yard, opener: Opener) -> None:
    yard.write("big", b"x" * 101)
    grant = Grant.full().model_copy(update={"limits": Limits(file_bytes=100)})
    async with Workspace.open(yard.root, grant, opener=opener) as workspace:
        with pytest.raises(LimitError, match="could not be put back"):
            await delete(workspace, "big")
    assert (yard.root / "big").exists()


async def test_too_much_at_once_is_refused_before_anything_is_gone(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MAX_ENTRIES", 2)
    monkeypatch.setattr(moving, "MAX_DELETED_BYTES", 10)
    for name in "abc":
        yard.write(f"many/{name}")
    yard.write("large/a", "x" * 11)
    before = snapshot(yard.root)
    for path, unit in (("many", "entries"), ("large", "bytes")):
        with pytest.raises(LimitError) as refused:
            await delete(workspace, path, recursive=True)
        assert refused.value.unit == unit
    with pytest.raises(LimitError):
        await move(workspace, "many", "more")
    assert snapshot(yard.root) == before
