"""The cases of the reference server's own tests; where this server decides otherwise, and why.

Source: modelcontextprotocol/servers src/filesystem/__tests__/{path-validation,server-paths,
symlinks,sibling-paths,path-utils,nested-parents,unicode-paths,roots-utils}.test.ts.
"""

from pathlib import Path

import pytest

from mcp_server.errors import InvalidInputError, NotFoundError, PathEscapeError, ServerError
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opener
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import write_text
from tests.mcp_server.layouts import build, read, root_at, snapshot
from tests.mcp_server.operations import called

pytestmark = pytest.mark.usefixtures("no_disk")

ALLOWED, ESCAPE, MISSING = "text", PathEscapeError, FileNotFoundError
Expected = str | type[Exception]

INSIDE = (
    "src/index.js",
    "deeply/nested/file.txt",
    "..test",
    "test..",
    "te..st",
    "...",
    "....",
    "report_50%.pdf",
    "Q1_25%_growth",
    "%41",
    "%2e%2e",
    "file%20name",
    "it's'",
    "café",
    "my project (v2)/notes",
    "@at+plus$dollar#hash[brackets]&amp",
)
"""Names that look odd, and are names."""

PATHS: dict[str, Expected] = {
    # $ABS is the root, /home/user/project there
    **dict.fromkeys((f"$ABS/{name}" for name in INSIDE), ALLOWED),
    **dict.fromkeys(INSIDE, ALLOWED),
    **dict.fromkeys(("$ABS//src//index.js", "$ABS/./src/index.js", "./src/index.js"), ALLOWED),
    # similar directory names (CVE-2025-53110), siblings that differ by quotes or white space
    **dict.fromkeys(
        (f"$ABS{end}" for end in ("2", "_backup", "-old", "ile", ".bak", "'", '"', " ", "\t")),
        ESCAPE,
    ),
    **dict.fromkeys(("$ABS'/secret.txt", "$ABS-old/secret.txt"), ESCAPE),
    # outside, parents, traversal
    **dict.fromkeys(("/etc/passwd", "/", "$ABS/..", "$ABS/../other", "../parent"), ESCAPE),
    **dict.fromkeys(("$ABS/../../../etc/passwd", "$ABS/src/../../project2"), ESCAPE),
    **dict.fromkeys(("$ABS/./../../other", "$ABS/../project/../../../etc"), ESCAPE),
    # `..` behind the name of the root that comes back to it: they collapse the text and allow it
    "$ABS/../root/src/index.js": ESCAPE,
    # NUL
    **dict.fromkeys(("$ABS\0/etc", "$ABS/test\0.txt", "\0$ABS", "$ABS/\0"), InvalidInputError),
    # another Unicode form of a name is another name (unicode-paths: they try both)
    "cafe\u0301": MISSING,
    # ~ is a name, and never somebody's home (path-utils, expandHome: they expand it)
    **dict.fromkeys(("~", "~/x.txt", "~root/.ssh/id"), MISSING),
    # quotes and spaces around a path are part of it (path-utils: they strip them)
    **dict.fromkeys(('"src/index.js"', " src/index.js", "src/index.js "), MISSING),
    # drives, UNC and WSL are names or foreign paths (path-utils: converted on Windows)
    **dict.fromkeys((r"C:\NS\MyKindleContent", "C:/test", r"\\SERVER\share\folder"), MISSING),
    **dict.fromkeys(("/mnt/c/NS/x", "/c/some/path", "/h/username/data"), ESCAPE),
    # thousands of names: they allow 1,000 and refuse what escapes; here 255 is the end of both
    **dict.fromkeys(("a/" * 1000 + "f", "a/" * 1000 + "../" * 1001 + "etc"), InvalidInputError),
    # links
    "link-inside": ALLOWED,
    **dict.fromkeys(("bad-link", "chain-out", "dir-out/target.txt", "out-and-in"), ESCAPE),
    **dict.fromkeys(("circle-a", "circle-b"), OSError),
    # an absolute link to the inside: they follow it; here it is refused, as by os.Root, since
    # whether it stays inside depends on where the root is mounted and by which name
    "absolute-inside": ESCAPE,
    # a file as a directory
    "src/index.js/child": NotADirectoryError,
}  # fmt: skip

LINKS = (
    "link-inside => src/index.js",
    "bad-link => $ABS/../forbidden/target.txt",
    "chain-out => ../forbidden/link1",
    "../forbidden/link1 => target.txt",
    "dir-out => ../forbidden",
    "out-and-in => ../forbidden/back",
    "../forbidden/back => ../root/src/index.js",
    "circle-a => circle-b",
    "circle-b => circle-a",
    "absolute-inside => $ABS/src/index.js",
    "dangling => ../forbidden/not-yet",
)

