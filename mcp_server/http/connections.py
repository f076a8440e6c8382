"""A connection that is not kept for a client that asks nothing, or does not read."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

IDLE_S = 15
"""Seconds in which a request has to be sent, and the rest of an answer read once it is written."""


class BoundedProtocol(H11Protocol):
    """HTTP/1.1 of uvicorn, which itself waits without end for the first request of a connection."""

    _look: asyncio.TimerHandle | None = None
    _was_idle = False

    def connection_made(self, transport: Any) -> None:  # as uvicorn declares it
        """Begin to look at the connection now and then."""
        super().connection_made(transport)
        self._look = self.loop.call_later(IDLE_S, self._look_at_it)

    def connection_lost(self, exc: Exception | None) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def _look_at_it(self) -> None:
        # uvicorn declares it as always there; before the first request it is not.
        cycle = cast("RequestResponseCycle | None", self.cycle)
        is_idle = cycle is None or cycle.response_complete
        if is_idle and (self._was_idle or cycle is None):
            self.transport.abort()
            return
        self._was_idle = is_idle
        self._look = self.loop.call_later(IDLE_S, self._look_at_it)
