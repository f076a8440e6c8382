"""Search finds what may be read, obeys .gitignore, and is no way around the fence."""

import os
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotFoundError,
    NotTextError,
    PatternError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence import search
from mcp_server.fence.finding import found as found_module
from mcp_server.fence.finding.names import Names
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.search import Query
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import SECRET, Yard


async def found(workspace: Workspace, pattern: str, **options: object) -> list[str]:
    result = await workspace.search(Query(pattern=pattern, **options))  # type: ignore[arg-type]  # tests pass a field by name
    return [f"{match.path}:{match.line}:{match.text}" for match in result.matches]


async def test_matches_come_by_path_then_line(yard: Yard, workspace: Workspace) -> None:
    yard.write("b.txt", "main\nother\nmain again\n")
    yard.write("a/z.txt", "main\r\n")
    assert await found(workspace, "main") == [
        "a/z.txt:1:main",
        "b.txt:1:main",
        "b.txt:3:main again",
        "docs/guide.md:3:Run main.",
        "src/app.py:1:def main():",
    ]


async def test_a_subdirectory_and_a_single_file_can_be_searched(
    yard: Yard, workspace: Workspace
) -> None:
    yard.link("link", "src")
    expected = ["src/app.py:1:def main():"]
    for path in ("src", "src/", "src/app.py", "link", "link/app.py", f"{yard.root}/src"):
        assert await found(workspace, "main", path=path) == expected
    with pytest.raises(NotFoundError):
        await found(workspace, "main", path="nope")


async def test_options_do_what_they_say(yard: Yard, workspace: Workspace) -> None:
    yard.write("src/a.md", "MAIN()\n")
    assert await found(workspace, "main()", literal=True) == ["src/app.py:1:def main():"]
    assert len(await found(workspace, "main")) == 2
    assert len(await found(workspace, "main", ignore_case=True)) == 3
    assert await found(workspace, "MAIN", glob="*.md") == ["src/a.md:1:MAIN()"]
    assert await found(workspace, "main", glob="!*.md") == ["src/app.py:1:def main():"]
    assert await found(workspace, "main", glob="docs/**") == ["docs/guide.md:3:Run main."]


async def test_gitignore_is_obeyed_and_hidden_files_are_searched(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write(".gitignore", "build/\n*.log\n")
    yard.write("build/out.txt", "needle")
    yard.write("x.log", "needle")
    yard.write(".github/ci.yml", "needle")
    yard.write("sub/.gitignore", "y.txt\n")
    yard.write("sub/y.txt", "needle")
    assert await found(workspace, "needle") == [".github/ci.yml:1:needle"]


@pytest.mark.usefixtures("no_landlock")
async def test_ignore_files_above_the_root_and_configuration_do_not_count(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (yard.root.parent / ".ignore").write_text("*\n")
    (yard.root.parent / ".gitignore").write_text("*\n")
    configuration = yard.outside / "rgrc"
    configuration.write_text("--files-with-matches\n--glob=!*\n")
    monkeypatch.setenv("RIPGREP_CONFIG_PATH", str(configuration))
    assert await found(workspace, "def main") == ["src/app.py:1:def main():"]


@pytest.mark.parametrize(
    "pattern",
    [
        "--files",
        "-e",
        "--pre=/bin/sh",
        "-f/etc/passwd",
        "--",
        "-",
        "--hostname-bin=/bin/id",
        "-uuu",
    ],
)
async def test_a_pattern_or_glob_that_looks_like_an_option_is_plain_text(
    yard: Yard, workspace: Workspace, pattern: str
) -> None:
    yard.write("x.txt", f"<{pattern}>\n")
    assert await found(workspace, pattern, path="x.txt") == [f"x.txt:1:<{pattern}>"]
    assert await found(workspace, pattern, glob=pattern) == []


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("foo(", "unclosed group"),
        ("(?=x)", "look-around"),
        (r"\1", "backreferences"),
        ("[z-a]", "invalid character class range"),
        ("x{1000}{1000}{100}", "too large"),
    ],
)
async def test_a_bad_pattern_says_what_is_wrong_and_what_to_do(
    workspace: Workspace, pattern: str, says: str
) -> None:
    with pytest.raises(PatternError) as refused:
        await found(workspace, pattern)
    assert says in str(refused.value)
    assert "literal=true" in str(refused.value)
    assert "rg" not in str(refused.value).split()


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        (Query(pattern="a\nb"), PatternError),
        (Query(pattern="a\0b"), InvalidInputError),
        (Query(pattern="\udce9"), InvalidInputError),
        (Query(pattern="a", glob="x{"), InvalidInputError),
        (Query(pattern="a", glob="[z-a]"), InvalidInputError),
        (Query(pattern="a", glob="\0"), InvalidInputError),
    ],
)
async def test_what_cannot_be_searched_is_refused(
    workspace: Workspace, query: Query, kind: type[ServerError]
) -> None:
    with pytest.raises(kind):
        await workspace.search(query)


