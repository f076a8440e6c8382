"""What a grant allows: nothing that it does not say, and never what is denied."""

import time

import pytest
from pydantic import ValidationError

from mcp_server.errors import InvalidInputError
from mcp_server.fence.grant import DEFAULT_DENY, TOOL_NAMES, Grant


def test_an_empty_grant_allows_nothing() -> None:
    grant = Grant()
    assert not any(map(grant.allows_tool, TOOL_NAMES))
    for path in (".", "a", "src/app.py"):
        assert not grant.may_read(path)
        assert not grant.may_write(path)
        assert not grant.may_list(path)


def test_the_full_grant_allows_all_but_what_is_denied() -> None:
    grant = Grant.full()
    assert all(map(grant.allows_tool, TOOL_NAMES))
    assert grant.may_read("src/app.py")
    assert grant.may_write("src/new/app.py")
    assert grant.may_list(".")
    assert grant.deny == DEFAULT_DENY


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        ".git/config",
        "sub/.git/hooks/pre-commit",
        ".env",
        ".env.local",
        "deep/down/.env",
        "keys/server.pem",
        "server.key",
        "id_rsa",
        "id_rsa.pub",
        "home/.ssh/config",
        ".workyard/agents/a.yaml",
        ".workyard-0123456789ab.tmp",
        # twins, which are the same file where case is ignored
        ".GIT/config",
        ".Env",
        "ID_RSA",
        "x/SERVER.PEM",
    ],
)
def test_secrets_history_and_settings_are_denied_by_default(path: str) -> None:
    grant = Grant.full()
    assert not grant.may_read(path)
    assert not grant.may_write(path)
    assert not grant.may_list(path)


@pytest.mark.parametrize(
    "path", [".gitignore", ".github/ci.yml", "env", "environment.py", "keyboard.py", "a.keys"]
)
def test_what_only_looks_like_a_secret_is_allowed(path: str) -> None:
    assert Grant.full().may_read(path)


@pytest.mark.parametrize(
    ("glob", "matching", "others"),
    [
        ("**", ["a", "a/b/c"], []),
        ("*", ["a", ".b"], ["a/b"]),
        ("*.py", ["a.py", ".py"], ["a/b.py", "a.pyc"]),
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
    grant = Grant(read=(glob,), deny=())
    assert [path for path in matching if not grant.may_read(path)] == []
    assert [path for path in others if grant.may_read(path)] == []


def test_reading_and_writing_are_granted_apart() -> None:
    grant = Grant(read=("docs/**",), write=("out/*",))
    assert grant.may_read("docs/a")
    assert not grant.may_write("docs/a")
    assert grant.may_write("out/a")
    assert not grant.may_read("out/a")


def test_a_directory_may_be_listed_when_something_below_may_be_read() -> None:
    grant = Grant(read=("src/*/api/*.py", "docs/**"))
    listable = [".", "src", "src/x", "src/x/api", "docs", "docs/deep/down"]
    assert [path for path in listable if not grant.may_list(path)] == []
    hidden = ["src/x/other", "src/x/api/deep", "tests", "docs.old"]
    assert [path for path in hidden if grant.may_list(path)] == []


def test_a_deny_glob_with_a_slash_is_anchored_at_the_root() -> None:
    grant = Grant(read=("**",), deny=("Config/Secrets",))
    assert not grant.may_read("config/secrets")
    assert not grant.may_read("config/secrets/a/b")
    assert grant.may_read("other/config/secrets")
    assert grant.may_read("config/secrets.md")


def test_composed_and_decomposed_letters_are_denied_alike() -> None:
    grant = Grant(read=("**",), deny=("geheim-ä",))
    assert not grant.may_read("geheim-a\u0308")
    assert not grant.may_read("GEHEIM-Ä/x")


@pytest.mark.parametrize("deny", [(), ("x",), (".git",)])
def test_what_a_grant_denies_is_added_to_the_default(deny: tuple[str, ...]) -> None:
    for grant in (
        Grant(read=("**",), write=("**",), deny=deny),
        Grant.from_values({"read": ["**"], "write": ["**"], "deny": list(deny)}),
    ):
        for path in (".git/config", ".workyard/agents/mine.yaml", ".WorkYard", ".env", *deny):
            assert not grant.may_write(path)
            assert not grant.may_read(path)
        narrowed = grant.model_copy(update={"deny": (*grant.deny, "y")})
        assert Grant.from_json(narrowed.model_dump_json()) == narrowed
        assert narrowed.denies("y")


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("**/**/**/**/**/**/**/x", "a/" * 200 + "y"),
        ("*a*a*b", "a" * 250),
        ("**/*a*a*b/x", "/".join(["a" * 250] * 16)),
        ("**/a/**/a/**/x", "a/" * 250 + "y"),
    ],
)
def test_no_glob_takes_long_to_match(glob: str, path: str) -> None:
    started = time.monotonic()
    assert not Grant(read=(glob,)).may_read(path)
    assert time.monotonic() - started < 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "valid dictionary"),
        ("[]", "valid dictionary"),
        ('{"tools": ["reed_file"]}', "there is no tool 'reed_file'; the tools are 'read_file'"),
        ('{"tool": []}', "there is no field 'tool'; the fields are tools, read, write"),
        ('{"tools": "read_file"}', "tools"),
        ('{"read": "**"}', "read"),
        ('{"read": ["/etc/**"]}', "relative to the workspace"),
        ('{"read": ["../**"]}', "relative to the workspace"),
        ('{"write": [""]}', "relative to the workspace"),
        ('{"deny": ["[z-a]"]}', "not well formed"),
        ('{"limits": {"matches": 0}}', "limits.matches"),
        ('{"limits": {"match": 1}}', "limits.match"),
        ('{"limits": {"matches": "5"}}', "limits.matches"),
        ('{"limits": {"matches": true}}', "limits.matches"),
        ('{"limits": {"call_s": Infinity}}', "limits.call_s"),
        ('{"limits": {"call_s": NaN}}', "limits.call_s"),
        ('{"deny": ["a"], "deny": []}', "'deny' stands there twice"),
        ('{"read": ["*a*a*a*a*b"]}', "at most 3 '*'"),
        ('{"read": ["**/a/**/a/**/a/**"]}', "at most 3 '*'"),
        ('{"read": ["\\ud800"]}', "lone surrogate"),
    ],
)
def test_a_broken_grant_is_one_clear_error(text: str, says: str) -> None:
    """A configuration that cannot be read must never mean that everything is allowed."""
    with pytest.raises(InvalidInputError) as refused:
        Grant.from_json(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_grant_is_read_from_json_and_cannot_be_changed() -> None:
    grant = Grant.from_json('{"tools": ["grep"], "read": ["**"], "limits": {"matches": 5}}')
    assert grant == Grant(tools=("grep",), read=("**",), limits=grant.limits)
    assert grant.limits.matches == 5
    assert Grant.from_json("{}") == Grant()
    with pytest.raises(ValidationError):
        grant.tools = ("write_file",)
