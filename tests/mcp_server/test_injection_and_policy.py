"""Text that poses as an option, and rules that fail open: tried on each place that takes either.

Sources: Antigravity's find_by_name (a pattern `-X sh …` for fd), CVE-2025-68144 and CVE-2026-7812
(arguments as options and commands), DesktopCommander 403 and 419 (a broken or empty configuration
allowed everything; a tool changed it).
"""

import json
from pathlib import Path

import pytest

from mcp_server.errors import InvalidInputError, PermissionDeniedError, ServerError
from mcp_server.fence.grant import TOOL_NAMES, Grant
from mcp_server.fence.workspace import Workspace
from mcp_server.tools.registry import TOOLS
from tests.mcp_server.conftest import SECRET, Yard, write_text
from tests.mcp_server.layouts import snapshot, untouched
from tests.mcp_server.operations import OPERATIONS, answer, called

pytestmark = pytest.mark.usefixtures("no_disk")

OPTIONS = (
    "-X", "-x", "--help", "--version", "--files", "-f", "--file", "-e", "--", "-", "--pcre2",
    "-X sh -c 'touch $MARK'", "--exec=touch $MARK", "-exec touch $MARK ;", "--pre=$SCRIPT",
    "--pre $SCRIPT", "--search-zip", "--hostname-bin=$SCRIPT", "-f$SECRET", "--file=$SECRET",
    "--ignore-file=$SECRET", "--follow", "-L", "--no-ignore", "-uuu", "--type-add=x:$SECRET",
    "$(touch $MARK)", "`touch $MARK`", "; touch $MARK", "| touch $MARK", "& touch $MARK &",
    "*.py\n--pre=$SCRIPT", "a\0--pre=$SCRIPT",
)  # fmt: skip

TEXTS = {
    ("grep", "pattern"): {},
    ("grep", "glob"): {"pattern": "secret"},
    ("find_files", "glob"): {},
}
"""Parameters that are handed to a search; a new one adds its line."""


@pytest.mark.parametrize("place", TEXTS, ids=str)
async def test_no_text_is_an_option_or_a_command(yard: Yard, place: tuple[str, str]) -> None:
    tool, parameter = place
    if tool not in TOOLS:
        pytest.skip(f"there is no {tool} yet")
    mark, script = yard.root / "mark", yard.write("script.sh", "#!/bin/sh\ntouch mark\n")
    script.chmod(0o755)
    names = {"$MARK": mark, "$SCRIPT": script, "$SECRET": yard.outside / "secret.txt"}
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        with untouched(yard.root), untouched(yard.outside):
            for text in OPTIONS:
                for name, path in names.items():
                    text = text.replace(name, str(path))
                said = await called(workspace, tool, {**TEXTS[place], parameter: text})
                assert SECRET not in str(said), text
                assert "ripgrep failed" not in str(said), text
                assert "USAGE" not in str(said).upper(), text


@pytest.mark.parametrize("glob", ["../**", "/etc/*", "../outside/*", "**/../../outside/*", "to/**"])
@pytest.mark.parametrize("tool", ["grep", "find_files"])
async def test_a_glob_finds_nothing_outside(yard: Yard, tool: str, glob: str) -> None:
    if tool not in TOOLS:
        pytest.skip(f"there is no {tool} yet")
    yard.link("to", "../outside")
    arguments = {"glob": glob, **({"pattern": "."} if tool == "grep" else {})}
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        said = str(await called(workspace, tool, arguments)).replace(glob, "")
    for word in ("secret.txt", "passwd", SECRET):
        assert word not in said


BROKEN_GRANTS = (
    "", " ", "{", "null", "[]", '"**"', "true", "1", '{"read": "**"}', '{"read": [1]}',
    '{"read": ["**"], "raed": []}', '{"tools": ["read_file", "set_config_value"]}',
    '{"read": ["../**"]}', '{"read": ["/**"]}', '{"read": ["a//b"]}', '{"deny": null}',
    '{"limits": {"file_bytes": -1}}', '{"limits": {"call_s": 1e999}}',
    '{"read": ["a"], "read": []}',
)  # fmt: skip


