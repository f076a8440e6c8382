"""When a call must be over; threads cannot be cancelled, so their work asks."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mcp_server.errors import LimitError

_LONG_WAIT_S = 1  # what a wait must last before it is blamed for the delay


class Deadline:
    """A point in time, which the caller can bring forward by losing interest."""

    def __init__(self, limit_s: float) -> None:
        self.limit_s = limit_s
        self._started = time.monotonic()
        self._waited_s: float | None = None
        self._obstacle = ""
        self._lock = threading.Lock()
        self._is_cancelled = False
        self._is_passed = False

    def begin(self) -> None:
        """Note that the work starts; until then the call waited for others to end.

        Raises:
            LimitError: it waited for too long.
        """
        self._waited_s = time.monotonic() - self._started
        self.check()

    @contextmanager
    def waiting(self, obstacle: str) -> Iterator[None]:
        """Blame `obstacle`, a clause, if the time is over before the block ends."""
        self._obstacle = obstacle
        yield
        self._obstacle = ""  # after an error it stays: others ask for the reason too

    def cancel(self) -> None:
        """Let the work stop: nobody waits for it."""
        with self._lock:
            self._is_cancelled = True

    def pass_point_of_no_return(self) -> None:
        """Note that the work will be done to its end from here on, however long that takes.

        Raises:
            LimitError: the time is over; nothing must be done.
        """
        with self._lock:
            is_over = self.remaining_s == 0
            self._is_passed = not is_over
        if is_over:
            raise self.error()

    def cancel_unless_passed(self) -> bool:
        """Let the work stop if it still can, and tell whether it does."""
        with self._lock:
            self._is_cancelled = not self._is_passed
            return self._is_cancelled

    @property
    def remaining_s(self) -> float:
        """Seconds left, 0 at the least."""
        if self._is_cancelled:
            return 0
        return max(0, self._started + self.limit_s - time.monotonic())

    def check(self) -> None:
        """Stop the work that calls this when its time is over.

        Raises:
            LimitError: the time is over.
        """
        if self.remaining_s == 0:
            raise self.error()

    def error(self) -> LimitError:
        """Return what a caller is told whose call took too long, or never had its turn."""
        spent_s = time.monotonic() - self._started
        message = (
            f"The call took longer than {self.limit_s:g} s and was stopped. Ask for less at once: "
            "a narrower path, a glob, a smaller depth."
        )
        if self._obstacle:
            message = (
                f"The call was not done within {self.limit_s:g} s: {self._obstacle}. Nothing was "
                "changed; make the same call again later."
            )
        elif self._waited_s is None or self._waited_s > max(_LONG_WAIT_S, self.limit_s / 2):
            message = (
                f"The server is busy: the call was not done within {self.limit_s:g} s, as others "
                "came before it. Make the same call again, with fewer at once."
            )
        return LimitError(message, limit=self.limit_s, actual=spent_s, unit="s")
