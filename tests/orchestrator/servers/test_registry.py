"""`servers.toml` is read strictly, holds no secret, and says what it means."""

from pathlib import Path

import pytest

from orchestrator.errors import NotFoundError, ServerSettingsError
from orchestrator.servers.names import is_name, is_tool
from orchestrator.servers.registry import FILE, Registry, load_servers

WHOLE = """
[github]
command = ["npx", "-y", "server-github"]
env = ["GITHUB_TOKEN"]
tools = ["search_issues", "create_issue"]
ask = ["create_issue"]
start_timeout_s = 60

[wiki-2]
url = "https://wiki.example/mcp"
ask = ["*"]
shared = true
call_timeout_s = 5.5
result_bytes = 2000

[wiki-2.headers]
Authorization = "Bearer ${WIKI_TOKEN}"
X-Tenant = "${WIKI_TENANT}"
"""


def read(directory: Path, text: str) -> Registry:
    (directory / FILE).write_text(text, encoding="utf-8")
    return load_servers(directory)


def test_without_a_file_there_are_no_servers(tmp_path: Path) -> None:
    registry = load_servers(tmp_path)

    with pytest.raises(NotFoundError, match=r"They are registered in servers\.toml, beside models"):
        registry.get("github")


def test_all_that_can_be_said_is_read(tmp_path: Path) -> None:
    registry = read(tmp_path, WHOLE)

    github, wiki = registry.get("github"), registry.get("wiki-2")
    assert github.variables == ("GITHUB_TOKEN",)
    assert wiki.variables == ("WIKI_TOKEN", "WIKI_TENANT")
    assert wiki.missing({"WIKI_TOKEN": "x", "WIKI_TENANT": ""}) == ("WIKI_TENANT",)
    assert (github.allows("search_issues"), github.allows("delete_repo")) == (True, False)
    assert (wiki.allows("anything"), wiki.asks("anything")) == (True, True)
    assert (github.asks("create_issue"), github.asks("search_issues")) == (True, False)
    assert (github.shared, wiki.shared) == (False, True)
    with pytest.raises(NotFoundError, match="no MCP server 'githib'; did you mean 'github'"):
        registry.get("githib")


COMMAND = "[a]\ncommand = ['x']\n"
URL = "[a]\nurl = 'http://x/'\n"


@pytest.mark.parametrize(
    ("text", "line", "key", "part"),
    [
        ("a = 1", 1, "a", "a server is a table, as [github]"),
        ("\n[a]\n", 2, "a", "either a command or a url"),
        (f"{COMMAND}url = 'http://x'", 1, "a", "either a command or a url"),
        (f"{COMMAND}comand = ['x']", 3, "a.comand", "did you mean 'command'?"),
        ("[servers.a]\ncommand = ['x']", 1, "servers.a", "there is no such setting"),
        ("[a]\ncommand = 'x -y'", 2, "a.command", 'this is a list, as ["one", "another"]'),
        ("[a]\ncommand = []", 2, "a.command", "at least 1 item"),
        ("[a]\ncommand = ['']", 2, "a.command[0]", "at least 1 character"),
        (f"{COMMAND}env = ['A=1']", 3, "a.env[0]", "names of variables"),
        (f"{COMMAND}headers = {{A = '${{B}}'}}", 1, "a", "headers are for a server with a url"),
        (f"{URL}env = ['A']", 1, "a", "env is for a server with a command"),
        ("[a]\nurl = 'ftp://x'", 2, "a.url", "no http(s) URL"),
        ("[a]\nurl = 'http://u:p@x/'", 2, "a.url", "holds no key, user or query"),
        ("[a]\nurl = 'http://x/?key=1'", 2, "a.url", "holds no key, user or query"),
        (f"{URL}headers = {{A = 'Bearer x'}}", 3, "a.headers.A", "as in 'Bearer ${VARIABLE}'"),
        (f"{URL}[a.headers]\nA = '${{B}}, ${{C}}'", 4, "a.headers.A", "a header is '${VARIABLE}'"),
        (f"{COMMAND}\ntools = [\n  'a b',\n]", 4, "a.tools[0]", "letters, digits and _ . - only"),
        (f"{COMMAND}tools = ['{'x' * 62}']", 3, "a.tools", "shorten it"),
        (f"{COMMAND}tools = ['b']\nask = ['c']", 4, "a.ask", "'c' is not among the tools"),
        (f"{COMMAND}ask = ['a b']", 3, "a.ask[0]", "'*' is all of them"),
        (f"{COMMAND}start_timeout_s = 0", 3, "a.start_timeout_s", "greater than 0"),
        (f"{COMMAND}call_timeout_s = nan", 3, "a.call_timeout_s", "finite"),
        (f"{COMMAND}result_bytes = 1", 3, "a.result_bytes", "greater than or equal to 1000"),
        (f"{COMMAND}shared = 'yes'", 3, "a.shared", "valid boolean"),
        ("[a__b]\ncommand = ['x']", 1, "a__b", "a server's name is small letters"),
        ("['a b']\ncommand = ['x']", 1, '"a b"', "a server's name is small letters"),
        ("[a", None, None, "Expected ']'"),
    ],
)
def test_what_cannot_be_meant_is_an_error_with_line_and_key(
    tmp_path: Path, text: str, line: int | None, key: str | None, part: str
) -> None:
    with pytest.raises(ServerSettingsError) as caught:
        read(tmp_path, text)

    assert (caught.value.line, caught.value.key) == (line, key)
    assert part in caught.value.problem
    where = f":{line}: {key}: " if line else ": "
    assert str(caught.value).startswith(f"{tmp_path / FILE}{where}")


@pytest.mark.parametrize(
    "line",
    [
        "token = 's3cret'",
        "env = ['s3cret-value']",
        "env = {TOKEN = 's3cret'}",
        "headers = {Authorization = 'Bearer s3cret'}",
        "url = 'https://x/?token=s3cret'",
        "url = 's3cret'",
        "call_timeout_s = 's3cret'",
    ],
)
def test_secret_in_the_file_is_refused_and_not_shown(tmp_path: Path, line: str) -> None:
    with pytest.raises(ServerSettingsError) as caught:
        read(tmp_path, f"[a]\n{line}\n")

    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_file_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"\xff\xfe")

    with pytest.raises(ServerSettingsError, match="no UTF-8 text"):
        load_servers(tmp_path)


@pytest.mark.parametrize(
    "name", ["", "A", "a_", "a__b", "_a", "a b", "1a", "a\n", "é", "a" * 33, 1]
)
def test_name_that_could_be_read_in_two_ways_is_none(name: object) -> None:
    assert not is_name(name)
    assert is_name("git-hub_2")


@pytest.mark.parametrize("name", ["", "a b", "a\n", "a/b", "\x1ba", "é", "a" * 129, None])
def test_tool_of_an_odd_name_cannot_be_asked_for(name: object) -> None:
    assert not is_tool(name)
    assert is_tool("Search.issues-2_x")
