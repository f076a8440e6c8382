"""What a grant allows: nothing that it does not say, and never what is denied."""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from pydantic import ValidationError

from mcp_server.errors import InvalidInputError, PermissionDeniedError
from mcp_server.fence.grant import (
    DEFAULT_DENY,
    MAX_WITHIN,
    NEVER_ALLOWED,
    TOOL_NAMES,
    WRITING_TOOLS,
    Grant,
    Limits,
    Reach,
)
from mcp_server.fence.search import Query
from mcp_server.fence.workspace import Workspace
from mcp_server.settings import JournalSettings
from tests.mcp_server.conftest import Yard, write_text

EVERYTHING = ("**",)


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
    assert (grant.deny, grant.allow, grant.within) == ((), (), ())


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


def test_the_tools_that_write_are_some_of_all() -> None:
    assert set(WRITING_TOOLS) < set(TOOL_NAMES)


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
        narrowed = grant.denying(("y",))
        assert Grant.from_json(narrowed.model_dump_json()) == narrowed
        assert narrowed.denies("y")
        assert all(narrowed.denies(path) for path in deny)


def test_what_is_denied_beyond_the_grant_must_be_well_formed() -> None:
    with pytest.raises(InvalidInputError, match="relative to the workspace"):
        Grant.full().denying(("../x",))


@pytest.mark.parametrize(
    ("allow", "opened", "closed"),
    [
        ((".env.example",), [".env.example", "a/.env.example", ".ENV.Example"], [".env", ".env.x"]),
        (("a/.env",), ["a/.env"], [".env", "b/a/.env"]),
        ((".git",), [".git/config", ".git/hooks/x", "sub/.git/a"], [".git/x.pem", ".git/.env"]),
        ((".git", "*.pem"), [".git/x.pem", "a.pem"], [".git/.env", "x.key"]),
        ((".git/**",), [".git/config", ".git/x.pem"], ["sub/.git/config", "x.pem"]),
        ((".git/config",), [], [".git", ".git/config", "config/.git"]),
        (("config", "*.md"), [], [".git/config", ".ssh/config", ".git/a.md"]),
        ((".git/.env",), [], [".git/.env", ".env"]),
    ],
)
def test_allow_exempts_what_it_names_and_no_other_default(
    allow: tuple[str, ...], opened: list[str], closed: list[str]
) -> None:
    grant = Grant(read=EVERYTHING, write=EVERYTHING, allow=allow)
    for path in opened:
        assert (grant.may_read(path), grant.may_write(path)) == (True, True), path
    for path in closed:
        assert (grant.may_read(path), grant.may_write(path)) == (False, False), path
        assert grant.denies(path)


def test_an_allowed_directory_may_be_listed() -> None:
    grant = Grant(read=EVERYTHING, allow=(".git/**",))
    assert grant.may_list(".git")
    assert grant.may_list(".git/hooks")
    assert not grant.may_list(".ssh")


def test_allow_opens_nothing_that_is_not_granted() -> None:
    grant = Grant(read=("src/**",), allow=(".env", ".git"))
    assert not grant.may_read(".env")
    assert not grant.may_list(".git")
    assert not grant.may_write("src/.env")
    assert grant.may_read("src/.env")


@pytest.mark.parametrize("allow", [("**",), (".workyard", ".workyard-*.tmp"), (".workyard/**",)])
def test_no_grant_opens_policy_or_our_temporary_files(allow: tuple[str, ...]) -> None:
    grant = Grant(read=EVERYTHING, write=EVERYTHING, allow=allow)
    for path in (".workyard", ".workyard/agents/a.yaml", "a/.WorkYard/x", ".workyard-0f.tmp"):
        assert grant.denies(path)
        assert not grant.may_read(path)
        assert not grant.may_write(path)
        assert not grant.may_list(path)


def test_what_a_grant_denies_wins_over_what_it_allows() -> None:
    grant = Grant(read=EVERYTHING, deny=(".git/hooks", ".env"), allow=(".git", ".env", "**"))
    assert not grant.may_read(".env")
    assert not grant.may_read(".git/Hooks/pre-commit")
    assert grant.may_read(".git/config")


async def test_what_is_allowed_is_read_listed_and_found_in_real_files(yard: Yard) -> None:
    for path in (".env", ".env.example", "src/.env.example", ".git/config", ".git/.env.example"):
        yard.write(path, "KEY=1\n")
    grant = Grant(read=EVERYTHING, allow=(".env.example",))
    async with Workspace.open(yard.root, grant) as workspace:
        assert (await workspace.read_text(".env.example")).text == "KEY=1\n"
        listing = await workspace.list_directory(".", depth=2)
        found = await workspace.search(Query(pattern="KEY"))
    assert [entry.path for entry in listing.entries if ".env" in entry.path] == [
        ".env.example",
        "src/.env.example",
    ]
    assert [match.path for match in found.matches] == [".env.example", "src/.env.example"]


