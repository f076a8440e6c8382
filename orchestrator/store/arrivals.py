"""Readers in this process, woken when something has been written to their session."""

from dataclasses import dataclass, field

import anyio


@dataclass
class Arrivals:
    """Wakes the readers of a session in this process when something has been written to it."""

    _waiting: dict[str, anyio.Event] = field(default_factory=dict)

    def announce(self, session_id: str) -> None:
        """Wake everybody who waits for this session."""
        if waiting := self._waiting.pop(session_id, None):
            waiting.set()

    def next(self, session_id: str) -> anyio.Event:
        """Return what is set at the next announcement. Take it before looking, wait after."""
        return self._waiting.setdefault(session_id, anyio.Event())
