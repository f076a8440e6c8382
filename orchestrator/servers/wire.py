"""What connections to servers have in common, however they are made."""

from fastmcp.client.transports.base import VersionAwareClientSession
from mcp_types import CallToolResult

MAX_MESSAGE_BYTES = 4_000_000
"""Bytes of one message: a picture, or the tools of a large server. A result is cut further."""


class UncheckedSession(VersionAwareClientSession):
    """A session that takes a result as it comes.

    The SDK holds it against the schema that the server has given for it. An agent reads text; and a
    schema of somebody else's can take forever to apply.
    """

    async def validate_tool_result(self, name: str, result: CallToolResult) -> None:
        """Let a result pass."""
