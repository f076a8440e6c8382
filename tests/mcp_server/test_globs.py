"""What a glob matches, covers, names and leads to, in time that no path can stretch."""

import random
import time

import pytest

from mcp_server.fence.globs import checked_glob, covers, leads_to, matches, may_meet, named_parts


def names(globs: tuple[str, ...], path: str) -> bool:
    return list(named_parts(globs, path))[-1]


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("**", ["a", "a/b/c"], ["."]),
        ("*", ["a", ".b"], ["a/b"]),
        ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc", "a.PY"]),
        ("**/*.py", ["a.py", "a/b/c.py"], ["a.md"]),
        ("src/**", ["src/a", "src/a/b"], ["src", "srcs/a", "a/src/b"]),
        ("src/**/test_*.py", ["src/test_a.py", "src/x/y/test_b.py"], ["src/a.py", "test_a.py"]),
        ("a?c", ["abc", "a.c"], ["ac", "a/c", "abbc"]),
        ("[ab].txt", ["a.txt", "b.txt"], ["c.txt", "[ab].txt"]),
        ("[!ab].txt", ["c.txt"], ["a.txt", "/.txt"]),
        ("[a-c]x", ["bx"], ["dx", "-x"]),
        ("[]]x", ["]x"], ["x"]),
        ("a.b+(c)$", ["a.b+(c)$"], ["aab+(c)$", "a.bb(c)"]),
        ("[x", ["[x"], ["x"]),
        ("a\n*", ["a\nb"], ["ab"]),
    ],
)
def test_globs_match_by_component(glob: str, matching: list[str], others: list[str]) -> None:
    assert [path for path in matching if not matches((glob,), path)] == []
    assert [path for path in others if matches((glob,), path)] == []


@pytest.mark.parametrize(
    ("glob", "named", "others"),
    [
        (".git", [".git", "a/.git", ".GIT"], [".git/a", "a/.git/b", ".gitx"]),
        ("a/b", ["a/b", "A/B"], ["x/a/b", "a/b/c", "b"]),
        ("a/**", ["a", "a/b", "a/b/c"], ["b/a", "ab"]),
        ("**", ["a", "a/b"], []),
        ("a/**/b", ["a/b", "a/x/y/B"], ["b", "a", "a/b/x"]),
        ("*.pem", ["x.pem", "a/x.PEM"], ["x.pem/a"]),
        ("Ä", ["a\u0308", "x/ä"], ["a"]),
        ("A/.Git", ["a/.git", "A/.GIT"], [".git"]),
    ],
)
def test_a_glob_names_a_path_without_what_is_below_unless_it_says_so(
    glob: str, named: list[str], others: list[str]
) -> None:
    assert [path for path in named if not names((glob,), path)] == []
    assert [path for path in others if names((glob,), path)] == []
    covered = [path for path in named if not covers((glob,), path)]
    assert covered == (["a"] if glob == "a/**" else []), "what covers a directory is to name it"


def test_each_directory_on_the_way_is_told_apart() -> None:
    assert list(named_parts(("a/**/c", "d"), "a/b/c/c/d/e")) == [
        False,
        False,
        True,
        True,
        True,
        False,
    ]


def test_of_no_globs_nothing_is_matched() -> None:
    for path in ("a", "a/b", "."):
        assert not matches((), path)
        assert not covers((), path)
        assert not any(named_parts((), path))
        assert not leads_to((), path)


COMPONENTS = ("a", "ab", "A", ".env", ".env.x", "x.pem", ".git")
PIECES = (*COMPONENTS, "*", "**", "?", "a*", "*.pem", ".env.*", "[ab]")


def test_what_could_meet_is_never_said_to_be_apart() -> None:
    """A search leaves out what is said to be apart: it would miss what is allowed."""
    chance = random.Random(7)
    paths = ["/".join(chance.choices(COMPONENTS, k=chance.randint(1, 3))) for _ in range(300)]
    met = 0
    for _ in range(600):
        glob = checked_glob("/".join(chance.choices(PIECES, k=chance.randint(1, 3))))
        name = chance.choice(PIECES)
        if any(names((glob,), path) and names((name,), path) for path in paths):
            met += 1
            assert may_meet(glob, name), (glob, name)
    assert met > 150


@pytest.mark.parametrize(
    ("glob", "name"), [(".env.example", ".git"), (".env.example", "*.pem"), ("*.crt", ".git")]
)
def test_what_a_default_names_stays_apart_from_a_plain_exemption(glob: str, name: str) -> None:
    assert not may_meet(glob, name)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("**/**/**/**/**/**/**/x", "a/" * 200 + "y"),
        ("*a*a*b", "a" * 250),
        ("**/*a*a*b/x", "/".join(["a" * 250] * 16)),
        ("**/a/**/a/**/x", "a/" * 250 + "y"),
        ("**/a*a*a*/**/a*a*a*/**/*b", "/".join(["a" * 30] * 20)),
        ("**/*a/**/*a/**/*a*a*ab", "a/" * 2000 + "a"),
    ],
)
def test_no_glob_takes_long_to_match(glob: str, path: str) -> None:
    globs = (checked_glob(glob),)
    for ask in (matches, covers, names, leads_to):
        started = time.monotonic()
        assert ask(globs, path) == (ask is leads_to and glob.startswith("**"))
        assert time.monotonic() - started < 3