async def test_a_hard_pattern_is_answered_in_time(yard: Yard, workspace: Workspace) -> None:
    yard.write("aaaa.txt", "a" * 5000)
    assert await found(workspace, "(a+)+$b") == []


@pytest.mark.usefixtures("no_landlock")
async def test_links_are_not_followed_out_of_the_root(yard: Yard, workspace: Workspace) -> None:
    yard.link("file", yard.outside / "secret.txt")
    yard.link("dir", "../outside")
    yard.link("pipe-dir/link", "../../outside/secret.txt")
    os.mkfifo(yard.root / "pipe")
    assert await found(workspace, "secret") == []


@pytest.mark.usefixtures("no_landlock")
@pytest.mark.parametrize("name", [".ignore", ".gitignore", ".rgignore"])
async def test_an_ignore_file_linked_outside_is_never_quoted(
    yard: Yard, workspace: Workspace, name: str
) -> None:
    """ripgrep complains of a bad glob by quoting it: a line of the outside file."""
    (yard.outside / "secret.txt").write_text(f"{{{SECRET}\n")
    yard.link(name, "../outside/secret.txt")
    yard.link(f"src/{name}", yard.outside / "secret.txt")
    for query in (Query(pattern="main"), Query(pattern="("), Query(pattern="a", glob="{")):
        try:
            shown = repr(await workspace.search(query))
        except ServerError as error:
            shown = str(error)
        assert SECRET not in shown


async def test_what_may_not_be_read_is_not_found(yard: Yard) -> None:
    yard.write(".env", "needle")
    yard.write(".git/config", "needle")
    yard.write("src/KEY.PEM", "needle")
    yard.write("src/ok.py", "needle")
    yard.write("docs/private/a.md", "needle")
    yard.write("docs/a.md", "needle")
    grant = Grant(read=("**",), deny=(*Grant().deny, "docs/private"))
    async with Workspace.open(yard.root, grant) as workspace:
        assert await found(workspace, "needle") == ["docs/a.md:1:needle", "src/ok.py:1:needle"]
        assert await found(workspace, "needle", glob=".env") == []
        assert await found(workspace, "needle", glob="**/private/*") == []
        for path in (".env", ".git", "docs/private", "docs/private/a.md"):
            with pytest.raises(PermissionDeniedError):
                await found(workspace, "needle", path=path)
    async with Workspace.open(yard.root, Grant(read=("src/*.py",))) as workspace:
        assert await found(workspace, "needle") == ["src/ok.py:1:needle"]


async def test_only_so_many_matches_are_given_and_the_rest_is_counted(yard: Yard) -> None:
    yard.write("many.txt", "needle\n" * 50)
    yard.write("a.txt", "needle\n")
    grant = Grant.full().model_copy(update={"limits": Limits(matches=3)})
    async with Workspace.open(yard.root, grant) as workspace:
        result = await workspace.search(Query(pattern="needle"))
    assert [match.path for match in result.matches] == ["a.txt", "many.txt", "many.txt"]
    assert result.left_out == 48


async def test_a_flood_of_matches_is_counted_to_its_end(yard: Yard, workspace: Workspace) -> None:
    yard.write("a.txt", "needle\n" * 100_000)
    yard.write("b.txt", "needle " * 2_000_000)
    result = await workspace.search(Query(pattern="needle"))
    assert len(result.matches) == workspace.grant.limits.matches
    assert len(result.matches) + result.left_out == 100_001