@pytest.mark.parametrize("text", BROKEN_GRANTS)
def test_a_broken_grant_is_none(text: str) -> None:
    with pytest.raises(InvalidInputError):
        Grant.from_json(text)


@pytest.mark.parametrize(
    "text", ["{}", '{"tools": []}', '{"tools": ["read_file"]}', '{"deny": []}']
)
async def test_an_empty_grant_allows_nothing(yard: Yard, text: str) -> None:
    async with Workspace.open(yard.root, Grant.from_json(text)) as workspace:
        with untouched(yard.root):
            for operation in OPERATIONS:
                for path in ("src/app.py", "src", "src/new.txt", "."):
                    said = str(await answer(workspace, operation, path))
                    assert "def main" not in said
                    assert "app.py" not in said.replace(path, ""), f"{operation} {path}: {said}"


async def test_what_is_granted_for_reading_is_not_written(yard: Yard) -> None:
    grant = Grant(tools=TOOL_NAMES, read=("**",))
    async with Workspace.open(yard.root, grant) as workspace:
        with untouched(yard.root):
            for operation in OPERATIONS:
                for path in ("src/app.py", "src", "new.txt", "new/new.txt"):
                    await answer(workspace, operation, path)


@pytest.mark.parametrize("name", ["set_config_value", "set_grant", "allow", "add_root", "execute"])
def test_no_tool_changes_policy_or_runs_commands(name: str) -> None:
    assert name not in TOOLS
    assert not [tool for tool in TOOLS.values() if name in tool.arguments.model_fields]


async def test_no_call_changes_the_grant_or_the_files_of_policy(yard: Yard) -> None:
    for name in (".workyard/grant.json", ".workyard/agents/a.yaml", ".git/config"):
        yard.write(name, SECRET)
    grant = Grant.full()
    before = grant.model_dump_json()
    policy = {name: kept for name, kept in snapshot(yard.root).items() if name.startswith(".")}
    async with Workspace.open(yard.root, grant) as workspace:
        for operation in OPERATIONS:
            for path in (".workyard", ".workyard/grant.json", "./.WORKYARD/x", ".git", "."):
                said = await answer(workspace, operation, path)
                assert isinstance(said, ServerError) or path == "." or operation.collects
        assert workspace.grant is grant
    assert grant.model_dump_json() == before
    kept = snapshot(yard.root)
    assert {name: kept.get(name) for name in policy} == policy


@pytest.mark.parametrize("deny", [(), ("mine",), ("!.env",), ("[!.]*",)])
def test_no_rule_of_a_grant_takes_a_default_one_away(deny: tuple[str, ...]) -> None:
    grant = Grant.from_json(json.dumps({"read": ["**"], "write": ["**"], "deny": deny}))
    for path in (".env", "sub/.git/config", ".workyard/x", "a/b/id_rsa", "key.pem"):
        assert not grant.may_read(path)
        assert not grant.may_write(path)


@pytest.mark.parametrize("root", ["", "\0", "missing", "file"])
async def test_a_root_that_cannot_be_opened_serves_nothing(tmp_path: Path, root: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInputError):
        async with Workspace.open(root and f"{tmp_path}/{root}", Grant.full()):
            pass


async def test_a_denied_path_says_so_for_every_way_to_write_it(yard: Yard) -> None:
    """Claude Code, CVE-2025-59829: rules that knew one spelling of a path."""
    yard.write(".env", SECRET)
    yard.link("src/up", "..")
    spellings = (".env", "./.env", ".//.env", "src/../.env", f"{yard.root}/.env", "src/up/.env",
                 f"{yard.root}//src/./../.env", ".ENV", ".eNv")  # fmt: skip
    async with Workspace.open(yard.root, Grant.full()) as workspace:
        for path in spellings:
            with pytest.raises(PermissionDeniedError):
                await workspace.read_text(path)
            with pytest.raises(PermissionDeniedError):
                await write_text(workspace, path, "")
    assert (yard.root / ".env").read_text() == SECRET
