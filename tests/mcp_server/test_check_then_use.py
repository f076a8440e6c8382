"""What is exchanged between the look at a path and its use changes nothing: both are one act.

The exchange is made at the very moment, not by chance; test_tool_races.py leaves it to chance.
Sources: pydantic/monty 455, modelcontextprotocol/servers 4516 (check, then use); CVE-2024-8244
(a tree walked by name); CVE-2026-27139 (os.Root: ReadDir, then Lstat by name); CVE-2026-46406
(predictable temporary names).
"""

import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.errors import ConflictError, PathEscapeError, PermissionDeniedError, ServerError
from mcp_server.fence.changes.change import Caller, Change, Kind, State
from mcp_server.fence.changes.changer import Changer
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.grant import Grant
from mcp_server.fence.ledger import Call
from mcp_server.fence.openers import Opened, Opener, Parts, link_target
from mcp_server.fence.reading.listing import EntryKind
from mcp_server.fence.search import Query
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import SECRET, Yard, write, write_text
from tests.mcp_server.layouts import untouched

pytestmark = pytest.mark.usefixtures("no_landlock", "no_disk")  # the first lock alone


def then(way: Opener, act: Callable[[], object]) -> Opener:
    """Return an opener that lets `act` happen right after it has opened something in `door`."""

    def opened_then(root_fd: int, parts: Parts, flags: int) -> Opened:
        opened = way(root_fd, parts, flags)
        if parts[:1] == ("door",):
            act()
        return opened

    return opened_then


@pytest.fixture
def exchange(yard: Yard) -> Callable[[], None]:
    """Put a link to the outside where the directory `door` was; the twin outside looks alike."""
    yard.write("door/secret.txt", "inside")
    yard.write("door/sub/secret.txt", "inside")
    (yard.outside / "sub").mkdir()
    (yard.outside / "sub/secret.txt").write_text(SECRET)

    def act() -> None:
        if not (yard.root / "door").is_symlink():
            (yard.root / "door").rename(yard.root / "moved-away")
            yard.link("door", "../outside")

    return act


async def test_a_read_uses_what_was_opened(
    yard: Yard, opener: Opener, exchange: Callable[[], None]
) -> None:
    way = then(opener, exchange)
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        assert (await workspace.read_text("door/secret.txt")).text == "inside"
        with pytest.raises(PathEscapeError):
            await workspace.read_text("door/secret.txt")


async def test_a_write_lands_nowhere_when_its_directory_was_exchanged(
    yard: Yard, opener: Opener, exchange: Callable[[], None]
) -> None:
    way = then(opener, exchange)
    with untouched(yard.outside):
        async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
            with pytest.raises(ConflictError, match="changed meanwhile"):
                await write_text(workspace, "door/new/deep.txt", "new")
            with pytest.raises(PathEscapeError):
                await write_text(workspace, "door/new/deep.txt", "new")
    assert not (yard.root / "moved-away/new").exists()


async def test_a_write_never_lands_in_a_denied_directory_that_was_exchanged_for_its_own(
    yard: Yard, opener: Opener
) -> None:
    """The plan was allowed for `door`; by the time it is made, `door` is a link to `.git`."""
    yard.write("door/config", "own")
    yard.write(".git/config", SECRET)

    def act() -> None:
        if not (yard.root / "door").is_symlink():
            (yard.root / "door").rename(yard.root / "moved-away")
            yard.link("door", ".git")

    way = then(opener, act)
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        with untouched(yard.root / ".git"):
            for path in ("door/config", "door/new.txt"):
                with pytest.raises((ConflictError, PermissionDeniedError)):
                    await write_text(workspace, path, "new")
                with_door(yard)


async def test_a_listing_tells_names_and_sizes_of_what_was_opened(
    yard: Yard, opener: Opener, exchange: Callable[[], None]
) -> None:
    (yard.outside / "only-outside").write_text("")
    way = then(opener, exchange)
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        listing = await workspace.list_directory("door", depth=2)
    files = {each.path: each.size for each in listing.entries if each.kind is EntryKind.FILE}
    assert files == {"door/secret.txt": len("inside"), "door/sub/secret.txt": len("inside")}