async def test_a_huge_line_hides_no_match_behind_it(yard: Yard, workspace: Workspace) -> None:
    yard.write("a.txt", "x" * 20_000_000 + "needle" + "y" * 20_000_000 + "\nneedle\n")
    yard.write("b.txt", "needle\n")
    first, *others = await found(workspace, "needle")
    assert first.startswith("a.txt:1:…" + "x" * 100 + "needle" + "y" * 100)
    assert first.endswith("… (40000006 characters in this line)")
    assert others == ["a.txt:2:needle", "b.txt:1:needle"]


@pytest.mark.parametrize("read", ["**", "docs/**"])
async def test_what_other_files_hold_changes_no_answer(yard: Yard, read: str) -> None:
    yard.write("docs/{odd}.txt", "mark\n" * 900)
    yard.write("docs/z.txt", "mark\n" * 100)
    grant = Grant(read=(read,), deny=("aaa", "docs/se[c]ret"))
    lines, counts, names = [], [], []
    async with Workspace.open(yard.root, grant) as workspace:
        for content in ("", "mark\n", "mark\n" * 50_000, "mark" * 3_000_000, "\0", "mark\n\0"):
            for path in ("aaa/mark", "docs/secret", ".env", *(["a"] if read != "**" else [])):
                yard.write(path, content)
            lines.append(await workspace.search(Query(pattern="mark", context=1)))
            counts.append(await workspace.count_matches(Query(pattern="mark")))
            names.append(await workspace.find_files(Names(glob="*")))
    assert lines == lines[:1] * 6
    assert counts == counts[:1] * 6
    assert names == names[:1] * 6
    assert lines[0].left_out == 800
    assert counts[0].counts == (("docs/z.txt", 100), ("docs/{odd}.txt", 900))


async def test_a_cut_is_a_stable_prefix_by_the_components_of_the_path(yard: Yard) -> None:
    paths = [f"{top}/{name}" for top in ("d", "d-1", "d.txt", "ä") for name in ("a", "a-b", "a/")]
    for path in (each + "x" if each.endswith("/") else each + ".y" for each in paths):
        yard.write(path, "needle\nneedle\n")
    grant = Grant(read=("**",))
    async with Workspace.open(yard.root, grant) as workspace:
        everything = await found(workspace, "needle")
        assert [row.split(":")[0] for row in everything[:8:2]] == [
            "d/a/x",
            "d/a-b.y",
            "d/a.y",
            "d-1/a/x",
        ]
        for limit in range(1, 24):
            assert await found(workspace, "needle", limit=limit) == everything[:limit]
    assert len(everything) == 24


