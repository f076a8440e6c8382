"""The changes of one root, for the owner of its files: no grant is asked here.

Each call opens the journal for itself, as servers do: it can be read, and changes can be undone,
while agents are at work.
"""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Unpack

from mcp_server.fence.changes.change import Caller, Change, Kind, State
from mcp_server.fence.changes.undoing import Undone
from mcp_server.fence.grant import Grant
from mcp_server.fence.ledger import Call, Selection
from mcp_server.fence.workspace import Workspace
from mcp_server.text import printable_name
from orchestrator.errors import ChangeNotFoundError, InvalidInputError
from orchestrator.history.door import journal_in, opened
from orchestrator.history.net import difference
from orchestrator.history.recorded import ChangedPath, RecordedCall, Undo, What, Which

OWNER = "owner"
"""Who undoes, in the journal."""


@dataclass(frozen=True)
class History:
    """What was changed in a root, by agents and by hosts that use the server."""

    root: Path
    state_dir: Path

    async def changes(self, *, limit: int = 20, **which: Unpack[Which]) -> list[RecordedCall]:
        """Return the calls that changed something, the newest first."""
        async with self._opened() as workspace:
            return [_recorded(call) for call in await workspace.calls(_selection(which), limit)]

    async def diff(self, **which: Unpack[Which]) -> str:
        """Return what the calls changed on the whole: a unified diff, of the last one by default.

        What is undone counts only for a call that is named by its number.

        Raises:
            ChangeNotFoundError: If no call fits.
        """
        selection = _selection(which)
        async with self._opened() as workspace:
            calls = await workspace.calls(selection.standing, selection.limit)
        if not calls:
            raise ChangeNotFoundError(
                "There is nothing to show: no such call is in the journal of this root, or it is "
                "undone. See what there is with `workyard changes`."
            )
        return difference(change for call in reversed(calls) for change in call.changes)

    async def undo(self, *, force: bool = False, **which: Unpack[Which]) -> Undo:
        """Take calls back, all or none; the last one by default. This can be undone too.

        Raises:
            ChangeNotFoundError: If no call fits, or all are undone already.
            ConflictError: If others have changed something since; `force` undoes it all the same.
        """
        async with self._opened() as workspace:
            caller = Caller(actor=OWNER)
            return _undo(await workspace.undo(_selection(which), caller, force=force))

    async def preview_undo(self, *, force: bool = False, **which: Unpack[Which]) -> Undo:
        """Return what `undo` would do; it also raises what that does."""
        async with self._opened() as workspace:
            return _undo(await workspace.preview_undo(_selection(which), force=force))

    def _opened(self) -> AbstractAsyncContextManager[Workspace]:
        return opened(self.root, Grant.full(), journal_in(self.state_dir))


def _selection(which: Which) -> Selection:
    for name in ("session", "run"):
        # As from a script whose variable is not set: it would mean all calls that have none.
        if which.get(name) == "":
            raise InvalidInputError(f"The {name} is empty; name one, or leave it out.")
    return Selection(**which)


def _recorded(call: Call) -> RecordedCall:
    return RecordedCall(
        number=call.number,
        at=datetime.fromtimestamp(call.at, UTC),
        actor=call.caller.actor,
        tool=call.tool,
        session_id=call.caller.session,
        run_id=call.caller.run,
        paths=_paths(call.changes),
        undone_by=call.undone_by,
    )


def _undo(undone: Undone) -> Undo:
    calls = tuple(_recorded(call) for call in undone.calls)
    return Undo(number=undone.number or None, calls=calls, paths=_paths(undone.changes))


def _paths(changes: Iterable[Change]) -> tuple[ChangedPath, ...]:
    return tuple(_path(change) for change in changes)


def _path(change: Change) -> ChangedPath:
    path = printable_name(change.path)
    if change.moved_to is not None:
        return ChangedPath(path=path, what=What.MOVED, moved_to=printable_name(change.moved_to))
    what = What.CHANGED
    if change.before is None:
        what = What.CREATED
    elif change.after is None:
        what = What.DELETED
    return ChangedPath(path=path + _slash(change.after or change.before), what=what)


def _slash(state: State | None) -> str:
    return "/" if state is not None and state.kind is Kind.DIRECTORY else ""
