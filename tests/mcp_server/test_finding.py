"""Files are found by name as far as they may be read, whatever they are called."""

import os
from pathlib import Path

import pytest

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotAFileError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
)
from mcp_server.fence.finding.names import Names
from mcp_server.fence.finding.wanted import Wanted
from mcp_server.fence.grant import Grant, Limits
from mcp_server.fence.workspace import Workspace
from tests.mcp_server.conftest import Yard, call


async def names(workspace: Workspace, glob: str, **options: object) -> list[str]:
    found = await workspace.find_files(Names(glob=glob, **options))  # type: ignore[arg-type]  # tests pass a field by name
    assert found.left_out == 0
    return list(found.paths)


@pytest.mark.parametrize(
    ("glob", "path", "expected"),
    [
        ("*.py", "a.py", True),
        ("*.py", "d/e/a.py", True),
        ("*.py", "a.pyc", False),
        ("a?.py", "d/ab.py", True),
        ("*", ".hidden", True),
        ("src/*.py", "src/a.py", True),
        ("src/*.py", "src/d/a.py", False),
        ("src/*.py", "d/src/a.py", False),
        ("/*.py", "a.py", True),
        ("/*.py", "d/a.py", False),
        ("./src/a.py", "src/a.py", True),
        ("src/**/*.ts", "src/a.ts", True),
        ("src/**/*.ts", "src/d/e/a.ts", True),
        ("**", "d/a", True),
        ("src/", "src/d/a", True),
        ("src", "src/a", False),
        ("*.{ts,tsx}", "d/a.tsx", True),
        ("*.{ts,tsx}", "d/a.js", False),
        ("{src,lib/{a,b}}/*.c", "lib/b/x.c", True),
        ("{src,lib/{a,b}}/*.c", "lib/c/x.c", False),
        ("!*.lock", "d/a.lock", False),
        ("!*.lock", "d/a.py", True),
        ("!node_modules", "d/node_modules/x/y.js", False),
        ("!d/e", "d/e/f", False),
        ("[[]x", "[x", True),
        ("Readme*", "README.md", False),
    ],
)
def test_a_glob_means_what_it_says(glob: str, path: str, expected: bool) -> None:
    assert Wanted.parse(glob).has(path) is expected


@pytest.mark.parametrize(
    "glob",
    ["", "!", "a//b", "../x", "a{b", "a}b", "[z-a]", "\0", "\ud800", "*a*a*a*a", "{a,b}" * 9],
)
def test_a_glob_that_is_not_well_formed_is_refused(glob: str) -> None:
    with pytest.raises(InvalidInputError, match=r"Glob .* is not accepted: .*Write for example"):
        Wanted.parse(glob)


def test_an_endless_glob_is_refused_by_its_length() -> None:
    with pytest.raises(LimitError) as refused:
        Wanted.parse("{" * 200_000)
    assert len(str(refused.value)) < 200


