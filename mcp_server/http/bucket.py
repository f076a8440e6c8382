"""So many in a minute, and no more at once than that."""

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """A token bucket: it is full at first, and fills again over a minute."""

    per_minute: int
    _left: float = -1
    _at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Fill it."""
        self._left = self.per_minute

    def take(self) -> int:
        """Take one; return 0, or the seconds until there is one to take."""
        now = time.monotonic()
        gained = (now - self._at) * self.per_minute / 60
        self._left, self._at = min(self.per_minute, self._left + gained), now
        if self._left >= 1:
            self._left -= 1
            return 0
        return max(1, int((1 - self._left) * 60 / self.per_minute) + 1)

    def give_back(self) -> None:
        """Put one back that was taken for nothing."""
        self._left += 1
