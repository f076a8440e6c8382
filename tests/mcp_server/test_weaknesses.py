"""The published weaknesses of file servers for agents, each tried on every operation there is.

Each test names its source. Races are in test_tool_races.py, the rules of ripgrep in test_search.py.
Not here, as there is no HTTP transport to have them: sessions that share a server object
(CVE-2026-25536), rebinding of DNS (CVE-2025-66414).
"""

import os
from collections.abc import AsyncIterator, Iterable
from itertools import product

import pytest

from mcp_server.errors import InvalidInputError, NotAFileError, PathEscapeError, ServerError
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import Opener
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import SECRET, Yard, write_text
from tests.mcp_server.layouts import build, snapshot, untouched, with_doors
from tests.mcp_server.operations import NOT_PATHS, OPERATIONS, answer

pytestmark = pytest.mark.usefixtures("no_landlock", "no_disk")  # the first lock alone

WEAKNESSES = {
    "CVE-2025-53110, CVE-2025-54794: a prefix compared as text": (
        "$PARENT/root-evil/secret.txt",
        "../root-evil/secret.txt",
        "$ABS-evil",
        "$ABS-evil/new.txt",
        "$ABS/../root-evil/secret.txt",
    ),
    "CVE-2025-53109: judged by its parent when it cannot be resolved": (
        "dangling-out",
        "dangling-dir",
        "dangling-dir/secret.txt",
        "to-dir/nope",
        "to-file/nope",
        "src/up/outside/nope/nope",
    ),
    "CVE-2025-11489, DesktopCommander 219, 420: a link on the way, a missing file behind it": (
        "to-file",
        "to-dir",
        "to-dir/secret.txt",
        "to-dir/new.txt",
        "chain",
        "absolute-to-file",
        "absolute-to-dir/new.txt",
        "to-root-by-name/src/app.py",
        "src/up/outside/secret.txt",
    ),
    "rust-mcp-filesystem 91: a raw path for a new file, two missing levels below a link": (
        "$ABS/../new.txt",
        "src/../../new.txt",
        "to-dir/one/two/new.txt",
        "dangling-dir/one/two/new.txt",
    ),
    "cyanheads 21, code-mcp 4, pal-mcp 293, mcp-rtfm 5: no check, or one of the text": (
        "../outside/secret.txt",
        "./../outside/secret.txt",
        "src/../../outside/secret.txt",
        "src/.././../outside//secret.txt",
        "docs/../src/../../outside",
        "$PARENT/outside/secret.txt",
        "//$PARENT/outside/secret.txt",
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/cwd",
    ),
    "CVE-2025-22873 (os.Root): `../` is the parent": ("..", "../", "../.", "src/../../", "./.."),
    "CVE-2026-39822 (os.Root, go#79005): a slash voids O_NOFOLLOW": (
        "to-dir/",
        "to-dir/.",
        "to-dir//",
        "to-dir/./",
        "to-file/",
        "absolute-to-dir/",
        "absolute-to-dir/.",
        "dot/",
        "slash/",
        "slash/.",
        "to-dir/..",
    ),
}


@pytest.fixture
async def doors(yard: Yard, opener: Opener) -> AsyncIterator[Workspace]:
    """A workspace full of links that lead out, beside a twin of its root."""
    build(yard.root.parent / "root-evil", ["secret.txt"])
    async with Workspace.open(with_doors(yard).root, Grant.full(), opener=opener) as workspace:
        yield workspace


@pytest.mark.parametrize("paths", WEAKNESSES.values(), ids=WEAKNESSES)
async def test_no_operation_gets_out(yard: Yard, doors: Workspace, paths: Iterable[str]) -> None:
    inside = snapshot(yard.root)
    with untouched(yard.outside), untouched(yard.root.parent / "root-evil"):
        for path, operation in product(paths, OPERATIONS):
            path = path.replace("$ABS", str(yard.root)).replace("$PARENT", str(yard.root.parent))
            said = await answer(doors, operation, path)
            assert_says_nothing(yard, path, said)
            if operation.acts_on_link and not isinstance(said, ServerError):
                put_back(yard, inside)
            elif operation.collects:
                assert "leads out" in str(said), f"{operation} {path}: {said}"
            else:
                # What can only name a directory is refused before it is looked up; a link itself is
                # in the way of a move, whatever it leads to.
                is_told_otherwise = operation.acts_on_link or ".." in path.split("/")[-3:]
                kinds = InvalidInputError if is_told_otherwise else PathEscapeError | NotAFileError
                assert isinstance(said, kinds), f"{operation} {path}: {said}"
        assert snapshot(yard.root) == inside
    assert sorted(os.listdir(yard.root.parent)) == ["outside", "root", "root-evil"]


