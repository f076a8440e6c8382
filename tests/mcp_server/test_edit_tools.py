"""`edit_file` and `apply_edits`: over real files, as a caller sees them."""

import hashlib
import json
import os

import pytest

from mcp_server.errors import (
    EditConflictError,
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    NotTextError,
    PermissionDeniedError,
    StaleFileError,
)
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import Yard, call

APP = "def main():\n    return 1\n"


def sha(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def one(path: str, old: str, new: str, **more: object) -> dict[str, object]:
    return {"path": path, "old_string": old, "new_string": new, **more}


async def test_an_edit_says_what_was_done_and_shows_it(yard: Yard, workspace: Workspace) -> None:
    edited = APP.replace("1", "2")
    assert await call(workspace, "edit_file", **one("src/app.py", "return 1", "return 2")) == (
        f"src/app.py · 1 replacement · sha256 {sha(edited)[:12]}\n"
        "@@ -1,2 +1,2 @@\n"
        " def main():\n"
        "-    return 1\n"
        "+    return 2"
    )
    assert (yard.root / "src/app.py").read_text() == edited


async def test_an_edit_everywhere_says_how_often(yard: Yard, workspace: Workspace) -> None:
    yard.write("a", "x y x\r\nx\r\n")
    shown = await call(workspace, "edit_file", **one("a", "x", "z", replace_all=True))
    assert "a · 3 replacements · " in shown
    assert (yard.root / "a").read_bytes() == b"z y z\r\nz\r\n"


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfone\r\ntwo\n\xe9\r",
        b"\xff\xfe" + "one\r\ntwo\u20ac\n".encode("utf-16-le"),
        b"\xfe\xff" + "one\r\ntwo\u20ac\n".encode("utf-16-be"),
        "日本 one two".encode("shift-jis"),
    ],
)
async def test_bytes_elsewhere_and_the_mode_stay(
    yard: Yard, workspace: Workspace, content: bytes
) -> None:
    """The reference server loses the x bit (PR 4115), CRLF, and what is not UTF-8."""
    file = yard.write("f", content)
    file.chmod(0o751)
    wide = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}.get(content[:2], "utf-8")
    await call(workspace, "edit_file", **one("f", "one", "1"))
    assert file.read_bytes() == content.replace("one".encode(wide), "1".encode(wide))
    assert file.stat().st_mode & 0o777 == 0o751


async def test_an_edit_goes_through_a_link_that_stays(yard: Yard, workspace: Workspace) -> None:
    link = yard.link("link", "src/app.py")
    shown = await call(workspace, "edit_file", **one("link", "return 1", "return 2"))
    assert shown.startswith("src/app.py · ")
    assert os.readlink(link) == "src/app.py"
    assert (yard.root / "src/app.py").read_text() == APP.replace("1", "2")


@pytest.mark.parametrize("digits", [12, 64])
async def test_an_edit_can_insist_on_what_was_read(
    yard: Yard, workspace: Workspace, digits: int
) -> None:
    edit = one("src/app.py", "return 1", "return 2", expected_hash=sha(APP)[:digits])
    yard.write("src/app.py", "# return 1\n")
    with pytest.raises(StaleFileError):
        await call(workspace, "edit_file", **edit)
    assert (yard.root / "src/app.py").read_text() == "# return 1\n"
    yard.write("src/app.py", APP)
    assert "1 replacement" in await call(workspace, "edit_file", **edit)


async def test_what_cannot_be_edited_is_refused_by_kind(yard: Yard, workspace: Workspace) -> None:
    yard.write("image.png", b"\x89PNG\0")
    yard.write(".env", "KEY=1")
    os.mkfifo(yard.root / "pipe")
    for path, error in (
        ("image.png", NotTextError),
        (".env", PermissionDeniedError),
        ("src", NotAFileError),
        ("pipe", NotAFileError),
        ("src/ap.py", NotFoundError),
        ("new/file", NotFoundError),
    ):
        with pytest.raises(error):
            await call(workspace, "edit_file", **one(path, "x", "y"))
    assert sorted(os.listdir(yard.root)) == [".env", "docs", "image.png", "pipe", "src"]


async def test_a_file_that_may_not_be_read_is_not_quoted_in_errors(yard: Yard) -> None:
    grant = Grant(tools=("edit_file",), read=("docs/**",), write=("**",))
    async with Workspace.open(yard.root, grant) as workspace:
        with pytest.raises(PermissionDeniedError, match="may not be read"):
            await call(workspace, "edit_file", **one("src/app.py", "return  1", "x"))


