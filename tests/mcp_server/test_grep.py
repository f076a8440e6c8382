"""What a caller of grep reads: lines, files or counts, shrunk in steps and never silently."""

from collections.abc import AsyncIterator

import pytest

from mcp_server.errors import InvalidInputError
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard, call


@pytest.fixture
async def narrow(yard: Yard) -> AsyncIterator[Workspace]:
    """A workspace with small limits."""
    limits = Limits(entries=2, matches=2)
    async with Workspace.open(yard.root, Grant.full().model_copy(update={"limits": limits})) as it:
        yield it


async def test_matches_are_shown_by_path_and_line(yard: Yard, workspace: Workspace) -> None:
    yard.write("src/b.py", "x\nmain()\n")
    assert await call(workspace, "grep", pattern="main", glob="*.py") == (
        "2 matches in 2 files\nsrc/app.py:1:def main():\nsrc/b.py:2:main()"
    )
    assert await call(workspace, "grep", pattern="nope") == "No matches for 'nope' under '.'."
    assert await call(workspace, "grep", pattern="nope", path="src/") == (
        "No matches for 'nope' under 'src'."
    )


async def test_answer_of_nothing_says_that_not_all_files_were_searched(
    workspace: Workspace,
) -> None:
    """A small model took a glob from the description, and asked the same twelve times."""
    for output in ("lines", "files", "count"):
        found = await call(workspace, "grep", pattern="total", glob="docs/**/*.md", output=output)
        assert found == (
            "No matches for 'total' under '.' in files like 'docs/**/*.md'; "
            "leave out glob to search all."
        )


async def test_empty_glob_is_none(workspace: Workspace) -> None:
    """A model that gives a value to every argument means none by it."""
    assert "2 matches in 2 files" in await call(workspace, "grep", pattern="main", glob="")


async def test_many_matches_say_how_many_are_missing(yard: Yard, narrow: Workspace) -> None:
    yard.write("a.txt", "needle\n" * 5)
    assert await call(narrow, "grep", pattern="needle") == (
        "2 matches in 1 file\na.txt:1:needle\na.txt:2:needle\n"
        "… 3 more matches left out; narrow by path or glob."
    )
    for limit, shown in ((1, 1), (2, 2), (99, 2)):
        answer = await call(narrow, "grep", pattern="needle", limit=limit)
        assert answer.count("needle") == shown
        assert f"… {5 - shown} more matches left out" in answer


async def test_context_is_marked_and_groups_are_kept_apart(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("a.txt", "1\nneedle\n3\n4\n5\nneedle\nneedle\n8\n")
    yard.write("b.txt", "needle\n")
    assert (await call(workspace, "grep", pattern="needle", context=1)).split("\n") == [
        "4 matches in 2 files",
        "a.txt-1-1",
        "a.txt:2:needle",
        "a.txt-3-3",
        "--",
        "a.txt-5-5",
        "a.txt:6:needle",
        "a.txt:7:needle",
        "a.txt-8-8",
        "--",
        "b.txt:1:needle",
    ]


async def test_files_and_counts_are_shown_instead_of_lines(yard: Yard, narrow: Workspace) -> None:
    yard.write("b.txt", "needle\nneedle\n")
    yard.write("a.txt", "needle\n")
    assert await call(narrow, "grep", pattern="needle", output="files") == (
        "3 matches in 2 files\na.txt\nb.txt"
    )
    yard.write("c.txt", "needle\n")
    assert await call(narrow, "grep", pattern="needle", output="count") == (
        "4 matches in 3 files\na.txt:1\nb.txt:2\n… 1 more file left out; narrow by path or glob."
    )
    assert await call(narrow, "grep", pattern="needle", output="count", path="b.txt") == (
        "2 matches in 1 file\nb.txt:2"
    )
    assert await call(narrow, "grep", pattern="nope", output="files") == (
        "No matches for 'nope' under '.'."
    )
    with pytest.raises(InvalidInputError, match="'output' of tool 'grep' is 'paths'"):
        await call(narrow, "grep", pattern="needle", output="paths")


@pytest.mark.parametrize(
    ("width", "context", "notes"),
    [
        (10, 20, ["… context cut to 10 to fit."]),
        (100, 20, ["… context cut to 1 to fit."]),
        (400, 2, ["… context cut to 0 to fit."]),
        (
            1000,
            2,
            ["… context left out to fit.", "… lines cut at 160 characters to fit."],
        ),
    ],
)
async def test_an_answer_shrinks_in_steps_and_says_so(
    yard: Yard, workspace: Workspace, width: int, context: int, notes: list[str]
) -> None:
    block = "needle " + "x" * width + "\n" + ("y" * width + "\n") * 40
    yard.write("a.txt", block * 100)
    answer = await call(workspace, "grep", pattern="needle", context=context)
    assert len(answer.encode()) < 52_000
    first, *rows = answer.split("\n")
    assert first == "100 matches in 1 file"
    assert [row for row in rows if row.startswith("…")] == notes


async def test_no_line_of_a_denied_file_shows_in_any_output(yard: Yard) -> None:
    for path in (".env", "docs/id_rsa", "private/a.md", "docs/a.md"):
        yard.write(path, "before\nneedle\nafter\n")
    grant = Grant.full().model_copy(update={"deny": (*Grant().deny, "priv[a]te")})
    async with Workspace.open(yard.root, grant) as workspace:
        for output in ("lines", "files", "count"):
            answer = await call(workspace, "grep", pattern="needle", context=3, output=output)
            assert answer.startswith("1 match in 1 file\n")
            assert {row[:9] for row in answer.split("\n")[1:]} == {"docs/a.md"}
