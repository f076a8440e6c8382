"""What this process has read of sessions, so that a claim reads only what has come since.

Messages on record are never changed: what was read once still holds. A conversation of hours would
otherwise be read from its beginning at each of its turns.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic_ai.messages import ModelMessage
from sqlalchemy import Connection

from orchestrator.store.compaction import ModelWindow, load_window, longer_window

MAX_CHARS = 50_000_000
"""How long the JSON may have been that is kept: of some hundred sessions as long as models take."""

T = TypeVar("T")


@dataclass
class Pasts:
    """What models are given of the sessions that were claimed last."""

    _read: OrderedDict[tuple[int, str, int], ModelWindow] = field(default_factory=OrderedDict)
    """By key and id of the session, and the compaction with which it begins."""
    _chars: int = 0

    def window(
        self, db: Connection, session_id: str, session_pk: int, *, upto: int, window_seq: int
    ) -> ModelWindow:
        """Return what a model is given of a session up to a message, for the caller to change.

        Args:
            db: An open connection.
            session_id: The session.
            session_pk: Its key.
            upto: The last message.
            window_seq: The compaction to begin with, or 0.

        Raises:
            HistoryUnreadableError: If it cannot be read; it names session and message.
        """
        this = (session_pk, session_id, window_seq)
        known = self._taken(this)
        window = known and longer_window(db, session_id, session_pk, known, upto=upto)
        if window is None:
            window = load_window(db, session_id, session_pk, upto=upto, window_seq=window_seq)
        self._keep(this, window)
        return ModelWindow(
            [_twin(message) for message in window.given],
            [(seq, _twin(message)) for seq, message in window.rest],
        )

    def _taken(self, this: tuple[int, str, int]) -> ModelWindow | None:
        known = self._read.pop(this, None)
        self._chars -= 0 if known is None else known.chars
        return known

    def _keep(self, this: tuple[int, str, int], window: ModelWindow) -> None:
        self._read[this] = window
        self._chars += window.chars
        while self._chars > MAX_CHARS:
            self._taken(next(iter(self._read)))


def _twin(message: ModelMessage) -> ModelMessage:
    """Return a message whose fields and parts can be changed without changing this one's."""
    twin = _copied(message)
    twin.parts = [_copied(part) for part in message.parts]  # type: ignore[assignment]  # its own
    return twin


def _copied(original: T) -> T:
    """Do as `copy.copy` does with an object of a class without slots, in a fifth of the time."""
    copied = object.__new__(type(original))
    copied.__dict__.update(original.__dict__)
    return copied
