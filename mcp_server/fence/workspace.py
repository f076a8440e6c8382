"""One root directory and what a grant allows in it, for async callers.

The work runs in a few threads of the workspace's own, which the kernel confines to the root, and
under a deadline: neither the event loop nor the transport's threads ever wait for a disk.
Not covered: hard links that lie inside already, mounts made below the root, other processes of the
same user.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Self, TypeVar

import anyio

from mcp_server.errors import (
    InvalidInputError,
    LimitError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    UnavailableError,
)
from mcp_server.fence.beneath import Root
from mcp_server.fence.changes.change import Caller, Outcome
from mcp_server.fence.changes.changer import Changer, ChangeRequest
from mcp_server.fence.changes.undoing import Undone
from mcp_server.fence.confinement import Confinement, Status
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.finding.names import FoundNames, Names
from mcp_server.fence.finding.ripgrep import Ripgrep, find_ripgrep
from mcp_server.fence.gate import Gate
from mcp_server.fence.grant import Grant
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import Call, Selection
from mcp_server.fence.openers import Opener
from mcp_server.fence.reading.facts import PathFacts
from mcp_server.fence.reading.file import OtherFile, TextFile
from mcp_server.fence.reading.files import Files
from mcp_server.fence.reading.listing import Listing
from mcp_server.fence.reading.seen import Seen
from mcp_server.fence.search import FileCounts, Query, SearchResult
from mcp_server.settings import JournalSettings

MAX_WORKERS = 4
"""Threads that read, and as many that search: disks gain little from more."""
_START_S = 30
_CLOSE_S = 5  # a write needs milliseconds; a thread that hangs longer hangs in the kernel

ResultT = TypeVar("ResultT")


class Workspace:
    """Read, change and search files beneath one root, as far as the grant goes.

    Every path is POSIX text relative to the root. Each method raises the branches of `ServerError`:
    `PathEscapeError`, `PermissionDeniedError`, `NotFoundError`, `NotAFileError`, `LimitError` for
    a call that is over its deadline, `UnavailableError` when the system fails.
    """

    def __init__(
        self,
        root: Root,
        grant: Grant,
        *,
        confinement: Confinement,
        ripgrep: Ripgrep,
        journal: Journal | None,
    ) -> None:
        """Take what `open` has opened; use that."""
        self.grant = grant
        self.confinement: Status = confinement.status
        self.root_names = root.names
        """The absolute paths of the root: as configured, and without links."""
        gate, seen = Gate(root, grant), Seen()
        self._files = Files(gate, seen)
        self._own_changer = None if journal is None else Changer(gate, journal, seen)
        self._ripgrep = ripgrep
        self._deadlines: set[Deadline] = set()
        self._opened = ExitStack()
        for each in (root, confinement, ripgrep, journal):
            if each is not None:
                self._opened.callback(each.close)
        # Searches that take long, and changes that wait for their turn, stop no reader.
        self._readers, self._searches, self._changes = self._threads = [
            ThreadPoolExecutor(count, name, initializer=confinement.apply)
            for name, count in (("reader", MAX_WORKERS), ("search", MAX_WORKERS), ("changes", 1))
        ]

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: str | Path,
        grant: Grant,
        *,
        opener: Opener | None = None,
        journal: JournalSettings | None = None,
    ) -> AsyncIterator[Self]:
        """Open `root` for the time of the context.

        Args:
            root: the directory that everything happens beneath.
            grant: what may be done in it.
            opener: how paths are opened beneath it; the best way that works here by default.
            journal: where changes are recorded; as the environment says by default.

        Raises:
            InvalidInputError: `root` is not a directory that can be opened, or the journal would
                lie in it.
            UnavailableError: the threads could not be confined although the kernel can.
        """
        workspace = cls._opened_at(os.fspath(root), grant, opener, journal)
        try:
            # A thread that cannot be confined shows here, not at the first call.
            for threads in workspace._threads:
                await workspace._run(lambda _: None, threads, _START_S)
            yield workspace
        finally:
            await workspace.close()

    @classmethod
    def _opened_at(
        cls, root: str, grant: Grant, opener: Opener | None, journal: JournalSettings | None
    ) -> Self:
        with ExitStack() as stack:
            beneath = _opened_root(root, opener)
            stack.callback(beneath.close)
            program = find_ripgrep()
            try:
                confinement = Confinement(beneath.fd, program)
            except OSError as error:
                raise UnavailableError(f"Threads cannot be confined: {error.strerror}.") from error
            stack.callback(confinement.close)
            ripgrep = Ripgrep(program, is_confined=confinement.status.is_on)
            stack.callback(ripgrep.close)
            changes = None
            if all(grant.writable):
                changes = Journal(beneath.names[-1], journal or JournalSettings.load())
                stack.callback(changes.close)
            stack.pop_all()  # the workspace closes them
            return cls(beneath, grant, confinement=confinement, ripgrep=ripgrep, journal=changes)

    @property
    def _changer(self) -> Changer:
        if self._own_changer is None:
            raise PermissionDeniedError(
                "Files may not be changed here: the grant lets nothing be written."
            )
        return self._own_changer

    async def read_text(self, path: str) -> TextFile:
        """Read a whole file of text; also raises `NotTextError`."""
        return await self._run(lambda deadline: self._files.read(path, deadline))

    async def view_file(
        self, path: str, view: Callable[[TextFile | OtherFile], ResultT]
    ) -> ResultT:
        """Read a file, whatever it is, and return what `view` makes of it, off the event loop.

        What is returned should be small: it is all that is kept of the file.
        """
        return await self._run(lambda deadline: view(self._files.read_any(path, deadline)))

    async def view_files(
        self, paths: Iterable[str], view: Callable[[TextFile | OtherFile], ResultT]
    ) -> list[ResultT | ServerError]:
        """Return for each file what `view` makes of it, or what is wrong with its path."""

        def each(path: str, deadline: Deadline) -> ResultT | ServerError:
            deadline.check()
            try:
                return view(self._files.read_any(path, deadline))
            except (InvalidInputError, NotFoundError, LimitError) as error:
                return error

        return await self._run(lambda deadline: [each(path, deadline) for path in paths])

    async def file_info(self, path: str) -> PathFacts:
        """Tell what is at a path."""
        return await self._run(lambda deadline: self._files.facts(path, deadline))

    async def list_directory(self, path: str, *, depth: int = 1) -> Listing:
        """List a directory, `depth` levels deep."""
        return await self._run(lambda deadline: self._files.list(path, depth, deadline))

    async def search(self, query: Query) -> SearchResult:
        """Search a directory or one file; also raises `PatternError`."""
        return await self._run(
            lambda deadline: self._files.search(query, self._ripgrep, deadline), self._searches
        )

    async def change(
        self, request: ChangeRequest, caller: Caller, view: Callable[[Outcome], ResultT]
    ) -> ResultT:
        """Do what is asked, or nothing, and return what `view` makes of it, off the event loop.

        Also raises what the request's `plan` raises, `ConflictError` among it.
        """
        return await self._run_alone(
            lambda deadline: view(self._changer.change(request, caller, deadline))
        )

    async def preview(self, request: ChangeRequest, view: Callable[[Outcome], ResultT]) -> ResultT:
        """Do nothing, and return what `view` makes of what `change` would do."""
        return await self._run_alone(
            lambda deadline: view(self._changer.preview(request, deadline))
        )

    async def calls(self, selection: Selection, limit: int) -> list[Call]:
        """Return the calls that changed something, the newest first; for the owner, not a tool."""
        return await self._run_alone(
            lambda deadline: self._changer.calls(selection, limit, deadline)
        )

    async def undo(self, selection: Selection, caller: Caller, *, force: bool = False) -> Undone:
        """Take calls back, all or none; for the owner, not a tool: the grant is not asked.

        Also raises `ConflictError` when others have changed something since, unless `force`.
        """
        return await self._run_alone(
            lambda deadline: self._changer.undo(selection, caller, deadline, force=force)
        )

    async def preview_undo(self, selection: Selection, *, force: bool = False) -> Undone:
        """Do nothing, and return what `undo` would do; it also raises what that does."""
        return await self._run_alone(
            lambda deadline: self._changer.preview_undo(selection, deadline, force=force)
        )

    async def count_matches(self, query: Query) -> FileCounts:
        """Count the matches in each file; raises what `search` raises."""
        return await self._run(
            lambda deadline: self._files.count(query, self._ripgrep, deadline), self._searches
        )

    async def find_files(self, names: Names) -> FoundNames:
        """Find files by name."""
        return await self._run(
            lambda deadline: self._files.find(names, self._ripgrep, deadline), self._searches
        )

    async def close(self) -> None:
        """Stop the work that nobody can wait for any more, and close the root."""
        for deadline in self._deadlines:
            deadline.cancel()
        with anyio.move_on_after(_CLOSE_S, shield=True):
            for threads in self._threads:
                await anyio.to_thread.run_sync(threads.shutdown, abandon_on_cancel=True)
            # Not before: a thread still at work would use a number that means another file by then.
            self._opened.close()

    async def _run_alone(self, work: Callable[[Deadline], ResultT]) -> ResultT:
        return await self._run(work, self._changes)

    async def _run(
        self,
        work: Callable[[Deadline], ResultT],
        threads: ThreadPoolExecutor | None = None,
        limit_s: float | None = None,
    ) -> ResultT:
        deadline = Deadline(limit_s or self.grant.limits.call_s)

        def begin() -> ResultT:
            deadline.begin()
            return work(deadline)

        self._deadlines.add(deadline)
        try:
            done = asyncio.wrap_future((threads or self._readers).submit(begin))
            done.add_done_callback(_see)
            with anyio.move_on_after(deadline.limit_s):
                return await asyncio.shield(done)
            if deadline.cancel_unless_passed():
                raise deadline.error()
            return await done  # a change is being made: what is answered must be so
        except BrokenExecutor as error:
            raise UnavailableError("The server's threads could not be confined.") from error
        finally:
            deadline.cancel()
            self._deadlines.discard(deadline)


def _see(done: asyncio.Future[ResultT]) -> None:
    """Look at how work has ended that nobody may wait for any more; else asyncio complains."""
    if not done.cancelled():
        done.exception()


def _opened_root(root: str, opener: Opener | None) -> Root:
    if not root:
        raise InvalidInputError("The root is empty: name a directory, '.' for the current one.")
    try:
        return Root(root, opener)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        raise InvalidInputError(f"Root {root!r} cannot be opened: {reason}.") from error