@pytest.mark.parametrize("allow", [(), (".env.example",), (".git",), (".git/**",), ("*.pem",)])
def test_what_may_be_read_is_never_said_to_be_skippable(allow: tuple[str, ...]) -> None:
    grant = Grant(read=EVERYTHING, allow=allow, deny=("x",))
    skipping = Grant(read=EVERYTHING, allow=EVERYTHING, deny=grant.skippable)
    for path in (*PATHS, ".env.example", "a/.git/x.pem"):
        assert not (grant.may_read(path) and skipping.denies(path)), path
    assert {".workyard", "x", ".ssh"} <= {*grant.skippable, *([".ssh"] * (".git/**" in allow))}
    assert set(Grant().skippable) == {*NEVER_ALLOWED, *DEFAULT_DENY}


COMPONENTS = ("a", "b", "src", ".git", ".GIT", ".env", ".env.x", "x.pem", "id_rsa", ".workyard")
PIECES = (*COMPONENTS, "*", "**", "?", "*.pem", ".env*", "[ab]", "s*")
CHANCE = random.Random(3)
PATHS = sorted({"/".join(CHANCE.choices(COMPONENTS, k=CHANCE.randint(1, 4))) for _ in range(150)})


def some_grant(chance: random.Random) -> Grant:
    def globs(most: int, *besides: str) -> tuple[str, ...]:
        some = ("/".join(chance.choices(PIECES, k=chance.randint(1, 3))) for _ in range(most))
        return (*(glob for glob in some if glob.count("**") < 3), *besides[: chance.randint(0, 1)])

    return Grant(
        tools=tuple(chance.sample(TOOL_NAMES, chance.randint(0, len(TOOL_NAMES)))),
        read=globs(3, "**"),
        write=globs(3, "**"),
        deny=globs(chance.randint(0, 2)),
        allow=globs(chance.randint(0, 3), "**"),
        limits=Limits(matches=chance.randint(1, 9), calls=chance.choice([None, 3, 5])),
    )


def answers(grant: Grant) -> Iterator[bool]:
    """Yield what a grant says to every question, True being the freer answer."""
    yield from map(grant.allows_tool, TOOL_NAMES)
    asks: tuple[Callable[[str], bool], ...] = (grant.may_read, grant.may_write, grant.may_list)
    for path in (".", *PATHS):
        yield from (ask(path) for ask in asks)
        yield not grant.denies(path)


def test_a_narrowed_grant_allows_what_both_allow_in_either_order_and_through_json() -> None:
    chance = random.Random(11)
    yes = 0
    for _ in range(30):
        one, two, three = (some_grant(chance) for _ in range(3))
        both = [a and b for a, b in zip(answers(one), answers(two), strict=True)]
        all_three = [a and b for a, b in zip(both, answers(three), strict=True)]
        yes += sum(all_three)

        assert list(answers(one.narrowed_by(two))) == both
        assert list(answers(two.narrowed_by(one))) == both
        for narrowed in (
            one.narrowed_by(two).narrowed_by(three),
            three.narrowed_by(two.narrowed_by(one)),
            Grant.from_json(two.narrowed_by(one).narrowed_by(three).model_dump_json()),
        ):
            assert list(answers(narrowed)) == all_three
            every = (one.limits.calls, two.limits.calls, three.limits.calls)
            assert narrowed.limits.calls == min(filter(None, every), default=None)
            assert narrowed.limits.matches == min(g.limits.matches for g in (one, two, three))
            assert set(narrowed.tools) == {*one.tools} & {*two.tools} & {*three.tools}
            assert {*one.skippable, *two.skippable, *three.skippable} == {*narrowed.skippable}
    assert yes > 300


def test_an_operator_who_allows_nothing_opens_nothing() -> None:
    for narrowed in (
        Grant.full().narrowed_by(Grant(read=EVERYTHING, allow=EVERYTHING)),
        Grant(read=EVERYTHING, allow=EVERYTHING).narrowed_by(Grant.full()),
    ):
        assert not narrowed.may_read(".env")
        assert narrowed.may_read("a")


def test_what_is_narrowed_further_stays_narrow_and_flat() -> None:
    narrow = Grant(read=("docs/**",))
    again = narrow
    for _ in range(100):
        again = Grant.full().narrowed_by(again).narrowed_by(narrow)
    assert not again.may_read("a")
    assert again.may_read("docs/a")
    assert len(again.within) == 1
    for number in range(1, MAX_WITHIN):
        again = again.narrowed_by(Grant(read=(f"{number}",)))
    with pytest.raises(InvalidInputError, match=f"at most {MAX_WITHIN} items"):
        again.narrowed_by(Grant(read=("one more",)))


