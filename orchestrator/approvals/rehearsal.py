"""What a call would change, found out through the fence and without changing anything."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast  # Any: arguments as a model gives them

from mcp_server.errors import NotTextError, ServerError
from mcp_server.fence.changes.change import Caller, Change, Kind, Outcome, State
from mcp_server.fence.changes.changer import ChangeRequest
from mcp_server.fence.grant import Grant
from mcp_server.fence.texts.content import decode
from mcp_server.fence.texts.diffs import diff
from mcp_server.fence.workspace import Workspace
from mcp_server.text import printable_name
from mcp_server.tools.registry import TOOLS
from mcp_server.tools.tool import Tool
from orchestrator.connections import WorkspaceConnection
from orchestrator.history.door import translated

MAX_DIFF_BYTES = 8_000
MAX_FILES = 20

_TOOLS: Mapping[str, Tool] = dict(TOOLS.items())

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class Rehearsal:
    """What a call would do now."""

    paths: tuple[str, ...]
    """What it would change, relative to the root, links followed; moved things by both names."""
    shown: str
    """The same for a person: diffs."""


async def rehearse(
    connection: WorkspaceConnection, grant: Grant, tool: str, arguments: Mapping[str, Any]
) -> Rehearsal:
    """Return what a call of a tool that changes files would do.

    Raises:
        OrchestratorError: It would fail; the message says why.
    """
    async with connection.workspace(grant) as workspace:
        stage = _Stage(workspace)
        with translated():
            call = _TOOLS[tool].parse(arguments)
            # It is asked for no more than what a tool that changes something uses.
            await call.call(cast(Workspace, stage), Caller())
    changes = [change for outcome in stage.outcomes for change in outcome.changes]
    paths = (path for change in changes for path in (change.path, change.moved_to) if path)
    return Rehearsal(tuple(dict.fromkeys(paths)), "\n".join(_shown(changes)))


def writes_nothing(tool: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a call says itself that it only wants to see what would be changed."""
    try:
        return bool(getattr(_TOOLS[tool].parse(arguments), "dry_run", False))
    except ServerError:  # the server refuses it
        return False


class _Stage:
    """A workspace in which nothing is changed."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self.grant = workspace.grant
        self.outcomes: list[Outcome] = []

    async def change(
        self, request: ChangeRequest, caller: Caller, view: Callable[[Outcome], ResultT]
    ) -> ResultT:
        return await self.preview(request, view)

    async def preview(self, request: ChangeRequest, view: Callable[[Outcome], ResultT]) -> ResultT:
        def seen(outcome: Outcome) -> ResultT:
            self.outcomes.append(outcome)
            return view(outcome)

        return await self._workspace.preview(request, seen)


def _shown(changes: list[Change]) -> Iterator[str]:
    for change in changes[:MAX_FILES]:
        name = printable_name(change.path)
        if change.moved_to is not None:
            yield f"move {name} to {printable_name(change.moved_to)}"
        elif change.after is None:
            yield f"delete {name}"
        elif change.after.kind is Kind.DIRECTORY:
            yield f"create {name}/"
        else:
            yield f"{'create' if change.before is None else 'change'} {name}"
            yield diff(_text(change.before), _text(change.after), max_bytes=MAX_DIFF_BYTES)
    if len(changes) > MAX_FILES:
        yield f"and {len(changes) - MAX_FILES} more"


def _text(state: State | None) -> str:
    if state is None or state.kind is not Kind.FILE:
        return ""
    try:
        return decode(state.content, "").text
    except NotTextError:
        return "(not text)\n"
