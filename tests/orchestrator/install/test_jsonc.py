"""JSON as people write it: one member changes, and not a byte of the rest."""

import json
import random

import pytest
from pydantic import JsonValue

from orchestrator.install import jsonc
from orchestrator.install.document import Document

PATH = ["mcpServers", "workyard"]
ENTRY: dict[str, JsonValue] = {"command": "/bin/workyard", "args": ["serve", "--root", "/r"]}

COMMENTED = """\
// of mine
{
    "theme": "dark", /* the "better" one */
    "mcpServers": {
        // the other one
        "other": {"command": "npx", "args": ["-y", "x"]}, // keep
    },
    "list": [1, 2,], // , }
}
"""


def test_member_is_put_in_the_style_of_the_file_and_comments_stay() -> None:
    after = jsonc.put(COMMENTED, PATH, ENTRY)

    added = """\
        "workyard": {
            "command": "/bin/workyard",
            "args": [
                "serve",
                "--root",
                "/r"
            ]
        },
"""
    assert after == COMMENTED.replace('    },\n    "list"', added + '    },\n    "list"')


WITH_SERVERS = [
    COMMENTED,
    COMMENTED.replace("\n", "\r\n"),
    COMMENTED.replace("    ", "\t"),
    '{"mcpServers":{"other":{"command":"x"}},"a":1}',
    '{"mcpServers": {"other": 1, // one\n }}',
    '{\n  "mcpServers": {\n    "other": 1 // last\n  } // servers\n}',
    '{"mcpServers": {}}',
    '{\n  "mcpServers": {\n    "other": {}\n  }\n}\n',
]


@pytest.mark.parametrize("text", WITH_SERVERS)
def test_what_is_put_and_removed_again_leaves_every_byte_as_it_was(text: str) -> None:
    after = jsonc.put(text, PATH, ENTRY)

    assert after != text
    assert jsonc.remove(after, PATH) == text
    assert ("\r\n" in text) == ("\r\n" in after)
    assert after.count("\n") == after.count("\r\n") or "\r" not in after


@pytest.mark.parametrize("text", ["", " \n", "{}", "{ }", "{\n}\n", "{ // x\n}", "{/* x */}"])
def test_empty_file_gets_what_is_missing_around_the_member(text: str) -> None:
    after = jsonc.put(text, PATH, ENTRY)

    assert jsonc.read(after) == {"mcpServers": {"workyard": ENTRY}}
    assert "// x" not in text or "// x\n" in after
    assert jsonc.put(after, PATH, ENTRY) == after


def test_value_of_a_member_is_exchanged_where_it_stands() -> None:
    text = '{"mcpServers": {"workyard": {"args": ["a"], "trust": true /* mine */}}}'

    after = jsonc.put(text, [*PATH, "args"], ["b", "c"])

    assert after == text.replace('["a"]', '["b", "c"]')


BROKEN = [
    ("{", "line 1: it ends too early"),
    ('{\n"a": }', "line 2: there should be a value"),
    ('{"a": 1 "b": 2}', "a comma is missing"),
    ('{"a" 1}', "a colon is missing"),
    ("{'a': 1}", '"\'" is not JSON'),
    ("{a: 1}", "there should be a value"),
    ('{"a": NaN}', "there should be a value"),
    ('{"a": 1} {}', "more behind the end"),
    ('{"a": 1} /* open', "is not JSON"),
    ("{1: 2}", "must be text in quotes"),
    ('{"a": [1 2]}', "a comma is missing"),
    ("[" * 5000 + "]" * 5000, "nested too deeply"),
    ('{"a": "\\x"}', "there should be a value"),
]


@pytest.mark.parametrize(("text", "problem"), BROKEN, ids=[text[:12] for text, _ in BROKEN])
def test_what_is_not_json_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match="line") as caught:
        jsonc.put(text, PATH, ENTRY)
    assert problem in str(caught.value)


def test_error_shows_nothing_of_a_value() -> None:
    with pytest.raises(ValueError, match="line 1") as caught:
        jsonc.read('{"key": sk-very-secret}')
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[]", "the whole is not an object"),
        ('{"mcpServers": []}', "'mcpServers' is not an object"),
        ('{"mcpServers": {}, "mcpServers": {}}', "has 'mcpServers' twice"),
        ('{"mcpServers": {"workyard": 1, "workyard": 2}}', "has 'workyard' twice"),
    ],
)
def test_shape_that_hosts_would_read_differently_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=r"object|twice") as caught:
        jsonc.put(text, PATH, ENTRY)
    assert problem in str(caught.value)


class Generator:
    """Texts of every layout, with comments that look like JSON."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def text(self) -> str:
        return self.gap() + self.object(0) + self.gap()

    def gap(self) -> str:
        gaps = ["", "", " ", "\n", "\n  ", ' // {"c\n', "/* } */", "\t", "\r\n  ", "\n// ,\n"]
        return self._random.choice(gaps)

    def value(self, depth: int) -> str:
        choice = self._random.random()
        if depth > 3 or choice < 0.4:
            return self._random.choice(["1", '"a\\"b"', "true", "null", "-1.5e3", '"//no"'])
        return self.object(depth) if choice < 0.8 else self.array(depth)

    def object(self, depth: int) -> str:
        names = self._random.sample(
            ["mcpServers", "workyard", "o", "p"], self._random.randint(0, 3)
        )
        members = [
            self.gap() + json.dumps(name) + self.gap() + ":" + self.gap()
            + self.value(depth + 1) + self.gap()
            for name in names
        ]  # fmt: skip
        return "{" + ",".join(members) + self.comma(members) + self.gap() + "}"

    def array(self, depth: int) -> str:
        items = [self.gap() + self.value(depth + 1) for _ in range(self._random.randint(0, 3))]
        return "[" + ",".join(items) + self.comma(items) + self.gap() + "]"

    def comma(self, parts: list[str]) -> str:
        return "," if parts and self._random.random() < 0.3 else ""


def test_of_any_layout_only_the_member_changes_its_meaning() -> None:
    generator, edited = Generator(7), 0
    for _ in range(1500):
        document = Document.parsed(jsonc, generator.text())
        if not isinstance(document.plain.get("mcpServers", {}), dict):
            continue
        edited += 1
        after = document.put(PATH, ENTRY)  # each step is read back and compared
        assert after.get(PATH) == ENTRY
        assert after.put(PATH, ENTRY).text == after.text
        assert after.remove(PATH).get(PATH) is None
    assert edited > 1000
