"""A listing shows what may be reached, in order, and nothing else."""

import os
from pathlib import Path

import pytest

from mcp_server.errors import NotAFileError, NotFoundError, PermissionDeniedError
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.reading import listing as listing_module
from mcp_server.fence.reading.listing import EntryKind, aim_of
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard


async def paths(workspace: Workspace, path: str = ".", depth: int = 1) -> list[str]:
    listing = await workspace.list_directory(path, depth=depth)
    return [entry.path for entry in listing.entries]


async def test_entries_follow_their_directory_in_order_of_name(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("src/deep/x.py")
    yard.write("src/z.py")
    yard.write("a.txt")
    assert await paths(workspace) == ["a.txt", "docs", "src"]
    assert await paths(workspace, "src") == ["src/app.py", "src/deep", "src/z.py"]
    assert await paths(workspace, depth=2) == [
        "a.txt",
        "docs",
        "docs/guide.md",
        "src",
        "src/app.py",
        "src/deep",
        "src/z.py",
    ]
    assert "src/deep/x.py" in await paths(workspace, depth=3)


async def test_kinds_sizes_and_targets_are_told(yard: Yard, workspace: Workspace) -> None:
    yard.link("src/link", "app.py")
    yard.link("src/out", yard.outside / "secret.txt")
    yard.link("src/up", "../../outside")
    os.mkfifo(yard.root / "src/pipe")
    listing = await workspace.list_directory("src")
    assert [(each.path, each.kind, each.size, each.target) for each in listing.entries] == [
        ("src/app.py", EntryKind.FILE, 25, None),
        ("src/link", EntryKind.LINK, 0, "app.py"),
        ("src/out", EntryKind.LINK, 0, None),
        ("src/pipe", EntryKind.OTHER, 0, None),
        ("src/up", EntryKind.LINK, 0, None),
    ]


async def test_denied_names_are_not_shown(yard: Yard, workspace: Workspace) -> None:
    for name in (".git/config", ".env", "src/ID_RSA", ".workyard/x", "src/.gitignore"):
        yard.write(name)
    yard.link("src/to-secret", "../.env")
    yard.link("src/to-history", "../.git")
    yard.link("src/.env", "app.py")
    assert await paths(workspace, depth=3) == [
        "docs",
        "docs/guide.md",
        "src",
        "src/.gitignore",
        "src/app.py",
    ]
    with pytest.raises(PermissionDeniedError):
        await paths(workspace, ".git")


async def test_what_the_grant_does_not_let_read_is_not_shown(yard: Yard) -> None:
    yard.write("src/api/a.py")
    yard.write("src/api/a.txt")
    yard.write("other/a.py")
    yard.link("to-other", "other/a.py")
    yard.link("to-src", "src/api/a.py")
    async with Workspace.open(yard.root, Grant(read=("src/api/*.py",))) as workspace:
        assert await paths(workspace, depth=5) == ["src", "src/api", "src/api/a.py", "to-src"]
        for path in ("docs", "src/api/deep"):
            with pytest.raises(PermissionDeniedError):
                await paths(workspace, path)


async def test_links_to_directories_are_not_walked(yard: Yard, workspace: Workspace) -> None:
    yard.link("loop", ".")
    yard.link("door", "../outside")
    assert await paths(workspace, depth=10) == [
        "docs",
        "docs/guide.md",
        "door",
        "loop",
        "src",
        "src/app.py",
    ]


async def test_a_listing_is_bounded_and_counts_the_rest(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        yard.write(f"many/{number:02}")
    grant = Grant.full().model_copy(update={"limits": Limits(entries=3)})
    async with Workspace.open(yard.root, grant) as workspace:
        listing = await workspace.list_directory("many")
        assert [entry.path for entry in listing.entries] == ["many/00", "many/01", "many/02"]
        assert (listing.left_out, listing.is_complete) == (17, True)
        monkeypatch.setattr(listing_module, "MAX_COUNTED", 10)
        listing = await workspace.list_directory("many")
        assert (listing.left_out, listing.is_complete) == (7, False)


async def test_a_directory_of_any_size_shows_its_first_names(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "MAX_COUNTED", 10)
    for number in range(40):
        yard.write(f"many/{number * 7 % 40:02}")
        yard.write(f"many/.env.{number:02}")
    listing = await workspace.list_directory("many")
    assert [entry.path for entry in listing.entries] == [f"many/{n:02}" for n in range(10)]
    assert (listing.left_out, listing.is_complete) == (0, False)


async def test_a_file_or_nothing_is_not_a_directory(workspace: Workspace) -> None:
    with pytest.raises(NotAFileError, match="is a file"):
        await paths(workspace, "src/app.py")
    with pytest.raises(
        NotFoundError, match="Directory 'srcs' does not exist; the root holds 'src'"
    ):
        await paths(workspace, "srcs")


async def test_names_that_are_not_utf8_are_listed(yard: Yard, workspace: Workspace) -> None:
    Path(os.fsdecode(os.fsencode(yard.root) + b"/docs/caf\xe9")).write_text("")
    assert await paths(workspace, "docs") == ["docs/caf\udce9", "docs/guide.md"]


@pytest.mark.parametrize(
    ("link", "target", "aim"),
    [
        ("a/link", "b", "a/b"),
        ("a/link", "../b", "b"),
        ("a/link", "..", "."),
        ("a/link", "../..", None),
        ("link", "./x/../y/", "y"),
        ("link", "/etc", None),
    ],
)
def test_the_text_of_a_link_tells_its_aim(link: str, target: str, aim: str | None) -> None:
    assert aim_of(link, target) == aim
