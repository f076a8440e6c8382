"""What a caller reads: the shape of each tool's answer, to the letter."""

import os
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from mcp_server.errors import InvalidInputError, LimitError, NotAFileError
from mcp_server.fence.grant import TOOL_NAMES, Grant, Limits, ToolName
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import Yard, call


@pytest.fixture
async def narrow(yard: Yard) -> AsyncIterator[Workspace]:
    """A workspace with small limits."""
    limits = Limits(read_lines=4, read_bytes=60, line_chars=20, entries=2, matches=2)
    async with Workspace.open(yard.root, Grant.full().model_copy(update={"limits": limits})) as it:
        yield it


async def test_a_file_is_shown_with_numbers_and_totals(workspace: Workspace) -> None:
    assert await call(workspace, "read_file", path="src/app.py") == (
        "src/app.py · lines 1-2 of 2 · 25 bytes · sha256 13e9ae3486a2\n"
        "     1\tdef main():\n"
        "     2\t    return 1"
    )


async def test_an_empty_file_has_no_lines(yard: Yard, workspace: Workspace) -> None:
    yard.write("empty")
    assert await call(workspace, "read_file", path="empty") == (
        "empty · lines 0-0 of 0 · 0 bytes · sha256 e3b0c44298fc"
    )


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("\n", [""]),
        ("a\n\n", ["a", ""]),
        ("a\r\nb", ["a", "b"]),
        ("a\x0cb\u2028c", ["a\x0cb\u2028c"]),
    ],
)
async def test_lines_end_where_editors_end_them(
    yard: Yard, workspace: Workspace, content: str, rows: list[str]
) -> None:
    yard.write("file", content)
    shown = await call(workspace, "read_file", path="file")
    assert shown.split("\n")[1:] == [f"{n:6}\t{row}" for n, row in enumerate(rows, 1)]


@pytest.mark.parametrize(
    ("arguments", "span", "footer"),
    [
        ({}, "1-4", "… 6 more lines; go on with offset=5."),
        ({"offset": 5}, "5-8", "… 2 more lines; go on with offset=9."),
        ({"offset": 9}, "9-10", None),
        ({"offset": 2, "limit": 1}, "2-2", "… 8 more lines; go on with offset=3."),
        ({"offset": 9, "limit": 100}, "9-10", None),
        ({"offset": -1}, "10-10", None),
        ({"offset": -3}, "8-10", None),
        ({"offset": -3, "limit": 2}, "8-9", "… 1 more line; go on with offset=10."),
        ({"offset": -99}, "1-4", "… 6 more lines; go on with offset=5."),
        ({"offset": "2", "limit": None}, "2-5", "… 5 more lines; go on with offset=6."),
    ],
)
async def test_a_page_says_what_it_shows_and_how_to_go_on(
    yard: Yard, narrow: Workspace, arguments: dict[str, object], span: str, footer: str | None
) -> None:
    yard.write("ten", "".join(f"{n}\n" for n in range(1, 11)))
    shown = (await call(narrow, "read_file", path="ten", **arguments)).split("\n")
    assert shown[0].startswith(f"ten · lines {span} of 10 · 21 bytes · sha256 ")
    first, last = map(int, span.split("-"))
    assert shown[1 : last - first + 2] == [f"{n:6}\t{n}" for n in range(first, last + 1)]
    assert shown[last - first + 2 :] == ([footer] if footer else [])


async def test_a_page_ends_with_a_whole_line_below_its_bytes(yard: Yard, narrow: Workspace) -> None:
    yard.write("wide", "ä" * 9 + "\n" + "b" * 18 + "\n" + "c\n")
    shown = (await call(narrow, "read_file", path="wide")).split("\n")
    assert shown[1:] == [
        f"     1\t{'ä' * 9}",
        f"     2\t{'b' * 18}",
        "… 1 more line; go on with offset=3.",
    ]


async def test_a_long_line_is_cut_and_its_length_told(yard: Yard, narrow: Workspace) -> None:
    yard.write("min.js", "x" * 5000)
    assert (await call(narrow, "read_file", path="min.js")).split("\n")[1:] == [
        f"     1\t{'x' * 20}… (cut here: the line has 5000 characters)"
    ]


