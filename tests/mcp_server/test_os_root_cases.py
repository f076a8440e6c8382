"""The cases of Go's os.Root, which shipped four escapes of its own, as data for both openers.

Source: rootTestCases and rootConsistencyTestCases in golang/go src/os/root_test.go.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest

from mcp_server.errors import InvalidInputError, PathEscapeError, ServerError
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opener, open_by_walk
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import write_text
from tests.mcp_server.layouts import build, read, root_at, snapshot
from tests.mcp_server.operations import called

Refusal = type[Exception] | None
ESCAPE, MISSING, LOOP = PathEscapeError, FileNotFoundError, OSError


@dataclass(frozen=True)
class Case:
    name: str
    layout: tuple[str, ...]
    path: str
    target: str = ""
    """What the path leads to; of an escape, what must not be reached."""
    refusal: Refusal = None
    last_link: str = ""
    """The link at the end of the path, which is what a move or a delete acts on."""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


CASES = (
    Case("plain path", (), "target", "target"),
    Case("path in directory", ("a/b/c/",), "a/b/c/target", "a/b/c/target"),
    Case("symlink", ("link => target",), "link", "target", last_link="link"),
    Case("symlink dotdot slash", ("link => ../",), "link", "", ESCAPE, "link"),
    Case("symlink ending in slash", ("dir/", "link => dir/"), "link/target", "dir/target"),
    Case("slash after symlink to file", ("link => ../ROOT/target",), "link/", "target", ESCAPE),
    Case("slash after symlink to dir", ("link => ../ROOT/d", "d/"), "link/", "", ESCAPE),
    Case("symlink dotdot dotdot", ("dir/link => ../../",), "dir/link", "", ESCAPE, "dir/link"),
    Case(
        "symlink chain",
        ("link => a/b/c/target", "a/b => e", "a/e => ../f", "f => g/h/i", "g/h/i => ..", "g/c/"),
        "link", "g/c/target", last_link="link",
    ),
    Case("path with dot", ("a/b/",), "./a/./b/./target", "a/b/target"),
    Case("path with dotdot", ("a/b/",), "a/../a/b/../../a/b/../b/target", "a/b/target"),
    Case("path with dotdot slash", (), "../", "", ESCAPE),
    Case("path with dotdot dotdot slash", ("a/",), "a/../../", "", ESCAPE),
    Case("dotdot no symlink", ("a/",), "a/../target", "target"),
    Case("dotdot after symlink", ("a => b/c", "b/c/"), "a/../target", "b/target"),
    Case("dotdot before symlink", ("a => b/c", "b/c/"), "b/../a/target", "b/c/target"),
    Case("symlink ends in dot", ("a => b/.", "b/"), "a/target", "b/target"),
    Case("symlink cycle", ("a => a",), "a", "", LOOP, "a"),
    Case("path escapes", (), "../ROOT/target", "target", ESCAPE),
    Case("long path escapes", ("a/",), "a/../../ROOT/target", "target", ESCAPE),
    Case("absolute symlink", ("link => $ABS/target",), "link", "target", ESCAPE, "link"),
    Case("relative symlink", ("link => ../ROOT/target",), "link", "target", ESCAPE, "link"),
    Case(
        "symlink chain escapes",
        ("link => a/b/c/target", "a/b => e", "a/e => ../../ROOT", "c/"),
        "link", "c/target", ESCAPE, "link",
    ),
)  # fmt: skip

OTHERWISE = {
    # An empty path is refused by Go; here it is the root, as models send it for "everything".
    "empty path": ((), "", ""),
    # An absolute path is an escape for Go; here one below the root is taken as relative, as models
    # give it. `OpenInRoot` of the same file tells the two apart.
    "absolute path to the inside": (("file",), "$ABS/file", "file"),
}

CONSISTENT = (
    # name, layout, path, what is read or how it fails: as the system does it without a root
    ("file", ("target",), "target", "target"),
    ("dir slash dot", ("target/file",), "target/.", "file"),
    ("dot", ("file",), ".", "file"),
    ("file slash dot", ("target",), "target/.", NotADirectoryError),
    ("dir slash", ("target/file",), "target/", "file"),
    ("dot slash", ("file",), "./", "file"),
    ("file slash", ("target",), "target/", NotADirectoryError),
    ("file in path", ("file",), "file/target", NotADirectoryError),
    ("directory in path missing", (), "dir/target", FileNotFoundError),
    ("target does not exist", (), "target", FileNotFoundError),
    ("symlink slash", ("target/file", "link => target"), "link/", "file"),
    ("symlink slash dot", ("target/file", "link => target"), "link/.", "file"),
    ("unresolved symlink", ("link => target",), "link", FileNotFoundError),
    ("resolved symlink", ("link => target", "target"), "link", "target"),
    ("dotdot after symlink", ("a => b/c", "b/c/", "b/target"), "a/../target", "b/target"),
    ("long file name", (), "a" * 500, InvalidInputError),
    ("question mark", (), "?", FileNotFoundError),
    ("nul byte", (), "\0", InvalidInputError),
    ("link to the root", ("d/d => ..",), "d/d", "d"),
    ("symlink to dir ends in slash", ("dir/f", "link => dir/"), "link", "f"),
)

pytestmark = pytest.mark.usefixtures("no_disk")
cases = pytest.mark.parametrize("case", CASES, ids=str)


def made(tmp_path: Path, case: Case, *, content: str = "") -> Path:
    root = build(tmp_path / "ROOT", case.layout)
    if content and case.target:
        (root / case.target).write_text(content)
    return root


@cases
def test_a_file_is_read_where_go_reads_it_and_refused_where_go_refuses(
    tmp_path: Path, opener: Opener, case: Case
) -> None:
    with root_at(made(tmp_path, case, content="target content"), opener) as root:
        if case.refusal is None:
            assert read(root, case.path) == "target content"
        else:
            with pytest.raises(case.refusal):
                read(root, case.path)


@cases
def test_a_directory_is_opened_where_go_opens_it(
    tmp_path: Path, opener: Opener, case: Case
) -> None:
    directory = made(tmp_path, case)
    if case.target:
        build(directory, [f"{case.target}/found"])
    with root_at(directory, opener) as root:
        if case.refusal is None:
            assert read(root, case.path) == "found"
        else:
            with pytest.raises(case.refusal):
                read(root, case.path)


@cases
@pytest.mark.parametrize("content", ["", "target content"], ids=["new", "replaced"])
async def test_a_file_is_made_or_replaced_where_go_makes_it(
    tmp_path: Path, opener: Opener, case: Case, content: str
) -> None:
    directory = made(tmp_path, case, content=content)
    before = snapshot(tmp_path)
    async with Workspace.open(directory, Grant.full(), opener=opener) as workspace:
        if case.refusal is None:
            assert (await write_text(workspace, case.path, "new")).path == case.target
            assert (directory / case.target).read_text() == "new"
            return
        for attempt in (
            lambda: workspace.read_text(case.path),
            lambda: workspace.list_directory(case.path),
            lambda: write_text(workspace, case.path, "new"),
        ):
            with pytest.raises(ServerError):
                await attempt()
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(("layout", "path", "expected"), OTHERWISE.values(), ids=OTHERWISE)
def test_what_is_decided_otherwise_than_in_go(
    tmp_path: Path, opener: Opener, layout: tuple[str, ...], path: str, expected: str
) -> None:
    directory = build(tmp_path / "ROOT", layout)
    with root_at(directory, opener) as root:
        assert read(root, path.replace("$ABS", str(directory))) == expected


@pytest.mark.parametrize(
    ("layout", "path", "expected"),
    [each[1:] for each in CONSISTENT],
    ids=[c[0] for c in CONSISTENT],
)
def test_what_stays_inside_is_answered_as_the_system_answers_it(
    tmp_path: Path,
    opener: Opener,
    layout: tuple[str, ...],
    path: str,
    expected: str | type[Exception],
) -> None:
    with root_at(build(tmp_path / "ROOT", layout), opener) as root:
        if isinstance(expected, str):
            assert read(root, path) == expected
        else:
            with pytest.raises(expected):
                read(root, path)


def test_a_slash_in_the_text_of_a_link_to_a_file_opens_that_file_or_nothing(
    tmp_path: Path, opener: Opener
) -> None:
    """The kernel refuses `link => file/`; the walk, which never sees a slash, opens the file."""
    with root_at(build(tmp_path / "ROOT", ("file", "link => file/")), opener) as root:
        if opener is open_by_walk:
            assert read(root, "link") == "file"
        else:
            with pytest.raises(NotADirectoryError):
                read(root, "link")


def test_a_root_that_was_renamed_is_still_the_root(tmp_path: Path, opener: Opener) -> None:
    """TestRootRenameAfterOpen."""
    with root_at(build(tmp_path / "a", ()), opener) as root:
        (tmp_path / "a").rename(tmp_path / "b")
        (tmp_path / "b/f").write_text("hello")
        assert read(root, "f") == "hello"


def test_a_file_is_no_root(tmp_path: Path, opener: Opener) -> None:
    """TestRootOpenFileAsRoot."""
    file = build(tmp_path, ["target"]) / "target"
    with pytest.raises(NotADirectoryError), root_at(file, opener):
        pass


@cases
@pytest.mark.skipif("delete_path" not in TOOLS, reason="there is no delete_path yet")
async def test_a_delete_takes_the_link_and_never_what_it_leads_to(
    tmp_path: Path, case: Case
) -> None:
    """TestRootRemoveFile."""
    directory = made(tmp_path, case, content="target content")
    expected = snapshot(tmp_path)
    if case.refusal is None or case.last_link:
        del expected[f"ROOT/{case.last_link or case.target}"]
    async with Workspace.open(directory, Grant.full()) as workspace:
        said = await called(workspace, "delete_path", {"path": case.path})
    assert snapshot(tmp_path) == expected, said


@cases
@pytest.mark.skipif("move_path" not in TOOLS, reason="there is no move_path yet")
async def test_a_move_takes_the_link_and_never_what_it_leads_to(tmp_path: Path, case: Case) -> None:
    """TestRootRenameFrom."""
    directory = made(tmp_path, case, content="target content")
    expected = snapshot(tmp_path)
    if case.refusal is None or case.last_link:
        expected["ROOT/moved"] = expected.pop(f"ROOT/{case.last_link or case.target}")
    async with Workspace.open(directory, Grant.full()) as workspace:
        arguments = {"source": case.path, "destination": "moved"}
        said = await called(workspace, "move_path", arguments)
    assert snapshot(tmp_path) == expected, said


@cases
@pytest.mark.skipif("make_directory" not in TOOLS, reason="there is no make_directory yet")
async def test_a_directory_is_made_where_go_makes_it_or_not_at_all(
    tmp_path: Path, case: Case
) -> None:
    """TestRootMkdir."""
    directory = made(tmp_path, case)
    async with Workspace.open(directory, Grant.full()) as workspace:
        before = snapshot(tmp_path)
        said = await called(workspace, "make_directory", {"path": case.path})
    made_now = snapshot(tmp_path).keys() - before.keys()
    if isinstance(said, ServerError):
        assert not made_now
    else:
        assert made_now == {f"ROOT/{case.target}"}