async def test_more_files_than_are_held_leave_the_first_ones(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(found_module, "_SLACK", 3)
    for number in range(60):
        yard.write(f"{number % 7}/{number:02}", "needle\n" * 2)
    async with Workspace.open(yard.root, Grant(read=("**",))) as workspace:
        everything = await workspace.count_matches(Query(pattern="needle"))
        few = await workspace.count_matches(Query(pattern="needle", limit=5))
    assert everything.counts == tuple(sorted(everything.counts))
    assert few.counts == everything.counts[:5]
    assert (few.files, few.total) == (everything.files, everything.total) == (60, 120)


async def test_context_comes_with_its_match_and_not_twice(yard: Yard, workspace: Workspace) -> None:
    yard.write("a.txt", "one\ntwo\nneedle\nfour\nneedle 2\nsix\n7\n8\n9\nneedle 3\n")
    result = await workspace.search(Query(pattern="needle", context=1))
    assert [(each.line, each.text, each.is_context) for each in result.matches] == [
        (2, "two", True),
        (3, "needle", False),
        (4, "four", True),
        (5, "needle 2", False),
        (6, "six", True),
        (9, "9", True),
        (10, "needle 3", False),
    ]
    cut = await workspace.search(Query(pattern="needle", context=1, limit=1))
    assert (cut.matches, cut.left_out) == (result.matches[:3], 2)


async def test_names_that_look_like_options_patterns_or_two_lines_are_searched(
    yard: Yard, workspace: Workspace
) -> None:
    names = ["--files", "-e", "-", "*", "[a", "two\nlines\x1b", "a:1:b", "a\\b", "<stdin>", "{x}"]
    for name in names:
        yard.write(f"odd/{name}", "needle\n")
        yard.write(f"{name}.d/x", "needle\n")
    rows = [row.removesuffix(":1:needle") for row in await found(workspace, "needle")]
    assert sorted(rows) == sorted([f"odd/{name}" for name in names] + [f"{n}.d/x" for n in names])
    for name in names:
        assert await found(workspace, "needle", path=f"odd/{name}") == [f"odd/{name}:1:needle"]
        assert await found(workspace, "needle", path=f"{name}.d") == [f"{name}.d/x:1:needle"]


async def test_files_over_the_size_limit_and_binary_ones_are_left_out(
    yard: Yard, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MAX_SEARCHED_BYTES", 1000)
    yard.write("large.txt", "needle" + "x" * 1000)
    yard.write("binary", b"needle\n" + b"x" * 100_000 + b"\0\n")
    yard.write("small.txt", "needle")
    assert await found(workspace, "needle") == ["small.txt:1:needle"]


async def test_a_glob_brings_nothing_back_that_is_ignored(yard: Yard, workspace: Workspace) -> None:
    yard.write(".gitignore", "*.log\nbuild\n")
    for path in ("x.log", "build/y.txt", "z.txt"):
        yard.write(path, "needle")
    for glob in ("*.{log,txt}", "**/*", "build/*", "*", "!*.md"):
        expected = [] if glob == "build/*" else ["z.txt:1:needle"]
        assert await found(workspace, "needle", glob=glob) == expected


async def test_a_long_line_is_cut_around_the_match(yard: Yard, workspace: Workspace) -> None:
    yard.write("min.js", "ä" * 5000 + "needle" + "y" * 5000)
    (row,) = await found(workspace, "needle")
    assert "ä" * 100 + "needle" + "y" * 394 in row
    assert row.endswith("… (10006 characters in this line)")
    assert len(row) < 600


async def test_bytes_that_are_not_utf8_are_kept_apart_from_text(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write("latin.txt", b"caf\xe9 needle\n")
    Path(os.fsdecode(os.fsencode(yard.root) + b"/n\xe9.txt")).write_text("needle")
    rows = await found(workspace, "needle")
    assert rows == ["latin.txt:1:caf\udce9 needle", "n\udce9.txt:1:needle"]


@pytest.mark.parametrize("pattern", [r"foo\nbar", r"\r?\n", "foo\nbar"])
async def test_a_line_break_in_a_pattern_is_told_however_it_is_written(
    workspace: Workspace, pattern: str
) -> None:
    with pytest.raises(PatternError, match="holds a line break"):
        await found(workspace, pattern)


async def test_an_endless_pattern_is_refused_by_its_length(workspace: Workspace) -> None:
    for query in (Query(pattern="x" * 10_001), Query(pattern="x", glob="*" * 200_000)):
        with pytest.raises(LimitError) as refused:
            await workspace.search(query)
        assert refused.value.unit == "characters"
        assert len(str(refused.value)) < 200


async def test_a_file_that_is_too_large_to_search_says_not_to_try_again(
    yard: Yard, workspace: Workspace
) -> None:
    with (yard.root / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    for attempt in (
        lambda: workspace.search(Query(pattern="x", path="sparse")),
        lambda: workspace.read_text("sparse"),
    ):
        with pytest.raises(LimitError, match="work without it"):
            await attempt()


async def test_a_named_binary_file_is_told_to_be_one(yard: Yard, workspace: Workspace) -> None:
    yard.write("bin", b"main\n\0\1\x1b[31m main\n")
    yard.write("utf16.txt", "\ufeffmain\n".encode("utf-16-le"))
    with pytest.raises(NotTextError, match="'bin' is binary"):
        await found(workspace, "main", path="bin")
    assert len(await found(workspace, "main", path="utf16.txt")) == 1


async def test_gitignore_counts_below_its_directory_too(yard: Yard, workspace: Workspace) -> None:
    if not workspace.confinement.is_on:
        pytest.skip("only the kernel can keep ripgrep from the ignore files above the root")
    (yard.root.parent / ".gitignore").write_text("*.py\n")
    yard.write(".gitignore", "node_modules/\n/src/gen.py\n")
    yard.write("src/node_modules/x.js", "main")
    yard.write("src/gen.py", "main")
    assert await found(workspace, "main", path="src") == ["src/app.py:1:def main():"]
