"""How much one server does in its life."""

from mcp_server.errors import LimitError


class Calls:
    """Counts what reaches the workspace: calls of tools, and what gives the same in another way."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._made = 0

    def count(self) -> None:
        """Count one more.

        Raises:
            LimitError: there are no more.
        """
        self._made += 1
        if self._limit is not None and self._made > self._limit:
            raise LimitError(
                f"This server takes {self._limit} calls in all, and they are used up. Finish the "
                "work with what you have, without more calls.",
                limit=self._limit,
                actual=self._made,
                unit="calls",
            )
