"""Undo restores what was there byte for byte, all or nothing, and tramples on nobody's work."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mcp_server.errors import ConflictError, NotAFileError, NotFoundError
from mcp_server.fence.changes.change import Caller
from mcp_server.fence.changes.changer import Changer
from mcp_server.fence.changes.editing import EditFiles
from mcp_server.fence.changes.moving import DeletePath, MakeDirectory, MovePath
from mcp_server.fence.changes.undoing import Undone
from mcp_server.fence.changes.writing import WriteFile
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.ledger import Selection
from mcp_server.fence.texts.edits import Edit
from tests.mcp_server.conftest import SECRET, Yard
from tests.mcp_server.doomed import CALL_S, change, opened, tree

LAST = Selection()


@pytest.fixture
def changer(yard: Yard, tmp_path: Path) -> Iterator[Changer]:
    with opened(yard.root, tmp_path / "state") as changer:
        yield changer


def undo(changer: Changer, selection: Selection = LAST, *, force: bool = False) -> Undone:
    return changer.undo(selection, Caller(actor="owner"), Deadline(CALL_S), force=force)


def write(changer: Changer, path: str, text: str, session: str = "") -> None:
    change(changer, WriteFile(path=path, text=text), session=session)


def test_a_file_that_was_made_goes_with_the_directories_made_for_it(
    yard: Yard, changer: Changer
) -> None:
    before = tree(yard.root)
    write(changer, "a/b/c.txt", "new")
    undo(changer)
    assert tree(yard.root) == before


@pytest.mark.parametrize("theirs", ["a/b/theirs.txt", "a/theirs"])
def test_a_directory_stays_when_others_have_put_something_in(
    yard: Yard, changer: Changer, theirs: str
) -> None:
    write(changer, "a/b/c.txt", "new")
    if theirs.endswith("txt"):
        yard.write(theirs, "theirs")
    else:
        os.mkfifo(yard.root / theirs)
    undo(changer)
    assert not (yard.root / "a/b/c.txt").exists()
    assert (yard.root / theirs).exists()
    assert (yard.root / "a/b").exists() == theirs.startswith("a/b")


def test_a_replaced_file_gets_its_bytes_back_and_keeps_its_mode(
    yard: Yard, changer: Changer
) -> None:
    yard.write("odd", b"\xff\xfe no text\r\n\x00").chmod(0o750)
    yard.write("text", b"caf\xc3\xa9\r\n").chmod(0o604)
    before = tree(yard.root)
    write(changer, "text", "new")
    change(changer, DeletePath(path="odd"))
    undo(changer)
    undo(changer)
    assert tree(yard.root) == before


def test_a_deleted_tree_is_back_with_its_links_modes_and_odd_names(
    yard: Yard, changer: Changer
) -> None:
    Path(os.fsdecode(os.fsencode(yard.root) + b"/src/caf\xe9.bin")).write_bytes(b"\x00\xff")
    yard.link("src/dangling", "../nowhere")
    yard.link("src/out", yard.outside)
    yard.write("src/deep/er/x", "x").chmod(0o400)
    (yard.root / "src/deep").chmod(0o2755)
    (yard.root / "src/empty").mkdir(mode=0o700)
    before = tree(yard.root)
    change(changer, DeletePath(path="src", recursive=True))
    undo(changer)
    assert tree(yard.root) == before


def test_a_move_is_taken_back_with_the_directories_made_for_it(
    yard: Yard, changer: Changer
) -> None:
    before = tree(yard.root)
    change(changer, MovePath(source="src", destination="x/y/z"))
    write(changer, "x/y/z/app.py", "edited after the move")
    undo(changer)
    undo(changer)
    assert tree(yard.root) == before


def test_hundreds_of_changes_of_a_session_go_back_in_one_call(yard: Yard, changer: Changer) -> None:
    before = tree(yard.root)
    for number in range(60):
        write(changer, f"made/{number % 7}/{number}.txt", str(number), "mine")
        write(changer, "src/app.py", f"version {number}", "mine")
        change(changer, MakeDirectory(path=f"made/{number}/dir"), session="mine")
        if number % 10 == 9:
            change(changer, MovePath(source="made", destination=f"was/{number}"), session="mine")
    undone = undo(changer, Selection(session="mine"))
    assert len(undone.calls) == 186
    assert tree(yard.root) == before
    assert sum(each.path == "src/app.py" for each in undone.changes) < 10


def test_a_place_that_was_file_then_directory_then_link_goes_back_through_all_of_it(
    yard: Yard, changer: Changer
) -> None:
    yard.link("link", "docs")
    before = tree(yard.root)
    change(changer, DeletePath(path="src/app.py"), session="mine")
    write(changer, "src/app.py/now/a/file.txt", "x", "mine")
    change(changer, MovePath(source="src/app.py", destination="kept"), session="mine")
    change(changer, MovePath(source="link", destination="src/app.py"), session="mine")
    change(changer, DeletePath(path="kept", recursive=True), session="mine")
    after = tree(yard.root)
    undo(changer, Selection(session="mine"))
    assert tree(yard.root) == before
    number = changer.calls(Selection(), 1, Deadline(CALL_S))[0].number
    undo(changer, Selection(number=number))
    assert tree(yard.root) == after


def test_a_directory_whose_place_another_has_taken_comes_back_beside_it(
    yard: Yard, changer: Changer
) -> None:
    yard.write("other/guide.md", "of the other one")
    before = tree(yard.root)
    change(changer, DeletePath(path="docs", recursive=True), session="mine")
    change(changer, MovePath(source="other", destination="docs"), session="mine")
    undo(changer, Selection(session="mine"))
    assert tree(yard.root) == before


def test_an_undo_can_be_undone_and_that_too(yard: Yard, changer: Changer) -> None:
    file = yard.root / "src/app.py"
    first = file.read_text()
    write(changer, "src/app.py", "second")
    number = 1
    for expected, marks in (
        (first, [None, 2]),
        ("second", [None, 3, None]),
        (first, [None, 4, None, 2]),
    ):
        number = undo(changer, Selection(number=number)).number
        assert file.read_text() == expected
        calls = changer.calls(Selection(), -1, Deadline(CALL_S))
        assert [call.undone_by for call in calls] == marks


def test_what_is_undone_is_not_undone_again_and_the_last_change_never_means_an_undo(
    yard: Yard, changer: Changer
) -> None:
    before = tree(yard.root)
    write(changer, "src/app.py", "one")
    write(changer, "src/app.py", "two")
    undo(changer)
    assert (yard.root / "src/app.py").read_text() == "one"
    undo(changer)
    assert tree(yard.root) == before
    for selection in (LAST, Selection(number=1), Selection(session="nobody's")):
        with pytest.raises(NotFoundError, match="nothing to undo"):
            undo(changer, selection)


def by_a_session(yard: Yard, changer: Changer) -> None:
    write(changer, "src/app.py", "theirs", "theirs")


def by_an_editor(yard: Yard, changer: Changer) -> None:
    yard.write("src/app.py", "theirs")


def by_removal(yard: Yard, changer: Changer) -> None:
    (yard.root / "src/app.py").unlink()


def with_its_directory(yard: Yard, changer: Changer) -> None:
    (yard.root / "src/app.py").unlink()
    (yard.root / "src").rmdir()


@pytest.mark.parametrize("meddle", [by_a_session, by_an_editor, by_removal, with_its_directory])
def test_a_later_change_by_others_is_kept_unless_forced_and_that_can_be_undone_too(
    yard: Yard, changer: Changer, meddle: Callable[[Yard, Changer], None]
) -> None:
    first = tree(yard.root)
    write(changer, "docs/guide.md", "mine", "mine")
    write(changer, "src/app.py", "mine", "mine")
    meddle(yard, changer)
    theirs = tree(yard.root)
    with pytest.raises(ConflictError, match="changed since, by a later call or by someone else"):
        undo(changer, Selection(session="mine"))
    assert tree(yard.root) == theirs
    undone = undo(changer, Selection(session="mine"), force=True)
    assert tree(yard.root) == first
    undo(changer, Selection(number=undone.number))
    assert tree(yard.root) == theirs


def test_who_gave_a_file_another_mode_keeps_it(yard: Yard, changer: Changer) -> None:
    write(changer, "src/app.py", "new")
    (yard.root / "src/app.py").chmod(0o755)
    undo(changer)
    assert (yard.root / "src/app.py").stat().st_mode & 0o777 == 0o755


def a_directory(yard: Yard) -> None:
    (yard.root / "src/app.py").unlink()
    yard.write("src/app.py/below", "theirs")


def a_link(yard: Yard) -> None:
    (yard.root / "src/app.py").unlink()
    yard.link("src/app.py", "../docs/guide.md")


def a_pipe(yard: Yard) -> None:
    (yard.root / "src/app.py").unlink()
    os.mkfifo(yard.root / "src/app.py")


def behind_a_link_out(yard: Yard) -> None:
    (yard.root / "src").rename(yard.root / "was")
    (yard.outside / "app.py").write_text("mine")
    yard.link("src", yard.outside)


def behind_a_link_inside(yard: Yard) -> None:
    (yard.root / "src").rename(yard.root / "was")
    yard.link("src", "was")


def below_a_file(yard: Yard) -> None:
    (yard.root / "src").rename(yard.root / "was")
    yard.write("src", "a file")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "turn", [a_directory, a_link, a_pipe, behind_a_link_out, behind_a_link_inside, below_a_file]
)
def test_what_is_something_else_now_is_refused_forced_or_not_and_nothing_else_is_undone(
    yard: Yard, changer: Changer, turn: Callable[[Yard], None], force: bool
) -> None:
    edits = [
        Edit(path="docs/guide.md", old_string="Guide", new_string="mine"),
        Edit(path="src/app.py", old_string="main", new_string="mine"),
    ]
    change(changer, EditFiles(edits=edits))
    turn(yard)
    outside = tree(yard.outside)
    names = sorted(each for each in os.listdir(yard.root))
    with pytest.raises((ConflictError, NotAFileError)) as refused:
        undo(changer, force=force)
    assert SECRET not in str(refused.value)
    assert "mine" in (yard.root / "docs/guide.md").read_text()
    assert tree(yard.outside) == outside
    assert sorted(os.listdir(yard.root)) == names


def test_a_file_that_cannot_be_put_back_leaves_the_others_of_its_call_as_they_are(
    yard: Yard, changer: Changer
) -> None:
    write(changer, "docs/guide.md", "mine", "mine")
    change(changer, DeletePath(path="src/app.py"), session="mine")
    change(changer, DeletePath(path="src"), session="mine")
    yard.write("src", "theirs")
    with pytest.raises(ConflictError):
        undo(changer, Selection(session="mine"))
    assert (yard.root / "docs/guide.md").read_text() == "mine"
    assert (yard.root / "src").read_text() == "theirs"


def test_a_file_is_put_back_into_a_directory_that_has_gone_since(
    yard: Yard, changer: Changer
) -> None:
    change(changer, DeletePath(path="src/app.py"))
    (yard.root / "src").rmdir()
    undo(changer)
    assert (yard.root / "src/app.py").read_text().startswith("def main")