def test_a_grant_cannot_pose_as_what_another_lies_within() -> None:
    """What it lies within itself would be forgotten on the way through JSON."""
    with pytest.raises(ValidationError, match="within"):
        Grant(within=(Grant.full().narrowed_by(Grant()),))
    assert Grant(within=(Reach(),)).within == (Reach(),)


@pytest.mark.parametrize("depth", [1, 2, 100, 10_000])
def test_a_grant_nested_in_its_text_is_one_clear_error(depth: int) -> None:
    text = '{"within": [' * (depth + 1) + "]}" * (depth + 1)
    with pytest.raises(InvalidInputError, match=r"no field 'within.0.within'|not JSON"):
        Grant.from_json(text)


@pytest.mark.parametrize(
    ("grant", "says"),
    [
        (Grant(read=("docs/**",)), "what may be: 'docs/**', unless denied."),
        (Grant(read=("docs/*",), within=(Reach(read=EVERYTHING),)), "be: 'docs/*', unless denied."),
        (
            Grant(read=("docs/*",), within=(Reach(read=("*/a", "b")),)),
            "what may be: 'docs/*'; of that only: '*/a', 'b', unless denied.",
        ),
        (Grant(read=("docs/*",), within=(Reach(),)), "may not be read: nothing may, here."),
        (Grant(read=EVERYTHING, within=(Reach(read=EVERYTHING, deny=("src",)),)), "out of reach"),
    ],
)
async def test_a_refusal_names_what_every_grant_leaves(yard: Yard, grant: Grant, says: str) -> None:
    async with Workspace.open(yard.root, grant) as workspace:
        with pytest.raises(InvalidInputError) as refused:
            await workspace.read_text("src/app.py")
    assert says in str(refused.value)


@pytest.mark.parametrize("is_reader", [True, False])
async def test_a_journal_is_kept_only_where_every_grant_lets_something_be_written(
    yard: Yard, is_reader: bool
) -> None:
    other = Grant(read=EVERYTHING) if is_reader else Grant.full()
    settings = JournalSettings(yard.outside / "journals")
    grant = Grant.full().narrowed_by(other)
    async with Workspace.open(yard.root, grant, journal=settings) as workspace:
        with suppress(PermissionDeniedError):
            await write_text(workspace, "new.txt", "x")
        assert settings.directory.exists() == (not is_reader)


def test_no_path_makes_the_look_at_each_name_on_the_way_long() -> None:
    slow = "**/.env/**/.env/**/x"
    grant = Grant(read=EVERYTHING, allow=(slow, "**/.env"))
    started = time.monotonic()
    assert grant.may_read("/".join([".env"] * 255))
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("null", "valid dictionary"),
        ("[]", "valid dictionary"),
        ('{"tools": ["reed_file"]}', "there is no tool 'reed_file'; the tools are 'read_file'"),
        ('{"tool": []}', "there is no field 'tool'; the fields are read, write, deny"),
        ('{"tools": "read_file"}', "tools"),
        ('{"read": "**"}', "read"),
        ('{"read": ["/etc/**"]}', "relative to the workspace"),
        ('{"read": ["../**"]}', "relative to the workspace"),
        ('{"write": [""]}', "relative to the workspace"),
        ('{"deny": ["[z-a]"]}', "not well formed"),
        ('{"limits": {"matches": 0}}', "limits.matches"),
        ('{"limits": {"match": 1}}', "no field 'limits.match'; the fields are read_lines,"),
        ('{"limits": {"calls": 0}}', "limits.calls"),
        ('{"within": [{"tools": []}]}', "no field 'within.0.tools'; the fields are read,"),
        ('{"within": {}}', "within"),
        ('{"allow": ["/etc"]}', "relative to the workspace"),
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


@pytest.mark.parametrize(
    "path",
    [
        *(".mcp.json", ".vscode/tasks.json", ".vscode/mcp.json", ".cursor/mcp.json", ".envrc"),
        *(".claude/settings.json", ".codex/config.toml", ".gemini/settings.json", ".zed/x"),
        *(".junie/mcp/mcp.json", "opencode.json", "sub/opencode.jsonc", ".idea/workspace.xml"),
        *(".devcontainer/devcontainer.json", ".git/hooks/pre-commit", "sub/.VSCODE/tasks.json"),
    ],
)
def test_what_starts_programs_when_somebody_opens_the_directory_cannot_be_written(
    path: str,
) -> None:
    everything = Grant.from_values({"read": ("**",), "write": ("**",)})

    assert not everything.may_write(path)