async def test_a_search_reads_what_was_opened(
    yard: Yard, opener: Opener, exchange: Callable[[], None]
) -> None:
    way = then(opener, exchange)
    async with Workspace.open(yard.root, Grant.full(), opener=way) as workspace:
        for path in ("door", "door/secret.txt"):
            with_door(yard)
            found = await workspace.search(Query(pattern="secret|inside", path=path))
            assert {match.text for match in found.matches} == {"inside"}


def with_door(yard: Yard) -> None:
    if (yard.root / "door").is_symlink():
        (yard.root / "door").unlink()
        (yard.root / "moved-away").rename(yard.root / "door")


async def test_a_tree_is_walked_by_descriptor(
    yard: Yard, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2024-8244: the directory becomes a link after its name was read, before it is entered."""
    yard.write("tree/sub/inside.txt")
    real_open = os.open

    def open_late(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        sub = yard.root / "tree/sub"
        if path == "sub" and sub.is_dir() and not sub.is_symlink():
            sub.rename(yard.root / "moved-away")
            yard.link("tree/sub", "../../outside")
        return real_open(path, flags, mode, dir_fd=dir_fd)

    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        monkeypatch.setattr(os, "open", open_late)
        listing = await workspace.list_directory("tree", depth=5)
    assert (yard.root / "tree/sub").is_symlink(), "nothing was exchanged"
    assert [each.path for each in listing.entries] == ["tree/sub"]


async def test_a_link_put_where_the_file_will_be_is_replaced_and_not_followed(
    yard: Yard, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exchange comes after everything was looked at, right before the file takes its name."""
    real_rename = os.rename

    def rename_late(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        yard.link("new.txt", "../outside/secret.txt")
        real_rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    with untouched(yard.outside):
        async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
            monkeypatch.setattr(os, "rename", rename_late)
            await write_text(workspace, "new.txt", "new")
    assert not (yard.root / "new.txt").is_symlink()
    assert (yard.root / "new.txt").read_text() == "new"


async def test_a_missing_directory_that_becomes_a_link_is_not_followed(
    yard: Yard, opener: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two missing levels: a link takes the place of the first one just before it is made."""
    real_mkdir = os.mkdir

    def mkdir_late(path: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if not (yard.root / "one").is_symlink():
            os.symlink("../outside", yard.root / "one")
        real_mkdir(path, mode, dir_fd=dir_fd)

    with untouched(yard.outside):
        async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
            monkeypatch.setattr(os, "mkdir", mkdir_late)
            with pytest.raises(ServerError):
                await write_text(workspace, "one/two/new.txt", "new")
    assert (yard.root / "one").is_symlink()


async def test_temporary_names_are_not_to_be_guessed(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[str] = []
    real_rename = os.rename

    def noted(old: str, new: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        names.append(old)
        real_rename(old, new, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", noted)
    for _ in range(20):
        await write_text(workspace, "src/app.py", "x")
    assert len(set(names)) == 20
    assert all(re.fullmatch(r"\.workyard-[0-9a-f]{12}\.tmp", name) for name in names)


async def test_even_a_guessed_temporary_name_is_not_written_through(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "token_hex", lambda _: "0" * 12)
    yard.link(f".workyard-{'0' * 12}.tmp", "../outside/secret.txt")
    with untouched(yard.outside):
        with pytest.raises(ServerError):
            await write_text(workspace, "src.txt", "x")
        await write_text(workspace, "docs/elsewhere.txt", "x")
    assert not (yard.root / "src.txt").exists()


def test_a_call_that_was_cut_short_does_not_block_its_root(yard: Yard, changer: Changer) -> None:
    """A link that leads out has taken the place of the directory that it was changing."""
    change = Change("door/new.txt", None, State(Kind.FILE, b"new"))
    call = Call(tool="write_file", fingerprint="", caller=Caller(), changes=[change])
    with changer._journal.alone(Deadline(5)):
        changer._journal.begin(call)  # and here it was killed
    yard.link("door", "../outside")
    with untouched(yard.outside):
        assert write(changer, "src/new.txt", "new").path == "src/new.txt"


def test_the_text_of_a_link_is_read_once(tmp_path: Path) -> None:
    """`link_target` decides by what it read: no second look could see another text."""
    (tmp_path / "link").symlink_to("a/../b/./c/")
    (tmp_path / "absolute").symlink_to(tmp_path)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert link_target("link", fd) == ("a", "..", "b", "c")
        assert link_target("missing", fd) is None
        with pytest.raises(PathEscapeError):
            link_target("absolute", fd)
    finally:
        os.close(fd)
