"""The cases of cap-std, the capability-based file system of Rust, as data for both openers.

Source: bytecodealliance/cap-std tests/{cap-basics,canonicalize,fs_additional,symlinks,rename,
trailing_dots,paths-containing-nul}.rs. "a path led outside of the filesystem" is ESCAPE here.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    ServerError,
)
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opener
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import Yard, write_text
from tests.mcp_server.layouts import build, read, root_at, snapshot
from tests.mcp_server.operations import OPERATIONS, Operation, answer, called

pytestmark = pytest.mark.usefixtures("no_disk")

ESCAPE, MISSING = PathEscapeError, FileNotFoundError
NOT_A_DIRECTORY = NotADirectoryError
Expected = str | type[Exception]

COLOURS = ("red.txt", "dir/green.txt", "dir/inner/blue.txt", "link => dir", "badlink => nowhere")

BASICS: dict[str, Expected] = {
    # cap-basics.rs, cap_smoke_test and symlinks
    "red.txt": "red.txt",
    "blue.txt": MISSING,
    "./red.txt": "red.txt",
    "./green.txt": MISSING,
    "dir/red.txt": MISSING,
    "dir/green.txt": "dir/green.txt",
    "dir/inner/green.txt": MISSING,
    "dir/inner/blue.txt": "dir/inner/blue.txt",
    "dir/../red.txt": "red.txt",
    "dir/inner/../../red.txt": "red.txt",
    "dir/inner/../inner/../../red.txt": "red.txt",
    "link/../red.txt": "red.txt",
    "link/green.txt": "dir/green.txt",
    "link/inner/blue.txt": "dir/inner/blue.txt",
    "link/red.txt": MISSING,
    "link/../green.txt": MISSING,
    "./dir/.././/link/..///./red.txt": "red.txt",
    "./dir/.././/link/..///./not.txt": MISSING,
    "link/inner/../inner/../../red.txt": "red.txt",
    "badlink/../red.txt": MISSING,
    # fs_additional.rs, trailing_slash
    "red.txt/": NOT_A_DIRECTORY,
    # paths-containing-nul.rs
    "\0": InvalidInputError,
}

FROM_INNER: dict[str, Expected] = {
    # cap-basics.rs: the root is dir/inner
    "red.txt": MISSING,
    "green.txt": MISSING,
    "../inner/blue.txt": ESCAPE,
    "../inner/red.txt": ESCAPE,
    "/": ESCAPE,
    "/etc/services": ESCAPE,
    ".": "blue.txt",
    "./": "blue.txt",
    "./.": "blue.txt",
    "..": ESCAPE,
    "../": ESCAPE,
    "../.": ESCAPE,
    "./..": ESCAPE,
    "../inner/../inner/../../link/other.txt": ESCAPE,
    # canonicalize.rs, canonicalize_edge_cases
    **dict.fromkeys(
        ("/.", "/..", "/./", "/../", "/../.", "/./.", "/./..", "/./../", "/../..", "/../../"),
        ESCAPE,
    ),
    "../..": ESCAPE,
    # decided otherwise: cap-std has no file with the empty path; here it is the root
    "": "blue.txt",
}

CANONICAL: dict[str, Expected] = {
    # canonicalize.rs: what a path is called once it is resolved
    **dict.fromkeys((".", "./", "./.", "foo/..", "foo/../", "foo/../."), "."),
    **dict.fromkeys(("foo", "foo/", "foo/.", "foo/./", "foo/.//"), "foo"),
    **dict.fromkeys(("foo/bar", "foo/bar/", "foo/../foo/bar", "foo/../foo/bar/"), "foo/bar"),
    **dict.fromkeys(("foo/../..", "foo/../../"), ESCAPE),
    "foo/bar/qux": MISSING,
}

LINKED = tuple(
    f"link{number} => {target}"
    for number, target in enumerate(("dir", "dir/", "dir/.", "dir/..", "dir/../", ".", "./"))
)
"""symlinks.rs, open_dir_nofollow: the ways to write a link to a directory."""

WRITES: dict[str, str | type[ServerError]] = {
    # fs_additional.rs, open_various and dir_writable
    **dict.fromkeys(("", ".", "dir/.", "dir/..", "dir/", "link/."), NotAFileError),
    # rename.rs, the destinations
    **dict.fromkeys(("/tmp/x", "dir/../../x", "dir/inner/../../../something"), ESCAPE),
    "dir/nope/../x": NotFoundError,
    # decided otherwise: cap-std makes no directory on the way, here a write does
    "d1/d2/file": "d1/d2/file",
}  # fmt: skip

MOVES = {
    # rename.rs, rename_basics, and fs_additional.rs, rename_slashdots: whether it is done
    ("red.txt", "dir/renamed.txt"): True,
    ("dir/inner", "moved"): True,
    ("red.txt", ".."): False,
    ("red.txt", "dir/../.."): False,
    ("red.txt", "/tmp"): False,
    ("red.txt", "dir/inner/baz/.."): False,
    ("red.txt", "dir/inner/../../.."): False,
    ("red.txt", "dir/inner/../../../something"): False,
    ("red.txt", ""): False,
    ("red.txt", "/"): False,
    ("red.txt", "/.."): False,
    ("/", "nope.txt"): False,
    ("/..", "nope.txt"): False,
    ("..", "nope.txt"): False,
    (".", "nope.txt"): False,
    ("red.txt", "."): False,
    ("red.txt", "dir/.."): False,
    ("dir", "dir/inner/dir"): False,
    ("red.txt", "\0"): False,
    ("\0", "nope.txt"): False,
    # decided otherwise: a rename of cap-std replaces what is there, a move here never does
    ("red.txt", "dir/green.txt"): False,
    ("red.txt", "red.txt"): False,
    ("dir", "dir"): False,
}


@pytest.mark.parametrize(("path", "expected"), BASICS.items())
def test_files_are_found_as_cap_std_finds_them(
    tmp_path: Path, opener: Opener, path: str, expected: Expected
) -> None:
    with root_at(build(tmp_path / "root", COLOURS), opener) as root:
        check(lambda: read(root, path), expected)


@pytest.mark.parametrize(("path", "expected"), FROM_INNER.items())
def test_what_is_beside_the_root_is_out_of_reach(
    tmp_path: Path, opener: Opener, path: str, expected: Expected
) -> None:
    with root_at(build(tmp_path / "root", COLOURS) / "dir/inner", opener) as root:
        check(lambda: read(root, path), expected)


@pytest.mark.parametrize(("path", "expected"), CANONICAL.items())
def test_a_path_has_one_canonical_form(
    tmp_path: Path, opener: Opener, path: str, expected: Expected
) -> None:
    def canonical() -> str:
        with root.open(path, 0) as opened:
            return opened.path

    with root_at(build(tmp_path / "root", ("foo/bar/",)), opener) as root:
        check(canonical, expected)


@pytest.mark.parametrize("suffix", ["", "/", "/.", "/./"])
@pytest.mark.parametrize("before", ["", "dir/../", "link0/../"])
@pytest.mark.parametrize("link", [line.partition(" ")[0] for line in LINKED])
def test_every_spelling_of_a_link_to_a_directory_opens_it(
    tmp_path: Path, opener: Opener, before: str, link: str, suffix: str
) -> None:
    target = dict(line.split(" => ") for line in LINKED)[link]
    with root_at(build(tmp_path / "root", ("dir/inside", *LINKED)), opener) as root:
        names = read(root, before + link + suffix)
    assert names == ("inside" if target.strip("/.") == "dir" and ".." not in target else ROOT_NAMES)


ROOT_NAMES = " ".join(sorted(["dir", *(line.partition(" ")[0] for line in LINKED)]))


@pytest.mark.parametrize(("path", "expected"), WRITES.items())
async def test_a_file_is_made_or_refused_as_cap_std_does(
    tmp_path: Path, opener: Opener, path: str, expected: str | type[ServerError]
) -> None:
    directory = build(tmp_path / "root", COLOURS)
    before = snapshot(tmp_path)
    async with Workspace.open(directory, Grant.full(), opener=opener) as workspace:
        if isinstance(expected, str):
            assert (await write_text(workspace, path, "new")).path == expected
            return
        with pytest.raises(expected):
            await write_text(workspace, path, "new")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    "name", ["red.txt.", "red.txt ", "red.txt . .", "red.txt::$DATA", "dir./x"]
)
def test_trailing_dots_and_spaces_are_part_of_a_name(
    tmp_path: Path, opener: Opener, name: str
) -> None:
    """trailing_dots.rs: Windows strips them; where the system does not, they tell names apart."""
    with root_at(build(tmp_path / "root", COLOURS), opener) as root:
        check(lambda: read(root, name), MISSING)


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
async def test_no_parameter_takes_a_nul(yard: Yard, operation: Operation) -> None:
    """paths-containing-nul.rs, for every operation that there is."""
    before = snapshot(yard.root)
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        for path in ("\0", "src/app.py\0", "src\0/app.py"):
            said = await answer(workspace, operation, path)
            if operation.collects:
                assert "NUL" in str(said)
            else:
                assert isinstance(said, InvalidInputError), said
    assert snapshot(yard.root) == before


@pytest.mark.skipif("move_path" not in TOOLS, reason="there is no move_path yet")
@pytest.mark.parametrize(("ends", "is_done"), MOVES.items(), ids=str)
async def test_a_move_is_done_or_refused_as_cap_std_does(
    tmp_path: Path, ends: tuple[str, str], is_done: bool
) -> None:
    directory = build(tmp_path / "root", COLOURS)
    before = snapshot(tmp_path)
    async with Workspace.open(directory, Grant.full()) as workspace:
        arguments = dict(zip(("source", "destination"), ends, strict=True))
        said = await called(workspace, "move_path", arguments)
    assert isinstance(said, ServerError) is not is_done, said
    assert (snapshot(tmp_path) != before) is is_done


def check(attempt: Callable[[], str], expected: Expected) -> None:
    if isinstance(expected, str):
        assert attempt() == expected
    else:
        with pytest.raises(expected):
            attempt()
