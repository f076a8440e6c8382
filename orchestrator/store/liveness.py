"""Whether the process that holds a run is alive.

No clock of ours is asked: one that is set forward would declare the living dead, one that is set
back would keep the dead for alive.
"""

import fcntl
import os
import re
import secrets
import socket
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol  # Any: columns of several types

from sqlalchemy import Connection, LargeBinary, Select, bindparam, cast, func, select, text, update

from orchestrator.lifecycle import RunStatus
from orchestrator.store.tables import RUN

LEASE_S = 30
"""Where processes are on several machines, one that has said nothing for so long counts as dead."""

RENEW_S = 10
"""How often a process that is alive says so."""


class Liveness(Protocol):
    """Tells the runs of the living from those of the dead, in a transaction of the record."""

    @property
    def holder(self) -> str:
        """What rows of runs name this process by."""
        ...

    def keep(self, db: Connection, runs: Collection[int]) -> None:
        """Say that this process is alive and holds these runs, each by its key."""
        ...

    def living(self, db: Connection, runs: Collection[int]) -> set[int]:
        """Return which of these runs have a process that is alive."""
        ...

    def orphans(self, db: Connection) -> Sequence[tuple[int, int]]:
        """Return session and run of those that are on record as running and have no process."""
        ...

    def forget(self) -> None:
        """Leave nothing behind: this process holds no run any more."""
        ...


@dataclass
class LockedFiles:
    """On one machine: a process is alive while it holds the lock on a file of its own.

    The kernel frees the lock when the process dies, however it does. A file that is left over says
    that there may be runs to look for; who finds none removes it.
    """

    directory: Path
    holder: str = field(default_factory=lambda: f"{os.getpid()}-{secrets.token_hex(8)}")
    _fd: int | None = None

    def keep(self, db: Connection, runs: Collection[int]) -> None:
        """Take the lock before the first run.

        A transaction has the database to itself, so nobody sees the file before it is locked.
        """
        if self._fd is None:
            self.directory.mkdir(mode=0o700, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._fd = os.open(self.directory / self.holder, flags, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def living(self, db: Connection, runs: Collection[int]) -> set[int]:
        """Return which of these runs have a process that is alive."""
        found = db.execute(_HOLDERS, {"runs": [*runs]}).all()
        holders = {holder for _, holder in found}
        alive = {each for each in holders if self._is_locked(each.decode(errors="replace"))}
        return {pk for pk, holder in found if holder in alive}

    def orphans(self, db: Connection) -> Sequence[tuple[int, int]]:
        """Return what the dead have left; ask only in a transaction that could write."""
        dead = [name for name in self._names() if not self._is_locked(name)]
        if not dead:
            return []
        found = db.execute(_LEFT_BY, {"holders": dead}).all()
        for name in {*dead} - {row.lease_owner for row in found}:
            (self.directory / name).unlink(missing_ok=True)
        return [(row.session_pk, row.pk) for row in found]

    def forget(self) -> None:
        """Remove the file."""
        if self._fd is not None:
            (self.directory / self.holder).unlink(missing_ok=True)

    def close(self) -> None:
        """Free the lock: be dead from here on."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _names(self) -> list[str]:
        try:
            return os.listdir(self.directory)
        except FileNotFoundError:
            return []

    def _is_locked(self, holder: str) -> bool:
        if holder == self.holder:
            return self._fd is not None
        if not _NAME.fullmatch(holder):  # no process has it: the row is damaged
            return False
        try:
            fd = os.open(self.directory / holder, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False


@dataclass
class Leases:
    """On several machines: a process is alive while it renews its leases.

    They are written and judged by the database's clock, the one that all of them share.
    """

    holder: str = field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(8)}"
    )

    def keep(self, db: Connection, runs: Collection[int]) -> None:
        """Renew the leases of those runs that nobody else has taken."""
        if runs:
            db.execute(_RENEW, {"runs": [*runs], "holder": self.holder})

    def living(self, db: Connection, runs: Collection[int]) -> set[int]:
        """Return which of these runs have a lease that has not lapsed."""
        return {*db.execute(_LEASED, {"runs": [*runs]}).scalars()}

    def orphans(self, db: Connection) -> Sequence[tuple[int, int]]:
        """Return the runs whose leases have lapsed."""
        return [(row.session_pk, row.pk) for row in db.execute(_LAPSED)]

    def forget(self) -> None:
        """Do nothing: the rows of runs tell all."""


def _of_runs(query: Select[Any]) -> Select[Any]:
    return query.where(RUN.c.pk.in_(bindparam("runs", expanding=True)))


# A literal, for the index of runs under way.
_IS_RUNNING = RUN.c.status == text(f"'{RunStatus.RUNNING.value}'")
_NOW = func.clock_timestamp()
# Bytes: of a damaged row, it need not be text.
_HOLDERS = _of_runs(select(RUN.c.pk, cast(RUN.c.lease_owner, LargeBinary)))
_NAME = re.compile("[!-.0-~]{1,200}")
_LEFT_BY = select(RUN.c.session_pk, RUN.c.pk, RUN.c.lease_owner).where(
    _IS_RUNNING, RUN.c.lease_owner.in_(bindparam("holders", expanding=True))
)
_LEASED = _of_runs(select(RUN.c.pk)).where(RUN.c.lease_until > _NOW)
_LAPSED = (
    select(RUN.c.session_pk, RUN.c.pk)
    .where(_IS_RUNNING, RUN.c.lease_until < _NOW)
    .order_by(RUN.c.session_pk)
)
_RENEW = (
    update(RUN)
    .where(
        RUN.c.pk.in_(bindparam("runs", expanding=True)),
        RUN.c.lease_owner == bindparam("holder"),
        _IS_RUNNING,
    )
    .values(lease_until=_NOW + text(f"interval '{LEASE_S} seconds'"))
)