async def test_a_file_does_not_grow_over_its_limit(yard: Yard) -> None:
    grant = Grant.full().model_copy(update={"limits": Limits(file_bytes=30)})
    async with Workspace.open(yard.root, grant) as workspace:
        with pytest.raises(LimitError, match="has 34 bytes; at most 30"):
            await call(workspace, "edit_file", **one("src/app.py", "1", "1234567890"))
    assert (yard.root / "src/app.py").read_text() == APP


async def test_files_do_not_outgrow_memory_together(yard: Yard, workspace: Workspace) -> None:
    edits = []
    for number in range(6):
        yard.write(f"{number}.txt", "a" * 10)
        edits.append(one(f"{number}.txt", "a", "b" * 900_000, replace_all=True))
    with pytest.raises(LimitError, match="more than 50000000 bytes together"):
        await call(workspace, "apply_edits", edits=edits)
    assert (yard.root / "0.txt").read_text() == "a" * 10


async def test_edits_in_several_files_are_all_made(yard: Yard, workspace: Workspace) -> None:
    edits = [
        one("src/app.py", "main", "start"),
        one("docs/guide.md", "main", "start"),
        one("./src/app.py", "start():\n    return 1", "start():\n    return 2"),
    ]
    app, guide = APP.replace("main", "start").replace("1", "2"), "# Guide\n\nRun start.\n"
    dry = await call(workspace, "apply_edits", edits=edits, dry_run=True)
    assert (yard.root / "src/app.py").read_text() == APP
    assert dry.startswith("Dry run: 3 edits in 2 files; nothing was written.\n")
    shown = await call(workspace, "apply_edits", edits=edits)
    assert (yard.root / "src/app.py").read_text() == app
    assert (yard.root / "docs/guide.md").read_text() == guide
    assert shown == (
        "3 edits in 2 files made.\n"
        f"src/app.py · edited · sha256 {sha(app)[:12]}\n"
        "@@ -1,2 +1,2 @@\n-def main():\n-    return 1\n+def start():\n+    return 2\n"
        f"docs/guide.md · edited · sha256 {sha(guide)[:12]}\n"
        "@@ -1,3 +1,3 @@\n # Guide\n \n-Run main.\n+Run start."
    )
    assert dry.split("\n")[1:] == shown.split("\n")[1:]


async def test_no_edit_is_made_when_one_fails(yard: Yard, workspace: Workspace) -> None:
    yard.link("again", "src/app.py")
    for last, error, says in (
        (one("docs/guide.md", "absent", "x"), EditConflictError, "^Edit 3 of 3: old_string is not"),
        (one("again", "return 1", "x"), EditConflictError, "^Edit 3 of 3: old_string is not"),
        (one("gone.md", "a", "x"), NotFoundError, "'gone.md'"),
    ):
        edits = [one("src/app.py", "return 1", "two"), one("docs/guide.md", "main", "x"), last]
        with pytest.raises(error, match=says):
            await call(workspace, "apply_edits", edits=edits)
    assert (yard.root / "src/app.py").read_text() == APP
    assert (yard.root / "docs/guide.md").read_text() == "# Guide\n\nRun main.\n"


async def test_edits_that_cancel_each_other_show_no_diff(yard: Yard, workspace: Workspace) -> None:
    edits = [one("src/app.py", "1", "2"), one("src/app.py", "2", "1")]
    assert await call(workspace, "apply_edits", edits=edits) == (
        f"2 edits in 1 file made.\nsrc/app.py · edited · sha256 {sha(APP)[:12]}"
    )
    assert (yard.root / "src/app.py").read_text() == APP


async def test_an_answer_about_many_files_stays_short(yard: Yard, workspace: Workspace) -> None:
    for number in range(150):
        yard.write(f"{'n' * 200}{number}", "old\n" * 500)
    edits = [one(f"{'n' * 200}{n}", "old", "new", replace_all=True) for n in range(150)]
    shown = await call(workspace, "apply_edits", edits=edits)
    assert len(shown.encode()) < 52_000
    assert shown.startswith("150 edits in 150 files made.\n")
    assert shown.split("\n")[-1].startswith("… ")
    with pytest.raises(InvalidInputError, match="at most 200"):
        await call(workspace, "apply_edits", edits=edits * 2)


