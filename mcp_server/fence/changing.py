"""How a change is made: planned, put into the journal, applied; taken back if a part of it fails.

What a call does is said by its plan, as changes with what is there and what will be. From then on
all of them are handled alike: a write, a deletion and the undoing of either differ only in what
they put where.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from mcp_server.errors import ConflictError, InvalidInputError, PathEscapeError, ServerError
from mcp_server.fence.changes import Caller, Change, Outcome, State, are_alike
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.disk import look, move, put
from mcp_server.fence.faults import translated
from mcp_server.fence.gate import Gate
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import UNDO, Call, Selection
from mcp_server.fence.openers import DIRECTORY_FLAGS, Opened, split
from mcp_server.fence.seen import Seen
from mcp_server.fence.undoing import Undone, calls_to_undo, plan_undo
from mcp_server.text import shown

_MAX_BYTES = 1 << 40  # of what was stored before, whatever a limit says today


@dataclass(frozen=True, slots=True)
class Planning:
    """What a plan is made with."""

    gate: Gate
    journal: Journal
    seen: Seen
    deadline: Deadline


class ChangeRequest(Protocol):
    """A wish to change something, which knows how to plan it."""

    @property
    def tool(self) -> str:
        """The name of the tool, for the journal."""
        ...

    def plan(self, planning: Planning) -> Sequence[Change]:
        """Return the changes to make, in their order; nothing is changed yet.

        Raises:
            ServerError: they cannot or must not be made.
        """
        ...


class Changer:
    """Makes changes beneath one root, all of a call or none, and each call on record."""

    def __init__(self, gate: Gate, journal: Journal, seen: Seen) -> None:
        self._gate = gate
        self._journal = journal
        self._seen = seen

    def preview(self, request: ChangeRequest, deadline: Deadline) -> Outcome:
        """Return what `change` would do."""
        with self.settled(deadline):
            return Outcome(self._plan(request, deadline), is_applied=False)

    def change(self, request: ChangeRequest, caller: Caller, deadline: Deadline) -> Outcome:
        """Do what is asked, or nothing.

        A call with an idempotency key that an earlier one had is not done again: what that one did
        is returned.

        Raises:
            InvalidInputError: the key belongs to another call.
            ConflictError: a path has changed since the plan was made.
            ServerError: whatever the plan raises.
        """
        fingerprint = "" if caller.key is None else _fingerprint(request)
        with self.settled(deadline):
            if caller.key is not None and (done := self._journal.calls(Selection(key=caller.key))):
                return self._repeated(done[0], fingerprint)
            changes = self._plan(request, deadline)
            if not changes:
                return Outcome(())
            deadline.check()
            call = Call(tool=request.tool, fingerprint=fingerprint, caller=caller, changes=changes)
            return Outcome(changes, self._do(call))

    def undo(
        self, selection: Selection, caller: Caller, deadline: Deadline, *, force: bool = False
    ) -> Undone:
        """Take calls back, all or none; what it does is a call too and can be undone.

        The grant is not asked: this is for the owner of the files, never for a tool.

        Raises:
            NotFoundError: no such call is on record.
            ConflictError: something has been changed since by others, and `force` is not set.
        """
        with self.settled(deadline):
            planned = self._plan_undo(selection, deadline, force=force)
            call = Call(tool=UNDO, fingerprint="", caller=caller, changes=planned.changes)
            number = self._do(call, [call.number for call in planned.calls])
            return replace(planned, number=number)

    def preview_undo(
        self, selection: Selection, deadline: Deadline, *, force: bool = False
    ) -> Undone:
        """Return what `undo` would do; it also raises what that does."""
        with self.settled(deadline):
            return self._plan_undo(selection, deadline, force=force)

    def calls(self, selection: Selection, limit: int, deadline: Deadline) -> list[Call]:
        """Return the calls that are on record, the newest first."""
        with self.settled(deadline):
            return self._journal.calls(selection, limit)

    @contextmanager
    def settled(self, deadline: Deadline) -> Iterator[None]:
        """Be alone in the root, with nothing half done in it."""
        with self._journal.alone(deadline):
            interrupted = self._journal.interrupted()
            if interrupted is not None:
                self._settle(interrupted, deadline)
            self._journal.end()
            yield

    def _plan(self, request: ChangeRequest, deadline: Deadline) -> Sequence[Change]:
        return request.plan(Planning(self._gate, self._journal, self._seen, deadline))

    def _plan_undo(self, selection: Selection, deadline: Deadline, *, force: bool) -> Undone:
        calls = calls_to_undo(self._journal, selection)
        return Undone(calls, plan_undo(calls, _Today(self._gate, deadline), force=force))

    def _repeated(self, done: Call, fingerprint: str) -> Outcome:
        if done.fingerprint != fingerprint:
            raise InvalidInputError(
                "The idempotency key of this call belongs to another one, with other arguments. "
                "Nothing has been changed; give each call a key of its own."
            )
        for change in done.changes:
            self._gate.check_writable(change.path, change.path)
        return Outcome(done.changes, done.number, is_repeat=True)

    def _do(self, call: Call, undone: Sequence[int] = ()) -> int:
        number = self._journal.begin(call)
        made: list[Change] = []
        try:
            for change in call.changes:
                self._make(change)
                made.append(change)
        except BaseException:
            for change in reversed(made):
                self._make(change.reverse)
            self._journal.forget(number)
            raise
        if undone:
            self._journal.mark_undone(undone, number)
        self._journal.end()
        return number

    def _settle(self, call: Call, deadline: Deadline) -> None:
        """Take back what a killed call has done, unless it had done all."""
        today = _Today(self._gate, deadline)
        is_made = [_is_made(change, today) for change in call.changes]
        if all(is_made):
            return
        for change, made in zip(reversed(call.changes), reversed(is_made), strict=True):
            if made:
                # Whatever cannot be taken back has been changed by someone else since.
                with suppress(ServerError):
                    self._make(change.reverse)
        self._journal.forget(call.number)

    def _make(self, change: Change) -> None:
        try:
            with directory_of(self._gate, change.path) as (directory, name):
                if change.moved_to is None:
                    put(directory.fd, name, change.before, change.after)
                    return
                with directory_of(self._gate, change.moved_to) as (target, new_name):
                    move(directory.fd, name, target.fd, new_name)
        except FileExistsError:
            path = shown(change.moved_to or change.path)
            raise ConflictError(
                f"Path {path} has come into being meanwhile. Nothing has been changed."
            ) from None
        except FileNotFoundError:
            raise ConflictError(
                f"Path {shown(change.path)} has gone meanwhile. Nothing has been changed."
            ) from None
        except OSError as error:
            raise translated(error, change.path) from error


def _is_made(change: Change, today: "_Today") -> bool:
    now = today.look(change.path)
    if change.moved_to is not None:
        return now is None
    return are_alike(now, change.after) and not are_alike(now, change.before)


def _fingerprint(request: ChangeRequest) -> str:
    return hashlib.sha256(repr(request).encode(errors="surrogatepass")).hexdigest()


@contextmanager
def directory_of(gate: Gate, path: str) -> Iterator[tuple[Opened, str]]:
    """Open the directory that holds what is at the canonical `path`.

    Raises:
        ConflictError: another directory is there now, behind a link.
        OSError: anything else that the system says.
    """
    *parts, name = split(path)
    changed = ConflictError(
        f"The directories above {shown(path)} have changed meanwhile. Make the call again."
    )
    try:
        directory = gate.root.open_parts(tuple(parts), DIRECTORY_FLAGS)
    except PathEscapeError:  # a link that leads out is where a directory was
        raise changed from None
    with directory:
        if directory.path != ("/".join(parts) or "."):
            raise changed
        yield directory, name


class _Today:
    """What is beneath the root now, whatever the grant says."""

    def __init__(self, gate: Gate, deadline: Deadline) -> None:
        self._gate = gate
        self._deadline = deadline

    def look(self, path: str) -> State | None:
        try:
            with directory_of(self._gate, path) as (directory, name):
                return look(directory, name, _MAX_BYTES, self._deadline)
        except (FileNotFoundError, NotADirectoryError, ConflictError):
            return (
                None  # nor is it there when another directory has taken the place of the one above
            )
        except OSError as error:
            raise translated(error, path) from error

    def names(self, path: str) -> list[str]:
        with self._gate.root.open_parts(split(path), DIRECTORY_FLAGS) as directory:
            return os.listdir(directory.fd)
