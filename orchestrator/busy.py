"""What becomes of a turn whose session another run holds: refused, in line, or on a fork."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio

from orchestrator.errors import InvalidInputError, SessionBusyError
from orchestrator.lifecycle import WAYS_WHEN_BUSY, WhenBusy
from orchestrator.runner import RunHandle, Runner, RunRequest

WAIT_S = 600.0
"""How long a turn stands in line unless its caller says otherwise."""


@dataclass
class _Line:
    """Those of this process who wait for one session, in the order in which they came."""

    turn: anyio.Lock = field(default_factory=anyio.Lock)
    length: int = 0


@dataclass
class Turns:
    """Starts runs in sessions that may be busy."""

    runner: Runner
    _lines: dict[str, _Line] = field(default_factory=dict)

    async def start(
        self, request: RunRequest, *, when_busy: WhenBusy = "reject", wait_s: float = WAIT_S
    ) -> RunHandle:
        """Start a run as `Runner.start` does, and if its session is busy, do what is wished.

        `queue` waits until the session is free. Turns of one process get it in the order in which
        they came; between processes, nobody is first. To cancel the wait leaves nothing behind.
        `fork` runs in a new session that shares what was there before the run under way.

        Raises:
            InvalidInputError: If there is no such way, or `wait_s` is below 0.
            SessionBusyError: If the turn is refused, or has waited for `wait_s` seconds.
        """
        if when_busy not in WAYS_WHEN_BUSY:
            known = ", ".join(map(repr, WAYS_WHEN_BUSY))
            raise InvalidInputError(f"There is no way {when_busy!r} when busy; there is {known}.")
        if not wait_s >= 0:
            raise InvalidInputError(f"A turn cannot wait for {wait_s} s; name 0 or more.")
        session_id = request.draft.session_id
        if session_id is not None and when_busy == "queue":
            return await self._in_line(request, session_id, wait_s)
        try:
            return await self.runner.start(request)
        except SessionBusyError as busy:
            if when_busy == "reject":
                raise
            fork = await self.runner.store.sessions.fork(busy.session_id)
            draft = replace(request.draft, session_id=fork.id)
            return await self.runner.start(replace(request, draft=draft))

    async def _in_line(self, request: RunRequest, session_id: str, wait_s: float) -> RunHandle:
        until = anyio.current_time() + wait_s
        async with self._turn_of(session_id, wait_s):
            while True:
                try:
                    # Out of the deadline's reach: what has begun is not given up.
                    return await self.runner.start(request)
                except SessionBusyError:
                    await self._free(session_id, until - anyio.current_time(), wait_s)

    @asynccontextmanager
    async def _turn_of(self, session_id: str, wait_s: float) -> AsyncGenerator[None]:
        line = self._lines.setdefault(session_id, _Line())
        line.length += 1
        try:
            with anyio.move_on_after(wait_s) as patience:
                await line.turn.acquire()
            if patience.cancelled_caught:
                raise await self._waited(session_id, wait_s)
            try:
                yield
            finally:
                line.turn.release()
        finally:
            line.length -= 1
            if not line.length:
                del self._lines[session_id]

    async def _free(self, session_id: str, left_s: float, wait_s: float) -> None:
        sessions = self.runner.store.sessions
        with anyio.move_on_after(left_s) as patience:
            await sessions.until_free(session_id)
        if patience.cancelled_caught:
            raise await self._waited(session_id, wait_s)

    async def _waited(self, session_id: str, wait_s: float) -> SessionBusyError:
        holder = await self.runner.store.sessions.holder(session_id)
        return SessionBusyError(session_id, holder or "", waited_s=wait_s)