async def test_a_range_that_is_too_large_names_one_that_fits(yard: Yard, narrow: Workspace) -> None:
    yard.write("ten", "line\n" * 10)
    with pytest.raises(LimitError, match=r"limit=4 fits") as refused:
        await call(narrow, "read_file", path="ten", offset=2, limit=8)
    assert (refused.value.limit, refused.value.actual) == (4, 8)
    assert "lines 2-5" in await call(narrow, "read_file", path="ten", offset=2, limit=4)


@pytest.mark.parametrize(("offset", "says"), [(0, "counted from 1"), (3, "2 lines")])
async def test_an_offset_without_a_line_says_how_many_there_are(
    workspace: Workspace, offset: int, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        await call(workspace, "read_file", path="src/app.py", offset=offset)


async def test_a_write_says_what_was_done(yard: Yard, workspace: Workspace) -> None:
    content = "".join(f"{n}\n" for n in range(12))
    created = await call(workspace, "write_file", path="new/a.txt", content=content)
    assert created == "Created new/a.txt · 12 lines · 26 bytes · sha256 727d1b30a951"
    replaced = await call(workspace, "write_file", path="./new/a.txt", content="x")
    assert replaced == "Replaced new/a.txt · 1 line · 1 byte · sha256 2d711642b726"
    assert (yard.root / "new/a.txt").read_text() == "x"


async def test_a_write_counts_lines_whatever_the_encoding(yard: Yard, workspace: Workspace) -> None:
    yard.write("wide.txt", "\ufeffa\n".encode("utf-16-le"))
    said = await call(workspace, "write_file", path="wide.txt", content="a\nb\n")
    assert said.startswith("Replaced wide.txt · 2 lines · 10 bytes")


async def test_a_directory_is_listed_one_entry_a_line(yard: Yard, workspace: Workspace) -> None:
    yard.write("src/sub/x.py")
    yard.link("src/link", "app.py")
    yard.link("src/out", "/etc/passwd")
    assert await call(workspace, "list_directory", path="src", depth=2) == (
        "src · 5 entries\n"
        "src/app.py\t25\n"
        "src/link -> app.py\n"
        "src/out -> (outside the workspace)\n"
        "src/sub/\n"
        "src/sub/x.py\t0"
    )
    assert (await call(workspace, "list_directory")).split("\n")[0] == ". · 2 entries"
    with pytest.raises(NotAFileError):
        await call(workspace, "list_directory", path="src/app.py")


async def test_a_long_listing_says_how_much_is_missing(yard: Yard, narrow: Workspace) -> None:
    yard.write("a")
    yard.write("b")
    assert await call(narrow, "list_directory") == (
        ". · 2 entries\na\t0\nb\t0\n"
        "… 2 more entries left out; name some of them with find_files, such as glob='a*'."
    )
    deep = await call(narrow, "list_directory", depth=2)
    assert deep.endswith("entries left out; list a subdirectory or take a smaller depth.")


async def test_no_name_breaks_a_line_or_the_encoding(yard: Yard, workspace: Workspace) -> None:
    yard.write("docs/two\nlines.txt", "needle")
    Path(os.fsdecode(os.fsencode(yard.root) + b"/docs/caf\xe9")).write_text("needle")
    listing = await call(workspace, "list_directory", path="docs")
    assert listing.split("\n")[1:] == [
        "docs/caf\\xe9\t6",
        "docs/guide.md\t19",
        "docs/two\\x0alines.txt\t6",
    ]
    matches = await call(workspace, "grep", pattern="needle")
    assert matches.split("\n")[1:] == ["docs/caf\\xe9:1:needle", "docs/two\\x0alines.txt:1:needle"]


@pytest.mark.parametrize("alias", ["file_path", "filePath"])
async def test_usual_names_for_path_are_taken(workspace: Workspace, alias: str) -> None:
    for name in ("read_file", "list_directory", "grep"):
        path = "src/app.py" if name != "list_directory" else "src"
        arguments = {alias: path, **({"pattern": "main"} if name == "grep" else {})}
        assert "src/app.py" in await call(workspace, name, **arguments)
    with pytest.raises(InvalidInputError, match=alias):
        await call(workspace, "read_file", path="a", **{alias: "b"})


@pytest.mark.parametrize(
    ("name", "said", "meant"),
    [
        ("grep", {"pattern": "a", "-i": True, "-n": True}, {"pattern": "a", "ignore_case": True}),
        ("grep", {"pattern": "a", "-A": 1, "-B": 3}, {"pattern": "a", "context": 3}),
        (
            "grep",
            {"pattern": "a", "-C": 2, "head_limit": 5},
            {"pattern": "a", "context": 2, "limit": 5},
        ),
        ("grep", {"pattern": "a", "output_mode": "content"}, {"pattern": "a", "output": "lines"}),
        ("grep", {"regex": "a", "output_mode": "count"}, {"pattern": "a", "output": "count"}),
        (
            "grep",
            {"pattern": "a", "include": "*.py", "output_mode": "files_with_matches"},
            {"pattern": "a", "glob": "*.py", "output": "files"},
        ),
        ("find_files", {"pattern": "*.py"}, {"glob": "*.py"}),
        ("write_file", {"path": "a", "contents": "x"}, {"path": "a", "content": "x"}),
        ("move_path", {"from": "a", "to": "b"}, {"source": "a", "destination": "b"}),
        (
            "edit_file",
            {"filePath": "a", "oldString": "x", "newString": "y", "replaceAll": True},
            {"path": "a", "old_string": "x", "new_string": "y", "replace_all": True},
        ),
        (
            "apply_edits",
            {
                "file_path": "a",
                "edits": [
                    {"oldText": "x", "newText": "y"},
                    {"path": "b", "oldText": "x", "newText": "y"},
                ],
                "dryRun": True,
            },
            {
                "edits": [
                    {"path": "a", "old_string": "x", "new_string": "y"},
                    {"path": "b", "old_string": "x", "new_string": "y"},
                ],
                "dry_run": True,
            },
        ),
    ],
)
def test_what_models_know_from_other_tools_is_taken_as_it_is_meant(
    name: ToolName, said: dict[str, object], meant: dict[str, object]
) -> None:
    assert TOOLS[name].parse(said) == TOOLS[name].parse(meant)


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("read_file", {"pth": "a"}, "no argument 'pth'; did you mean 'path'? It takes 'path', "),
        ("read_file", {"path": "a", "encoding": "x"}, "no argument 'encoding'."),
        ("read_file", {}, "needs the argument 'path'"),
        ("read_file", {"path": 5}, "Argument 'path' of tool 'read_file' is 5: "),
        ("read_file", {"path": "a", "limit": 0}, "'limit' of tool 'read_file' is 0"),
        ("write_file", {"path": "a"}, "needs the argument 'content'"),
        ("write_file", {"path": "a", "content": {"x": "y" * 999}}, "y…: Input should be a valid"),
        ("list_directory", {"depth": 99}, "'depth' of tool 'list_directory' is 99"),
        ("grep", {"pattern": ""}, "'pattern' of tool 'grep' is ''"),
        ("grep", {"pattern": "a", "ignore_cas": True}, "did you mean 'ignore_case'?"),
        ("grep", {"pattern": "a", "multiline": True}, "no argument 'multiline'"),
        ("grep", {"pattern": "a", "-A": "x"}, "no argument '-A'"),
        ("grep", {"pattern": "a", "ignore_case": True, "ignoreCase": True}, "'ignoreCase'"),
        ("grep", {"pattern": "a", "output_mode": "json"}, "'output' of tool 'grep' is 'json'"),
        ("move_path", {"from": "a", "src": "b", "to": "c"}, "no argument 'src'"),
    ],
)
def test_wrong_arguments_are_refused_by_name(
    name: ToolName, arguments: dict[str, object], says: str
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        TOOLS[name].parse(arguments)
    assert says in str(refused.value)
    assert len(str(refused.value)) < 300


def test_every_tool_is_in_the_order_of_the_grant_and_described_for_a_model() -> None:
    assert tuple(TOOLS) == TOOL_NAMES
    for tool in TOOLS.values():
        schema = tool.input_schema
        assert schema["additionalProperties"] is False
        for field in schema["properties"].values():
            assert set(field) <= {
                "type",
                "description",
                "default",
                "minimum",
                "maximum",
                "minLength",
                "enum",
                "items",
                "minItems",
                "maxItems",
            }
            assert field["description"]
            assert isinstance(field["type"], str)
    assert (
        sum(len(str(tool.input_schema)) + len(tool.description) for tool in TOOLS.values()) < 8000
    )


async def test_an_optional_argument_of_null_is_left_out(workspace: Workspace) -> None:
    assert "lines 1-2" in await call(
        workspace, "read_file", path="src/app.py", offset=None, limit=None
    )
    options = dict.fromkeys(["path", "glob", "ignore_case", "literal"])
    assert "src/app.py:1" in await call(workspace, "grep", pattern="main", **options)
    assert ". · 2 entries" in await call(workspace, "list_directory", path=None, depth=None)
    with pytest.raises(InvalidInputError, match="'path' of tool 'read_file' is None"):
        await call(workspace, "read_file", path=None)


async def test_a_slash_means_the_root(workspace: Workspace) -> None:
    assert ". · 2 entries" in await call(workspace, "list_directory", path="/")
    assert "src/app.py:1" in await call(workspace, "grep", pattern="def main", path="/")


async def test_an_answer_has_only_so_many_bytes_and_counts_the_rest(
    yard: Yard, workspace: Workspace
) -> None:
    folder = "/".join(["n" * 250] * 8)
    yard.write(f"{folder}/f.txt", "needle\n" * 100)
    for number in range(99):
        yard.write(f"{folder}/{number}", "x")
    listing = await call(workspace, "list_directory", path=folder)
    matches = await call(workspace, "grep", pattern="needle")
    for answer, header in ((listing, " · 24 entries"), (matches, "24 matches in 1 file")):
        assert len(answer.encode()) < 53_000
        first, *rows, last = answer.split("\n")
        assert (first.endswith(header), len(rows)) == (True, 24)
        assert last.startswith("… 76 more ")


async def test_no_control_character_of_a_file_reaches_a_terminal(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("odd.txt", "needle\t\x1b[31m\r\x07ä\n")
    assert await call(workspace, "grep", pattern="needle") == (
        "1 match in 1 file\nodd.txt:1:needle\t\\x1b[31m\\x0d\\x07ä"
    )


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("read_file", {"k" * 10_000_000: 1}), ("list_directory", {"depth": "x" * 10_000_000})],
)
def test_a_long_argument_is_refused_in_short(name: ToolName, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError) as refused:
        TOOLS[name].parse(arguments)
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("apply_edits", {"edits": [{}] * 2_000_000}),
        ("read_files", {"paths": ["x"] * 2_000_000}),
        ("read_file", {"path": [1] * 10_000_000}),
    ],
)
def test_a_list_without_end_is_refused_at_once(
    name: ToolName, arguments: dict[str, object]
) -> None:
    """Arguments are read on the event loop: all other calls wait meanwhile."""
    started = time.monotonic()
    with pytest.raises(InvalidInputError):
        TOOLS[name].parse(arguments)
    assert time.monotonic() - started < 3


async def test_a_long_pattern_is_not_echoed_at_length(workspace: Workspace) -> None:
    assert await call(workspace, "grep", pattern="q" * 500) == (
        f"No matches for '{'q' * 80}'… under '.'."
    )


async def test_a_page_of_a_large_file_is_made_off_the_event_loop(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("big.txt", "ab\n" * 3_300_000)
    gaps: list[float] = []

    async def watch() -> None:
        while True:
            started = time.monotonic()
            await anyio.sleep(0.001)
            gaps.append(time.monotonic() - started)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watch)
        async with anyio.create_task_group() as reads:
            for offset in (1, 3_000_000, -1, 1_600_000, 5, 6, 7, 8):
                reads.start_soon(
                    partial(call, workspace, "read_file", path="big.txt", offset=offset)
                )
        tasks.cancel_scope.cancel()
    assert max(gaps) < 1
    shown = await call(workspace, "read_file", path="big.txt", offset=3_299_999)
    assert shown.split("\n")[1:] == ["3299999\tab", "3300000\tab"]
