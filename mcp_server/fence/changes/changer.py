"""How a change is made: planned, put into the journal, applied; taken back if a part of it fails.

What a call does is said by its plan, as changes with what is there and what will be. From then on
all of them are handled alike: a write, a deletion and the undoing of either differ only in what
they put where.
"""

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from mcp_server.errors import ConflictError, InvalidInputError, ServerError, UnavailableError
from mcp_server.fence.changes.change import Caller, Change, Outcome
from mcp_server.fence.changes.interrupted import made_part, remove_temporaries, take_back
from mcp_server.fence.changes.tree import Tree
from mcp_server.fence.changes.undoing import Undone, calls_to_undo, plan_undo
from mcp_server.fence.deadline import Deadline
from mcp_server.fence.gate import Gate
from mcp_server.fence.journal import Journal
from mcp_server.fence.ledger import UNDO, Call, Selection
from mcp_server.fence.reading.seen import Seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Planning:
    """What a plan is made with."""

    gate: Gate
    journal: Journal
    seen: Seen
    deadline: Deadline


class ChangeRequest(Protocol):
    """A wish to change something, which knows how to plan it."""

    quotes: ClassVar[bool]
    """Whether the answer shows what is in the files, so that who asks must be let read them."""

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
        self._tree = Tree(gate.root)

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
                return self._repeated(done[0], fingerprint, quotes=request.quotes)
            changes = self._plan(request, deadline)
            if not changes:
                return Outcome(())
            deadline.pass_point_of_no_return()
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
            deadline.pass_point_of_no_return()
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
            interrupted = self._journal.under_way()
            if interrupted is not None:
                self._settle(interrupted)
            yield

    def _plan(self, request: ChangeRequest, deadline: Deadline) -> Sequence[Change]:
        return request.plan(Planning(self._gate, self._journal, self._seen, deadline))

    def _plan_undo(self, selection: Selection, deadline: Deadline, *, force: bool) -> Undone:
        calls = calls_to_undo(self._journal, selection)
        return Undone(calls, plan_undo(calls, self._tree, deadline, force=force))

    def _repeated(self, done: Call, fingerprint: str, *, quotes: bool) -> Outcome:
        if done.fingerprint != fingerprint:
            raise InvalidInputError(
                "The idempotency key of this call belongs to another one, with other arguments. "
                "Nothing has been changed; give each call a key of its own."
            )
        for change in done.changes:
            self._gate.check_writable(change.path, change.path)
            if change.moved_to is not None:
                self._gate.check_writable(change.moved_to, change.moved_to)
            if quotes:
                self._gate.check_readable(change.path, change.path)
        return Outcome(done.changes, done.number, is_undone=done.undone_by is not None)

    def _do(self, call: Call, undone: Sequence[int] = ()) -> int:
        number = self._journal.begin(call, undone)
        made: list[Change] = []
        try:
            for change in call.changes:
                made.append(change)  # before it is: the disk can fail when the new name is there
                self._tree.make(change)
        except BaseException as error:
            if isinstance(error, ConflictError):  # the change was not even begun
                made.pop()
            # What cannot be taken back now stays under way: the next call tries again.
            with suppress(ServerError):
                self._take_back(number, made)
            raise
        try:
            self._journal.finish(number)
        except UnavailableError as error:  # done is done; the next call finds it so and notes it
            logger.warning("a call could not be noted as done: %s", error)
        return number

    def _settle(self, call: Call) -> None:
        """Take back what a killed call has done, unless it had done all."""
        remove_temporaries(call.changes, self._tree)
        made = made_part(call.changes, self._tree)
        if len(made) == len(call.changes):
            self._journal.finish(call.number)
        else:
            self._take_back(call.number, made)

    def _take_back(self, number: int, changes: Sequence[Change]) -> None:
        if take_back(changes, self._tree):
            self._journal.forget(number)
        else:
            self._journal.abandon(number)


def _fingerprint(request: ChangeRequest) -> str:
    return hashlib.sha256(repr(request).encode(errors="surrogatepass")).hexdigest()
