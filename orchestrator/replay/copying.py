"""A copy of a workspace, in which an agent can do no harm."""

import os
import stat
import tempfile
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread

from orchestrator.errors import LimitError, WorkspaceUnavailableError

MAX_COPY_BYTES = 2_000_000_000
MAX_COPY_FILES = 200_000

_GIT_STORES = {"objects", "lfs", "modules"}
"""What takes most of a repository's room, and nothing of which a tool shows."""


@dataclass(frozen=True)
class Copy:
    """Where a copy is, until it is left."""

    root: Path
    state_dir: Path
    """For the journal of what is changed in the copy."""


@asynccontextmanager
async def copied(root: Path, *, leave_out: Collection[Path] = ()) -> AsyncGenerator[Copy]:
    """Copy a directory to a temporary place, which is deleted on leaving.

    Files, directories and links keep their times and permissions. What cannot be read, what is no
    file, and the object stores of git are left out.

    Args:
        root: The directory.
        leave_out: Absolute paths of what must not be copied, with all below it.

    Raises:
        LimitError: If it holds too much.
        WorkspaceUnavailableError: If there is no room, or the system fails otherwise.
    """
    directory = tempfile.TemporaryDirectory(prefix="workyard-replay-")
    try:
        place = Path(directory.name).resolve()
        copy = Copy(place / "root", place / "state")
        work = _Copying(root, copy.root, frozenset(map(str, leave_out)))
        try:
            await anyio.to_thread.run_sync(work.run)
        except OSError as error:
            problem = f"The workspace cannot be copied for a replay: {error.strerror}."
            raise WorkspaceUnavailableError(problem) from error
        yield copy
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(directory.cleanup)


@dataclass
class _Copying:
    source: Path
    target: Path
    leave_out: Collection[str]
    _files: int = 0
    _bytes: int = 0
    _directories: list[tuple[Path, os.stat_result]] = field(default_factory=list)

    def run(self) -> None:
        """Copy, by descriptors: no directory that is exchanged for a link leads out."""
        self.target.mkdir(mode=0o700)
        for path, directories, files, fd in os.fwalk(self.source, follow_symlinks=False):
            anyio.from_thread.check_cancelled()
            directories[:] = self._kept(path, directories)
            there = self.target / Path(path).relative_to(self.source)
            self._directories.append((there, os.fstat(fd)))
            for name in (*directories, *self._kept(path, files)):
                self._put(name, fd, there / name)
        for directory, state in reversed(self._directories):
            os.chmod(directory, stat.S_IMODE(state.st_mode))
            os.utime(directory, ns=(state.st_atime_ns, state.st_mtime_ns))

    def _kept(self, path: str, names: list[str]) -> list[str]:
        stores = _GIT_STORES if os.path.basename(path) == ".git" else ()
        return [n for n in names if n not in stores and f"{path}/{n}" not in self.leave_out]

    def _put(self, name: str, fd: int, there: Path) -> None:
        with suppress(FileNotFoundError, PermissionError):  # gone meanwhile; not for us
            state = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(state.st_mode):
                there.mkdir(mode=0o700)
            elif stat.S_ISLNK(state.st_mode):
                there.symlink_to(os.readlink(name, dir_fd=fd))
            elif stat.S_ISREG(state.st_mode):
                self._copy(name, fd, there)

    def _copy(self, name: str, fd: int, there: Path) -> None:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        source = os.open(name, flags, dir_fd=fd)
        with open(source, "rb") as file:
            state = os.fstat(source)
            if not stat.S_ISREG(state.st_mode):  # exchanged meanwhile
                return
            self._files += 1
            with open(there, "xb") as target:
                for chunk in _chunks(file.fileno()):
                    self._bytes += len(chunk)
                    self._check_size()
                    target.write(chunk)
        os.chmod(there, stat.S_IMODE(state.st_mode))
        os.utime(there, ns=(state.st_atime_ns, state.st_mtime_ns))

    def _check_size(self) -> None:
        counts = ((self._bytes, MAX_COPY_BYTES, "bytes"), (self._files, MAX_COPY_FILES, "files"))
        for actual, limit, unit in counts:
            if actual > limit:
                raise LimitError(
                    f"The root holds more than {limit:,} {unit}, too much to copy for a replay. "
                    "Make a copy yourself, and name it with --root and --in-place.",
                    limit=limit,
                    actual=actual,
                    unit=unit,
                )


def _chunks(fd: int) -> Iterator[bytes]:
    while chunk := os.read(fd, 1 << 20):
        yield chunk
