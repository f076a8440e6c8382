"""TOML, as Codex reads it: one table changes, and the rest stays."""

import pytest
from pydantic import JsonValue

from orchestrator.install import toml
from orchestrator.install.document import Document

PATH = ["mcp_servers", "workyard"]
ENTRY: dict[str, JsonValue] = {
    "command": "/bin/workyard",
    "args": ["serve"],
    "env": {"WORKYARD_MODEL": "offline"},
}

SETTINGS = """\
# of mine
model = "gpt"   # aligned

[mcp_servers.other]
command = "npx"   # keep

[profiles.fast]
effort = "low"
"""


def test_entry_is_put_beside_the_others_and_comments_stay() -> None:
    after = toml.put(SETTINGS, PATH, ENTRY)

    assert [line for line in SETTINGS.splitlines() if line not in after.splitlines()] == []
    assert toml.read(after) == {**_read(SETTINGS), "mcp_servers": {
        "other": {"command": "npx"}, "workyard": ENTRY,
    }}  # fmt: skip
    assert toml.remove(after, PATH) == SETTINGS


@pytest.mark.parametrize(
    "text",
    [
        "",
        'model = "x"',
        SETTINGS,
        SETTINGS.replace("\n", "\r\n"),
        '[mcp_servers]\nother = {command = "z"}\n[tui]\nx = 1\n',
        'mcp_servers = {other = {command = "z"}}\n',
        'mcp_servers.other.command = "z"\n[a]\nb = 1\n',
        '[mcp_servers.other]\ncommand = "z"\n[a]\nb = 1\n[mcp_servers.third]\ncommand = "y"\n',
        "[[list]]\na = 1\n",
    ],
)
def test_entry_is_put_and_removed_however_tables_are_written(text: str) -> None:
    before = Document.parsed(toml, text)
    after = before.put(PATH, ENTRY)  # it is read back and compared

    assert after.get(PATH) == ENTRY
    assert after.put(PATH, ENTRY).text == after.text
    assert after.remove(PATH).get(PATH) is None
    assert after.text.count("\r\n") == (after.text.count("\n") if "\r" in text else 0)


def test_value_is_exchanged_where_it_stands() -> None:
    text = '[mcp_servers.workyard]\ncommand = "old"   # mine\ntool_timeout_sec = 90\n'

    after = toml.put(text, [*PATH, "command"], "new")

    assert after == text.replace("old", "new")


@pytest.mark.parametrize(
    "text", ["a = ", "a = 1\na = 2\n", "mcp_servers = 1\n", "[[mcp_servers]]\n"]
)
def test_what_cannot_be_edited_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"document|line|table|overwrite"):
        toml.put(text, PATH, ENTRY)


def _read(text: str) -> dict[str, object]:
    plain = toml.read(text)
    assert isinstance(plain, dict)
    return {**plain}