@pytest.mark.parametrize(
    "names",
    [
        ("file_path", "old_text", "new_text", "replace_all"),
        ("filePath", "oldText", "newText", "replaceAll"),
        ("path", "old_str", "new_str", "replaceAll"),
        ("path", "oldString", "newString", "replace_all"),
    ],
)
async def test_names_that_models_know_from_elsewhere_are_taken(
    yard: Yard, workspace: Workspace, names: tuple[str, ...]
) -> None:
    def edit(*values: object) -> dict[str, object]:
        return dict(zip(names, values, strict=True))

    first = edit("src/app.py", "main", "start", True)
    second = edit("src/app.py", "start", "main", None)
    assert "1 replacement" in await call(workspace, "edit_file", **first)
    assert "1 edit in 1 file" in await call(workspace, "apply_edits", edits=[second])
    as_text = json.dumps([first])
    assert "Dry run" in await call(workspace, "apply_edits", edits=as_text, dryRun=True)


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        (
            [one("a", "b", "c"), {**one("a", "b", "c"), "old_strin": 1}],
            "Tool 'apply_edits' has no argument 'old_strin' in item 2 of 'edits'; did you mean "
            "'old_string'? It takes 'path', 'old_string', 'new_string', 'replace_all'.",
        ),
        (
            [{"path": "a", "old_string": "b"}],
            "Tool 'apply_edits' needs the argument 'new_string' in item 1 of 'edits', which is "
            "missing.",
        ),
        (
            [one("a", "b", "c", replace_all="often")],
            "Argument 'replace_all' in item 1 of 'edits' of tool 'apply_edits' is 'often': ",
        ),
        (["a"], "Argument item 1 of 'edits' of tool 'apply_edits' is 'a': "),
        ([], "Argument 'edits' of tool 'apply_edits' is []: "),
        ("[" * 100_000, "Argument 'edits' of tool 'apply_edits' is '[[["),
        ({"a": 1}, "Argument 'edits' of tool 'apply_edits' is {'a': 1}: "),
    ],
)
def test_a_fault_in_an_item_is_named(edits: object, says: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        TOOLS["apply_edits"].parse({"edits": edits})
    assert str(refused.value).startswith(says)
    assert len(str(refused.value)) < 400


def test_the_schema_of_the_items_refers_to_nothing_elsewhere() -> None:
    schema = TOOLS["apply_edits"].input_schema
    assert "$" not in json.dumps(schema)
    item = schema["properties"]["edits"]["items"]
    assert list(item["properties"]) == ["path", "old_string", "new_string", "replace_all"]
    assert item["additionalProperties"] is False
    for name in ("edit_file", "apply_edits"):
        tool = TOOLS[name]
        assert len(str(tool.input_schema)) + len(tool.description) <= 700


async def test_a_shown_line_can_be_sent_back_with_its_number(
    yard: Yard, workspace: Workspace
) -> None:
    shown = (await call(workspace, "read_file", path="src/app.py")).split("\n")
    await call(workspace, "edit_file", **one("src/app.py", shown[2], "    return 2"))
    assert (yard.root / "src/app.py").read_text() == APP.replace("1", "2")


async def test_a_letter_is_not_written_in_one_encoding_into_a_file_of_another(
    yard: Yard, workspace: Workspace
) -> None:
    latin = yard.write("latin.txt", "caf\xe9 au lait\n".encode("latin-1"))
    edit = {"path": "latin.txt", "old_string": "lait", "new_string": "thé"}
    with pytest.raises(InvalidInputError, match="is not UTF-8, so it is not known"):
        await call(workspace, "edit_file", **edit)
    await call(workspace, "edit_file", **{**edit, "new_string": "rhum"})
    assert latin.read_bytes() == b"caf\xe9 au rhum\n"
    mixed = yard.write("mixed.txt", "grün ".encode() + b"caf\xe9\n")
    await call(
        workspace, "edit_file", path="mixed.txt", old_string="grün", new_string="blau und grün"
    )
    assert mixed.read_bytes() == "blau und grün ".encode() + b"caf\xe9\n"


async def test_a_file_is_not_made_of_nuls(yard: Yard, workspace: Workspace) -> None:
    with pytest.raises(InvalidInputError, match="holds a NUL"):
        await call(workspace, "write_file", path="new.txt", content="a\0b")
    assert not (yard.root / "new.txt").exists()
