"""Where the file of token hashes may lie."""

from pathlib import Path

import pytest

from mcp_server.errors import InvalidInputError
from mcp_server.http.tokens import StaticTokens, add_token
from tests.mcp_server.conftest import Yard

pytestmark = pytest.mark.anyio


def test_token_file_below_the_root_is_refused(yard: Yard) -> None:
    add_token(yard.root / "tokens", "a", ["files:read"], days=1)
    (yard.outside / "link").symlink_to(yard.root / "tokens")
    for file in (yard.root / "tokens", yard.outside / "link"):
        with pytest.raises(InvalidInputError, match="below the root"):
            StaticTokens(file, yard.root)


async def test_no_token_is_taken_once_its_file_has_come_to_lie_below_the_root(yard: Yard) -> None:
    """Whoever may write files there could give themselves any scope."""
    real, link = yard.outside / "tokens", yard.outside / "link"
    token = add_token(real, "a", ["files:read"], days=1)
    link.symlink_to(real)
    tokens = StaticTokens(link, yard.root)
    assert await tokens.verify_token(token) is not None

    moved: Path = real.rename(yard.root / "tokens")  # the same file: size, time and inode
    link.unlink()
    link.symlink_to(moved)

    assert await tokens.verify_token(token) is None
