"""No edit of a text counts before it has been read back."""

import pytest

from orchestrator.install import jsonc
from orchestrator.install.document import Document, Path

TEXT = '{"mcpServers": {"other": 1, "workyard": 2}}'


class Careless:
    """A language whose edits lose what stands beside the member."""

    read = staticmethod(jsonc.read)

    def put(self, text: str, path: Path, value: object) -> str:
        return '{"mcpServers": {"workyard": 3}}'

    def remove(self, text: str, path: Path) -> str:
        return '{"mcpServers": {}}'


def test_edit_that_would_say_something_else_is_refused() -> None:
    document = Document.parsed(Careless(), TEXT)

    with pytest.raises(ValueError, match="cannot be edited safely"):
        document.put(["mcpServers", "workyard"], 3)
    with pytest.raises(ValueError, match="cannot be edited safely"):
        document.remove(["mcpServers", "workyard"])


def test_what_is_no_object_has_no_members() -> None:
    document = Document.parsed(jsonc, TEXT)

    assert document.get(["mcpServers", "workyard"]) == 2
    assert document.get(["servers", "workyard"]) is None
    with pytest.raises(ValueError, match=r"'mcpServers\.other' is not an object"):
        document.get(["mcpServers", "other", "x"])
    with pytest.raises(ValueError, match="whole is not an object"):
        Document.parsed(jsonc, "[]")
