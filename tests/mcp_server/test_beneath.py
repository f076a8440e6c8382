"""Where a file is or would be, and how one is replaced."""

import os
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    UnavailableError,
)
from mcp_server.fence.beneath import Root
from mcp_server.fence.changes.changer import Changer
from tests.mcp_server.conftest import Yard, write


def paths_below(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize(
    "path",
    [
        "../new",
        "src/../../new",
        "/new",
        "to-dir/new",
        "to-dir/deep/new",
        "to-file",
        "dangling-out",
        "dangling-dir/new",
        "dangling-dir/deep/new",
        "chain",
        "absolute",
    ],
)
def test_nothing_is_made_outside(yard: Yard, changer: Changer, path: str) -> None:
    yard.link("to-dir", "../outside")
    yard.link("to-file", "../outside/secret.txt")
    yard.link("dangling-out", "../outside/new")
    yard.link("dangling-dir", "../outside/not-there")
    yard.link("chain", "dangling-out")
    yard.link("absolute", yard.outside / "new")
    before = paths_below(yard.outside), paths_below(yard.root)
    with pytest.raises(PathEscapeError):
        write(changer, path, "x")
    assert (paths_below(yard.outside), paths_below(yard.root)) == before


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("new", "new"),
        ("src/../new", "new"),
        ("a/b/c/new", "a/b/c/new"),
        ("link", "src/app.py"),
        ("dir/new", "src/new"),
        ("dir/a/b", "src/a/b"),
        ("dangling", "src/not/there"),
        ("dangling-dir/x", "src/gone/x"),
        ("chain", "src/not/there"),
    ],
)
def test_links_inside_are_followed_and_survive(
    yard: Yard, changer: Changer, path: str, canonical: str
) -> None:
    links = {
        "link": "src/app.py",
        "dir": "src",
        "dangling": "src/not/there",
        "dangling-dir": "./src/gone",
        "chain": "docs/../dangling",
    }
    for name, target in links.items():
        yard.link(name, target)
    assert write(changer, path, "new content").path == canonical
    assert (yard.root / canonical).read_bytes() == b"new content"
    assert {name: os.readlink(yard.root / name) for name in links} == links


def test_a_directory_behind_dot_dot_must_exist(changer: Changer) -> None:
    with pytest.raises(NotFoundError):
        write(changer, "nope/../new", "")


@pytest.mark.parametrize("path", ["", ".", "src/..", "src/", "src/new/", "src/."])
def test_a_path_that_only_a_directory_can_have_is_no_place_for_a_file(
    changer: Changer, path: str
) -> None:
    with pytest.raises((NotAFileError, NotFoundError)):
        write(changer, path, "")


@pytest.mark.parametrize("path", ["a\0b", "\0", "a\ud800b", "caf\udce9", "x" * 256, "x/" * 2048])
def test_a_path_that_no_file_can_have_is_refused(root: Root, changer: Changer, path: str) -> None:
    for attempt in (lambda: root.open(path, os.O_RDONLY), lambda: write(changer, path, "")):
        with pytest.raises(InvalidInputError):
            attempt()


def test_an_absolute_path_below_the_root_is_taken_as_relative(yard: Yard, changer: Changer) -> None:
    assert write(changer, f"{yard.root}/a.txt", "").path == "a.txt"
    assert write(changer, f"{yard.root}//sub/./a.txt", "").path == "sub/a.txt"


def test_a_root_given_by_a_link_is_known_by_both_names(yard: Yard, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to("root")
    root = Root(str(tmp_path / "alias"))
    try:
        assert root.parts(f"{tmp_path}/alias/src/a") == ("src", "a")
        assert root.parts(f"{tmp_path}/root/src/a") == ("src", "a")
    finally:
        root.close()


@pytest.mark.parametrize("name", ["root-evil/a", "rootevil", "ROOT/a", "root/../outside/a", ""])
def test_an_absolute_path_that_only_looks_like_the_root_is_refused(
    yard: Yard, root: Root, name: str
) -> None:
    """A prefix compared as text admits `/allow-evil` for `/allow`."""
    with pytest.raises(PathEscapeError):
        root.open(f"{yard.root.parent}/{name}", os.O_RDONLY)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    yard: Yard, changer: Changer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    before = (yard.root / "src/app.py").read_bytes()
    with pytest.raises(UnavailableError, match="No space left"):
        write(changer, "src/app.py", "half")
    assert (yard.root / "src/app.py").read_bytes() == before
    assert os.listdir(yard.root / "src") == ["app.py"]


def test_a_file_in_the_way_of_a_directory_is_an_error(changer: Changer) -> None:
    with pytest.raises(NotAFileError):
        write(changer, "src/app.py/new", "")
