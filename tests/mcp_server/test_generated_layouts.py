"""Links and paths by the thousands: the answer is the oracle's, and nothing outside is touched.

No test here is helped by Landlock: the threads are free.
"""

import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    NotFoundError,
    PathEscapeError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.beneath import Root
from mcp_server.fence.grant import Grant
from mcp_server.fence.openers import READ_FLAGS, Opener, open_by_kernel, open_by_walk
from mcp_server.fence.reading.listing import EntryKind
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import write_text
from tests.mcp_server.generated_trees import (
    DENIED,
    OUTSIDE,
    PATHS_PER_LAYOUT,
    Tree,
    layouts,
    outside_of,
    path_by,
    put_on_disk,
    read_from_disk,
)
from tests.mcp_server.layouts import root_at
from tests.mcp_server.oracle import (
    WALK_LINKS,
    Answer,
    Directory,
    File,
    Link,
    Place,
    Verdict,
    components,
    resolve,
)

INSIDE = (Verdict.FILE, Verdict.DIRECTORY)
REFUSALS: dict[Verdict, type[ServerError]] = {
    Verdict.ESCAPE: PathEscapeError,
    Verdict.MISSING: NotFoundError,
    Verdict.NOT_A_DIRECTORY: NotAFileError,
    Verdict.LOOP: InvalidInputError,
}

pytestmark = pytest.mark.usefixtures("no_landlock", "no_disk")


def thousands(few: int, many: int) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("paths", [few, pytest.param(many, marks=pytest.mark.long)])


@pytest.fixture
def base(tmp_path: Path) -> Path:
    outside_of(tmp_path)
    return tmp_path


@thousands(1_000, 120_000)
def test_the_openers_decide_as_the_oracle_does(base: Path, opener: Opener, paths: int) -> None:
    for tree, chance in layouts(paths, base):
        with root_at(base / "root", opener) as root:
            for _ in range(PATHS_PER_LAYOUT):
                path = path_by(chance)
                expected = resolve(tree, path)
                found = opened(root, tree, path)
                assert found in allowed(expected, opener), f"{path!r}: {found}, not {expected}"


def opened(root: Root, tree: Tree, path: str) -> tuple[Verdict, Place]:
    try:
        with root.open(path, READ_FLAGS) as it:
            place = components(it.path)
            if isinstance(tree.get(place), Directory):
                below = {at[-1] for at in tree if at and at[:-1] == place}
                assert set(os.listdir(it.fd)) == below
                return Verdict.DIRECTORY, place
            assert os.read(it.fd, 1000).decode() == "/".join(place)
            return Verdict.FILE, place
    except PathEscapeError:
        return Verdict.ESCAPE, ()
    except FileNotFoundError:
        return Verdict.MISSING, ()
    except NotADirectoryError:
        return Verdict.NOT_A_DIRECTORY, ()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return Verdict.LOOP, ()


def allowed(expected: Answer, opener: Opener) -> set[tuple[Verdict, Place]]:
    """Return what the opener may say: what the oracle says, or that it gives up."""
    answers = {(expected.verdict, expected.place if expected.verdict in INSIDE else ())}
    if opener is open_by_walk and expected.may_be_a_loop:
        answers.add((Verdict.LOOP, ()))
    if opener is open_by_kernel and expected.verdict is Verdict.FILE and expected.has_slash:
        answers = {(Verdict.NOT_A_DIRECTORY, ())}
    return answers


async def read(workspace: Workspace, path: str) -> str:
    return (await workspace.read_text(path)).text


async def listed(workspace: Workspace, path: str) -> str:
    entries = (await workspace.list_directory(path)).entries
    return " ".join(each.path for each in entries if each.kind is not EntryKind.LINK)


async def written(workspace: Workspace, path: str) -> str:
    return (await write_text(workspace, path, "new")).path


Use = Callable[[Workspace, str], Awaitable[str]]


async def said(use: Use, workspace: Workspace, path: str) -> str | type[ServerError]:
    """Return the answer, or the kind of the refusal: which says nothing of what is outside."""
    answer: str | ServerError
    try:
        answer = await use(workspace, path)
    except ServerError as error:
        answer = error
    assert OUTSIDE not in str(answer)
    return answer if isinstance(answer, str) else type(answer)


