"""`workyard changes`, `diff` and `undo`: what was changed in a root, by agents and by hosts."""

import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, TypeVar

import anyio
import typer

import orchestrator
from orchestrator.cli.exits import exit_code, reported, stoppable
from orchestrator.cli.run import JsonOption
from orchestrator.cli.terminal import stderr, write
from orchestrator.errors import OrchestratorError
from orchestrator.history.recorded import ChangedPath, RecordedCall, Undo, What, Which
from orchestrator.roots import resolve_root
from orchestrator.settings import load_settings
from orchestrator.words import in_line, one_line

ResultT = TypeVar("ResultT")

SHOWN_PATHS = 3
"""How many paths of a call the list names."""

SHORT = 12
"""Characters at the end of an id that are shown: enough for --session and --run."""

RootOption = Annotated[str, typer.Option("--root", help="The directory whose files are meant.")]
SessionOption = Annotated[
    str | None,
    typer.Option(
        "--session", metavar="ID", help="The calls of a session; the last 12 characters do."
    ),
]
RunOption = Annotated[
    str | None,
    typer.Option("--run", metavar="ID", help="The calls of a run; the last 12 characters do."),
]
NumberArgument = Annotated[
    int | None, typer.Argument(help="A call's number; see 'workyard changes'.")
]


def changes(
    root: RootOption = ".",
    session: SessionOption = None,
    run: RunOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what was changed in a directory, the newest first."""

    async def listed() -> list[RecordedCall]:
        return await _history(root).changes(limit=limit, session=session, run=run)

    if as_json:
        _print_json(listed, lambda calls: {"changes": [asdict(call) for call in calls]})
        return
    with reported():
        calls = anyio.run(listed)
        if not calls:
            stderr.print("No such change is on record for this root.")
            return
        for line in _lines(calls):
            write(f"{line}\n")


def diff(
    number: NumberArgument = None,
    root: RootOption = ".",
    session: SessionOption = None,
    run: RunOption = None,
) -> None:
    """Show what calls changed: that of a number, all of a session or run, else the last one.

    The difference is the whole one, from before the first call to after the last.
    """

    async def difference() -> str:
        return await _history(root).diff(number=number, session=session, run=run)

    with reported():
        write(anyio.run(difference))


def undo(  # noqa: PLR0913 - each is an option of the command
    number: NumberArgument = None,
    root: RootOption = ".",
    session: SessionOption = None,
    run: RunOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also what others have changed since.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Take calls back: that of a number, all of a session or run, else the last one.

    All or nothing. An undo has a number too, and can be undone by it.
    """
    which: Which = {"number": number, "session": session, "run": run}

    async def undone() -> Undo:
        history = _history(root)
        if dry_run:
            return await history.preview_undo(force=force, **which)
        return await history.undo(force=force, **which)

    if as_json:
        _print_json(undone, asdict)
        return
    with reported():
        for line in _told(anyio.run(undone)):
            write(f"{line}\n")


def _history(root: str) -> "orchestrator.History":
    return orchestrator.History(resolve_root(root), load_settings().state_dir)


def _lines(calls: Sequence[RecordedCall]) -> Iterator[str]:
    """Yield a line for each call. A table would be folded, and a call must be found at a glance."""
    number, who, tool = (
        max(map(len, column)) for column in zip(*(_cells(call) for call in calls), strict=True)
    )
    for call in calls:
        cells = _cells(call)
        start = f"{cells[0]:>{number}}  {_local(call.at)}  {cells[1]:{who}}  {cells[2]:{tool}}  "
        yield start + _in_short(call.paths) + _standing(call) + _source(call)


def _cells(call: RecordedCall) -> tuple[str, str, str]:
    return str(call.number), one_line(call.actor, 40), in_line(call.tool)


def _standing(call: RecordedCall) -> str:
    return "" if call.undone_by is None else f" (undone by {call.undone_by})"


def _source(call: RecordedCall) -> str:
    ids = {"session": call.session_id, "run": call.run_id}
    return "".join(f"  {name} {one_line(known[-SHORT:])}" for name, known in ids.items() if known)


def _in_short(paths: Sequence[ChangedPath]) -> str:
    # What was asked for comes last, after the directories that were made for it: those go without.
    told = [path for path in reversed(paths) if not _is_made_for_another(path, paths)]
    rest = len(told) - SHOWN_PATHS
    more = f", +{rest} more" if rest > 0 else ""
    return ", ".join(_effect(path) for path in told[:SHOWN_PATHS]) + more


def _is_made_for_another(path: ChangedPath, paths: Iterable[ChangedPath]) -> bool:
    if path.what is not What.CREATED or not path.path.endswith("/"):
        return False
    return any((p.moved_to or p.path).startswith(path.path) for p in paths if p is not path)


def _effect(path: ChangedPath) -> str:
    name = in_line(path.path)
    return f"{name} → {in_line(path.moved_to)}" if path.moved_to else f"{name} {path.what}"


def _local(moment: datetime) -> str:
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


_BACK = {What.CREATED: "is there again", What.CHANGED: "is as before", What.DELETED: "is gone"}


def _told(undo: Undo) -> Iterable[str]:
    """Yield an undo line by line: the calls, what became of their paths, how to take it back."""
    verb = "would be undone" if undo.number is None else "is undone"
    for call in undo.calls:
        _, actor, tool = _cells(call)
        yield f"{call.number} {verb}: {tool} by {actor}, {_local(call.at)}"
    for path in undo.paths:
        back = f"is {in_line(path.moved_to)} again" if path.moved_to else _BACK[path.what]
        yield f"  {in_line(path.path)} {back}"
    if not undo.paths:
        yield "  everything is as before already"
    if undo.number is not None:
        yield f"This is {undo.number}: 'workyard undo {undo.number}' takes it back."


def _print_json(
    work: Callable[[], Awaitable[ResultT]], shape: Callable[[ResultT], dict[str, object]]
) -> None:
    code, answer = 0, {}
    try:
        with stoppable():
            answer = shape(anyio.run(work))
    except OrchestratorError as error:
        answer = {"error": {"code": error.code, "message": str(error)}}
        code = exit_code(error)
    typer.echo(json.dumps(answer, default=datetime.isoformat))
    raise typer.Exit(code)