def assert_says_nothing(yard: Yard, path: str, said: str | ServerError) -> None:
    assert SECRET not in str(said)
    assert "root:x:0" not in str(said)
    # A path that the caller gave may be told to it again.
    assert str(yard.root.parent) in path or str(yard.root.parent) not in str(said)


def put_back(yard: Yard, before: dict[str, tuple[int, bytes]]) -> None:
    """Make the links anew that were moved or deleted themselves, as they may be."""
    (yard.root / "moved").unlink(missing_ok=True)
    for name in before.keys() - snapshot(yard.root).keys():
        (yard.root / name).symlink_to(os.fsdecode(before[name][1]))


def test_every_parameter_that_takes_a_path_is_tried() -> None:
    """CVE-2025-68143, CVE-2026-27735, rust-mcp `saveTo`: the parameter that nobody checked."""
    tried = {(each.tool, each.parameter) for each in OPERATIONS}
    taken = {
        (tool.name, name)
        for tool in TOOLS.values()
        for name in tool.arguments.model_fields
        if name not in NOT_PATHS
    }
    assert taken == tried


async def test_a_link_made_by_a_sandboxed_process_is_no_way_out(yard: Yard, opener: Opener) -> None:
    """CVE-2026-39861: what runs in the sandbox makes a link, and the tool outside writes there."""
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        with untouched(yard.outside):
            for operation in OPERATIONS:
                for link, target in (
                    ("late", "../outside/secret.txt"),
                    ("src/late", "../../outside"),
                ):
                    (yard.root / link).unlink(missing_ok=True)
                    yard.link(link, target)
                for path in ("late", "src/late/secret.txt", "src/late/new"):
                    assert_says_nothing(yard, path, await answer(workspace, operation, path))


@pytest.mark.parametrize(
    "path",
    [".git/config", ".git/hooks/pre-commit", ".env", ".env.local", ".workyard/grant.json",
     "src/.env", ".ssh/authorized_keys", "id_rsa", "deploy.pem", ".GIT/config", ".Env",
     "to-git/config", "to-git/hooks/post-checkout", "to-env", "to-nothing-yet"],
)  # fmt: skip
async def test_a_protected_name_is_protected_before_it_exists(
    yard: Yard, opener: Opener, path: str
) -> None:
    """CVE-2026-25725: settings were read-only if they existed, and so could be made.

    CVE-2026-25724, CVE-2025-59829: a link to them passed the rules.
    """
    for link, target in (("to-git", ".git"), ("to-env", ".env"), ("to-nothing-yet", ".env.new")):
        yard.link(link, target)
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        for protected in ((), (".git/config", ".git/hooks/pre-commit", ".env", ".env.local")):
            for name in protected:
                yard.write(name, SECRET)
            before = snapshot(yard.root)
            for operation in OPERATIONS:
                said = await answer(workspace, operation, path)
                assert SECRET not in str(said)
                if operation.acts_on_link and path in ("to-env", "to-nothing-yet"):
                    put_back(yard, before)  # the link itself is not protected
                else:
                    assert "out of reach" in str(said), operation
                assert snapshot(yard.root) == before, operation


@pytest.mark.parametrize("name", ["--help", "-f", "--pre=sh", "-rf", "-", "--", "-x/secret.txt"])
async def test_a_path_is_never_an_option(yard: Yard, opener: Opener, name: str) -> None:
    """CVE-2025-68144, CVE-2025-68145: `git diff` with a path of `--output=…`."""
    async with Workspace.open(yard.root, Grant.full(), opener=opener) as workspace:
        with untouched(yard.outside):
            for operation in OPERATIONS:
                said = await answer(workspace, operation, name)
                assert isinstance(said, ServerError) or name in said, f"{operation}: {said}"
                assert "USAGE" not in str(said).upper()


async def test_a_link_is_followed_by_no_change_of_mode(yard: Yard, doors: Workspace) -> None:
    """CVE-2026-32282: fchmodat follows a link whatever its flags say."""
    yard.write("src/app.py", "x").chmod(0o751)
    (yard.outside / "secret.txt").chmod(0o640)
    yard.link("inside", "src/app.py")
    await write_text(doors, "inside", "new")
    assert (yard.root / "src/app.py").stat().st_mode & 0o777 == 0o751
    for path in ("to-file", "chain", "absolute-to-file"):
        with pytest.raises(PathEscapeError):
            await write_text(doors, path, "new")
    assert (yard.outside / "secret.txt").stat().st_mode & 0o777 == 0o640