async def test_files_are_found_in_order_of_path_with_hidden_ones(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write(".github/ci.yml")
    yard.write("src/app/x.yml")
    yard.write("src/app-2/x.yml")
    assert await names(workspace, "*.yml") == [
        ".github/ci.yml",
        "src/app/x.yml",
        "src/app-2/x.yml",
    ]
    assert await names(workspace, "app/*.yml", path="src") == ["src/app/x.yml"]
    assert await names(workspace, "**/*", path="docs") == ["docs/guide.md"]
    assert await names(workspace, "!*.yml") == ["docs/guide.md", "src/app.py"]


async def test_ignored_files_are_found_only_when_asked_for(
    yard: Yard, workspace: Workspace
) -> None:
    yard.write(".gitignore", "*.log\n/build\n")
    yard.write("x.log")
    yard.write("build/out.txt")
    for glob, path in (("*.log", "x.log"), ("build/*", "build/out.txt")):
        assert await names(workspace, glob) == []
        assert await names(workspace, glob, include_ignored=True) == [path]


async def test_the_files_changed_last_come_first(yard: Yard, workspace: Workspace) -> None:
    for age, path in enumerate(("b.txt", "d/a.txt", "c.txt")):
        os.utime(yard.write(path), ns=(0, 10**18 - age))
    assert await names(workspace, "*.txt", order="newest") == ["b.txt", "d/a.txt", "c.txt"]
    limits = Limits(entries=2)
    async with Workspace.open(yard.root, Grant(read=("**",), limits=limits)) as few:
        found = await few.find_files(Names(glob="*.txt", order="newest"))
    assert (found.paths, found.left_out) == (("b.txt", "d/a.txt"), 1)


async def test_directories_links_and_pipes_are_no_files(yard: Yard, workspace: Workspace) -> None:
    yard.link("in", "src/app.py")
    yard.link("dir", "src")
    yard.link("out", yard.outside / "secret.txt")
    yard.link("door", "../outside")
    os.mkfifo(yard.root / "pipe")
    assert await names(workspace, "*") == ["docs/guide.md", "src/app.py"]


async def test_what_may_not_be_read_is_neither_found_nor_counted(yard: Yard) -> None:
    for path in (".env", "src/id_rsa", ".git/x", "secret/a.py", "src/se[c]ret", "other/a.py"):
        yard.write(path)
    limits = Limits(entries=1)
    grant = Grant(
        tools=("find_files",), read=("src/**",), deny=("se[c]ret", "src/se[[]c]*"), limits=limits
    )
    async with Workspace.open(yard.root, grant) as workspace:
        for glob in ("*", "**/*", "!nothing", "*.py"):
            for ignored in (False, True):
                asked = {"glob": glob, "include_ignored": ignored}
                assert await call(workspace, "find_files", **asked) == "1 file\nsrc/app.py"
        for path in ("other", ".git"):
            with pytest.raises(PermissionDeniedError):
                await names(workspace, "*", path=path)


async def test_hostile_names_are_found_one_a_line(yard: Yard, workspace: Workspace) -> None:
    for name in ("two\nlines", "-e", "*", "--files", "a b", "\x1b[31m"):
        yard.write(f"odd/{name}")
    Path(os.fsdecode(os.fsencode(yard.root) + b"/odd/caf\xe9")).write_text("")
    answer = await call(workspace, "find_files", glob="odd/*")
    assert sorted(answer.split("\n")[1:]) == sorted(
        [
            "odd/two\\x0alines",
            "odd/-e",
            "odd/*",
            "odd/--files",
            "odd/a b",
            "odd/\\x1b[31m",
            "odd/caf\\xe9",
        ]
    )
    for glob in ("-e", "--files", "*"):
        assert f"odd/{glob}" in await names(workspace, glob, path="odd")


async def test_an_answer_says_what_is_missing_or_that_nothing_is_there(yard: Yard) -> None:
    for number in range(5):
        yard.write(f"{number}.txt")
    grant = Grant.full().model_copy(update={"limits": Limits(entries=2)})
    async with Workspace.open(yard.root, grant) as workspace:
        assert await call(workspace, "find_files", glob="*.txt") == (
            "5 files\n0.txt\n1.txt\n… 3 more files left out; narrow by path or glob."
        )
        assert await call(workspace, "find_files", glob="*.rs", path="src") == (
            "No file that is not ignored (include_ignored=true) matches '*.rs' under 'src'."
        )
        assert await call(workspace, "find_files", glob="*.rs", include_ignored=True) == (
            "No file matches '*.rs' under '.'."
        )


@pytest.mark.parametrize(("path", "kind"), [("nope", NotFoundError), ("src/app.py", NotAFileError)])
async def test_only_directories_are_looked_through(
    workspace: Workspace, path: str, kind: type[ServerError]
) -> None:
    with pytest.raises(kind):
        await names(workspace, "*", path=path)
