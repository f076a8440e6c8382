"""Both ways to open keep to the root. No test here is helped by Landlock: the thread is free."""

import errno
import os
from pathlib import Path

import pytest

from mcp_server.errors import PathEscapeError
from mcp_server.fence.beneath import Root
from mcp_server.fence.openers import READ_FLAGS, Opener, best_opener, open_by_kernel, open_by_walk
from tests.mcp_server.conftest import SECRET, Yard


def content(root: Root, path: str) -> str:
    with root.open(path, READ_FLAGS) as opened:
        return os.read(opened.fd, 100).decode()


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../outside/secret.txt",
        "src/../../outside/secret.txt",
        "./src/.././../outside/secret.txt",
        "src/../../root/src/app.py",
        "/etc/passwd",
        "//etc/passwd",
        "to-file",
        "to-dir/secret.txt",
        "to-dir",
        "to-dir/",
        "to-dir/.",
        "to-dir//",
        "to-dir/..",
        "absolute-to-file",
        "absolute-to-dir/secret.txt",
        "absolute-to-dir/",
        "absolute-to-dir/.",
        "chain",
        "src/up/outside/secret.txt",
        "dangling-out",
    ],
)
def test_what_leads_outside_is_refused(yard: Yard, root: Root, path: str) -> None:
    yard.link("to-file", "../outside/secret.txt")
    yard.link("to-dir", "../outside")
    yard.link("absolute-to-file", yard.outside / "secret.txt")
    yard.link("absolute-to-dir", yard.outside)
    yard.link("chain", "to-file")
    yard.link("src/up", "../..")
    yard.link("dangling-out", "../outside/not-there")
    with pytest.raises(PathEscapeError) as refused:
        content(root, path)
    assert SECRET not in str(refused.value)


def test_an_absolute_link_is_refused_even_when_it_leads_inside(yard: Yard, root: Root) -> None:
    yard.link("inside", yard.root / "src/app.py")
    with pytest.raises(PathEscapeError):
        content(root, "inside")


@pytest.mark.parametrize(
    ("path", "canonical"),
    [
        ("src/app.py", "src/app.py"),
        ("./src//app.py", "src/app.py"),
        ("docs/../src/app.py", "src/app.py"),
        ("docs/./../docs/../src/app.py", "src/app.py"),
        ("link", "src/app.py"),
        ("deep/link", "src/app.py"),
        ("dir/app.py", "src/app.py"),
        ("dir/../docs/link-here/app.py", "src/app.py"),
    ],
)
def test_the_canonical_path_is_that_of_the_target(
    yard: Yard, root: Root, path: str, canonical: str
) -> None:
    yard.link("link", "src/app.py")
    yard.link("deep/link", "../link")
    yard.link("dir", "./src/")
    yard.link("docs/link-here", "../deep/../dir")
    with root.open(path, READ_FLAGS) as opened:
        assert opened.path == canonical
        assert os.read(opened.fd, 11) == b"def main():"


@pytest.mark.parametrize("path", ["", ".", "./", "src/..", "src/../docs/..", "self", "self/"])
def test_the_root_itself_is_a_dot(yard: Yard, root: Root, path: str) -> None:
    yard.link("self", ".")
    with root.open(path, READ_FLAGS) as opened:
        assert opened.path == "."
        assert sorted(os.listdir(opened.fd)) == ["docs", "self", "src"]


def test_dot_dot_behind_a_link_is_the_parent_of_its_target(yard: Yard, root: Root) -> None:
    """As text, `link/..` would be `.`; servers that collapse it read another file."""
    yard.write("a/b/target/x")
    yard.write("a/b/t.txt", "right")
    yard.write("t.txt", "wrong")
    yard.link("link", "a/b/target")
    assert content(root, "link/../t.txt") == "right"


@pytest.mark.parametrize("path", ["src/app.py/", "src/app.py/.", "src/app.py/x", "link/"])
def test_a_file_is_not_taken_for_a_directory(yard: Yard, root: Root, path: str) -> None:
    yard.link("link", "src/app.py")
    with pytest.raises(NotADirectoryError):
        content(root, path)


def test_a_loop_of_links_ends(yard: Yard, root: Root) -> None:
    yard.link("a", "b")
    yard.link("b", "a")
    with pytest.raises(OSError, match="symbolic links") as looped:
        content(root, "a")
    assert looped.value.errno == errno.ELOOP


def test_a_missing_file_is_missing_and_a_dangling_link_too(yard: Yard, root: Root) -> None:
    yard.link("dangling", "src/not-there")
    for path in ("src/nope", "nope/../src/app.py", "dangling"):
        with pytest.raises(FileNotFoundError):
            content(root, path)


@pytest.mark.parametrize("path", ["self/root/etc/passwd", "self/cwd", "self/exe", "self/fd/0"])
def test_magic_links_of_proc_are_not_followed(opener: Opener, path: str) -> None:
    root = Root("/proc", opener)
    try:
        with pytest.raises((PathEscapeError, OSError)):
            content(root, path)
    finally:
        root.close()


def test_descriptors_do_not_leak(yard: Yard, root: Root) -> None:
    yard.link("to-dir", "../outside")
    before = len(os.listdir("/proc/self/fd"))
    for path in ("src/app.py", "docs/../src/app.py", "to-dir/x", "nope/x", "src/app.py/x", ".."):
        try:
            content(root, path)
        except (OSError, PathEscapeError):
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_kernels_way_is_taken_where_it_exists(tmp_path: Path, opener: Opener) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        chosen = best_opener(fd)
    finally:
        os.close(fd)
    assert chosen is open_by_kernel or opener is open_by_walk
