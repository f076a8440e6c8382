"""What a store of conversations has to do, whichever framework it belongs to.

Standard library alone: this runs in the peers' environments too.
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from benchmarks.stores.workload import Turn

Model = Callable[[], Awaitable[None]]
"""What is waited for between what the user says and what is answered."""

Conversation = TypeVar("Conversation")
Said = TypeVar("Said")


class TurnStore(Protocol[Conversation, Said]):
    """A store with its own defaults, used as its framework's runner uses it."""

    async def open(self, file: Path) -> None:
        """Open the database, which may be new, by an engine that knows nothing of it."""

    async def begin(self, session: str) -> Conversation:
        """Return what the runner holds of a session, new or not, before a turn."""

    async def turn(self, conversation: Conversation, turn: Turn, model: Model) -> float:
        """Write a turn as the runner does; when this returns, it is durable.

        Returns:
            The seconds of it that went into loading what was said before, as far as it can be
            told: most have loaded that in `begin`.
        """

    async def load(self, session: str) -> Sequence[Said]:
        """Return a session's messages as the framework's own objects, oldest first."""

    def texts(self, messages: Sequence[Said]) -> list[str]:
        """Return what was said, message by message."""

    async def numbers(self, session: str) -> Sequence[int]:
        """Return the numbers that it has given to what a session holds, if it gives any."""

    async def close(self) -> None:
        """Close the database."""


async def at_once() -> None:
    """Answer as a model would, in no time."""


def told(error: Exception) -> str:
    """Return an error in one line."""
    text = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {text[:200]}"