def refusals(tree: Tree, path: str, expected: Answer, opener: Opener) -> set[type[ServerError]]:
    """Return the refusals that a use of `path` may be given, whatever the use."""
    kinds = {REFUSALS[expected.verdict]} if expected.verdict in REFUSALS else set()
    if expected.links > WALK_LINKS or (opener is open_by_walk and expected.may_be_a_loop):
        kinds.add(InvalidInputError)
    # What is denied, or is reached by way of it, is refused without a word about what is there.
    targets = [node.target for node in tree.values() if isinstance(node, Link)]
    if any(DENIED in components(text) for text in (path, *targets)):
        kinds.add(PermissionDeniedError)
    return kinds


def names_in(tree: Tree, place: Place) -> str:
    below = (at for at, node in tree.items() if at and not isinstance(node, Link))
    return " ".join("/".join(at) for at in sorted(below) if at[:-1] == place and at[-1] != DENIED)


@thousands(400, 30_000)
@pytest.mark.parametrize(
    ("use", "verdict"), [(read, Verdict.FILE), (listed, Verdict.DIRECTORY)], ids=["read", "list"]
)
async def test_what_is_read_or_listed_is_what_the_oracle_says(
    base: Path, opener: Opener, use: Use, verdict: Verdict, paths: int
) -> None:
    for tree, chance in layouts(paths, base):
        async with Workspace.open(base / "root", Grant.full(), opener=opener) as workspace:
            for _ in range(PATHS_PER_LAYOUT):
                path = path_by(chance)
                expected = resolve(tree, path)
                answers: set[object] = set(refusals(tree, path, expected, opener))
                if DENIED in expected.place and expected.verdict in INSIDE:
                    answers = {PermissionDeniedError}
                elif expected.verdict is verdict:
                    is_file = verdict is Verdict.FILE
                    text = "/".join(expected.place)
                    answers.add(text if is_file else names_in(tree, expected.place))
                if expected.verdict in INSIDE and (
                    expected.verdict is not verdict or expected.has_slash
                ):
                    answers.add(NotAFileError)
                found = await said(use, workspace, path)
                assert found in answers, f"{path!r}: {found}, not {answers}: {expected}"


@thousands(400, 10_000)
async def test_what_is_written_is_where_the_oracle_says_and_nothing_else_changes(
    base: Path, opener: Opener, paths: int
) -> None:
    for tree, chance in layouts(paths, base):
        async with Workspace.open(base / "root", Grant.full(), opener=opener) as workspace:
            for _ in range(PATHS_PER_LAYOUT):
                path = path_by(chance)
                expected = resolve(tree, path)
                found = await said(written, workspace, path)
                after = read_from_disk(base)
                if not isinstance(found, str):
                    answers = refusals(tree, path, expected, opener)
                    texts = [node.target for node in tree.values() if isinstance(node, Link)]
                    if (
                        expected.verdict is Verdict.DIRECTORY
                        or names_no_file(path)
                        or any(components(text)[-1:] in ((), ("..",)) for text in texts)
                    ):
                        answers.add(NotAFileError)
                    if DENIED in expected.place:
                        answers.add(PermissionDeniedError)
                    if is_to_be_made(expected):
                        answers.discard(NotFoundError)
                    assert found in answers, f"{path!r}: {found}, not {answers}: {expected}"
                    assert after == tree, f"{path!r}: refused, and yet done"
                    continue
                place = components(found)
                assert place == expected.place
                assert DENIED not in place
                assert expected.verdict is Verdict.FILE or is_to_be_made(expected)
                above: Tree = {place[:end]: Directory() for end in range(1, len(place))}
                assert after == {**tree, **above, place: File("new")}
                put_on_disk(tree, base)


def names_no_file(path: str) -> bool:
    return path.endswith(("/", "/.")) or components(path)[-1:] in ((), ("..",))


def is_to_be_made(expected: Answer) -> bool:
    return expected.verdict is Verdict.MISSING and ".." not in expected.place