WRITES: dict[str, str | type[ServerError]] = {
    # new files, and links that stay inside
    "new.txt": "new.txt",
    "link-inside": "src/index.js",
    # "uses resolved parent paths for non-existent files" (nested-parents, #4629)
    **dict.fromkeys(("dir-out/new.txt", "dir-out/a/b", "dir-out/a/b/c.txt"), ESCAPE),
    # dangling links out: they say that the parent is missing, which is not what is wrong
    "dangling": ESCAPE,
    # "prevents overwriting files through links that point outside"
    **dict.fromkeys(("bad-link", "chain-out", "out-and-in", "absolute-inside"), ESCAPE),
    # missing parents: they refuse a write, here they are made
    "a/b/c/new.txt": "a/b/c/new.txt",
    # a drive on POSIX: they refuse it rather than write a file of that name; here it is that file,
    # inside: no name is special on a system where it is not
    r"C:\Users\me\notes.md": r"C:\Users\me\notes.md",
}  # fmt: skip


def made(tmp_path: Path) -> Path:
    root = build(tmp_path / "root", (*INSIDE, *LINKS))
    for name in INSIDE:
        (root / name).write_text(ALLOWED)
    build(tmp_path / "forbidden", ["target.txt"])
    for suffix in ("'", "-old"):
        build(tmp_path / f"root{suffix}", ["secret.txt"])
    return root


@pytest.mark.parametrize(("path", "expected"), PATHS.items(), ids=lambda each: repr(each)[:40])
def test_a_path_is_allowed_or_refused_as_decided(
    tmp_path: Path, opener: Opener, path: str, expected: Expected
) -> None:
    directory = made(tmp_path)
    path = path.replace("$ABS", str(directory))
    with root_at(directory, opener) as root:
        if isinstance(expected, str):
            assert read(root, path) == expected
        else:
            with pytest.raises(expected):
                read(root, path)


@pytest.mark.parametrize(("path", "expected"), WRITES.items())
async def test_a_write_lands_where_decided_or_nowhere(
    tmp_path: Path, opener: Opener, path: str, expected: str | type[ServerError]
) -> None:
    directory = made(tmp_path)
    before = snapshot(tmp_path)
    async with Workspace.open(directory, Grant.full(), opener=opener) as workspace:
        if isinstance(expected, str):
            assert (await write_text(workspace, path, "new")).path == expected
            assert (directory / expected).read_text() == "new"
            return
        with pytest.raises(expected):
            await write_text(workspace, path, "new")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("alias", ["alias", "alias/../alias", "link-to-alias"])
def test_the_root_is_known_by_its_link_and_by_its_real_path(
    tmp_path: Path, opener: Opener, alias: str
) -> None:
    """Servers #3253: /tmp is a link to /private/tmp, and a host gives either."""
    build(tmp_path, ["alias => real", "link-to-alias => alias", "real/f"])
    with root_at(tmp_path / alias, opener) as root:
        for name in (tmp_path / alias, tmp_path / "real"):
            assert read(root, f"{name}/f" if ".." not in str(name) else "f") == "real/f"


@pytest.mark.parametrize("root", ["missing", "root/src/index.js", "\0invalid\0path"])
async def test_a_root_that_is_none_serves_nothing(tmp_path: Path, root: str) -> None:
    """roots-utils: they leave it out and go on with the others; there is one root here."""
    made(tmp_path)
    with pytest.raises(InvalidInputError, match="cannot be opened"):
        async with Workspace.open(f"{tmp_path}/{root}", Grant.full()):
            pass


async def test_another_unicode_form_is_told_what_is_there(tmp_path: Path) -> None:
    """They open the other form; here the name is told, so that the next call is exact."""
    async with Workspace.open(made(tmp_path), Grant.full()) as workspace:
        with pytest.raises(NotFoundError, match="the root holds 'café'"):
            await workspace.read_text("cafe\u0301")


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize("value", [123, {}, [], True, None])
async def test_a_path_that_is_no_text_is_refused(tmp_path: Path, name: str, value: object) -> None:
    """ "rejects non-string inputs safely"."""
    async with Workspace.open(made(tmp_path), Grant.full()) as workspace:
        path = {"path": value, "pattern": "x", "glob": "*", "content": ""}
        known = next(tool for tool in TOOLS.values() if tool.name == name).arguments.model_fields
        given = {key: each for key, each in path.items() if key in known}
        said = await called(workspace, name, given)
        is_left_out = value is None and "path" in known and not known["path"].is_required()
        assert isinstance(said, InvalidInputError) is not is_left_out
