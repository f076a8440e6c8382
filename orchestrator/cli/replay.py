"""`workyard replay`: a recorded run once more, with its recorded answers or another model's."""

import json
import shlex
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any  # Any: what asdict gives

import typer
from pydantic import BaseModel, JsonValue

import orchestrator
from orchestrator.cli import UNAVAILABLE
from orchestrator.cli.exits import DIFFERS, exit_code, reported, run_until_signal
from orchestrator.cli.progress import describe
from orchestrator.cli.run import JsonOption, SpecsOption
from orchestrator.cli.terminal import print_table, stderr, write
from orchestrator.errors import OrchestratorError
from orchestrator.events import ToolCalled
from orchestrator.settings import load_settings
from orchestrator.words import in_words, one_line

if TYPE_CHECKING:  # the command line must not wait for what these modules import
    from orchestrator.replay.asking import Answer, Comparison, Point
    from orchestrator.replay.differences import ReplayedCall
    from orchestrator.replay.replaying import Replay

SHOWN_TEXT = 300
"""How many characters of an answer the table shows."""

_SIGNS = {"same": "=", "differs": "≠", "not recorded": "·", "not made": "✗"}


@dataclass(frozen=True, kw_only=True)
class _Order:
    run_id: str
    root: str | None
    in_place: bool
    model: str
    specs: Path | None


def replay(  # noqa: PLR0913 - each is an option of the command
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    root: Annotated[
        str | None,
        typer.Option("--root", help="The directory that is meant, if not that of the run."),
    ] = None,
    in_place: Annotated[
        bool,
        typer.Option("--in-place", help="Work in the directory itself: what the run wrote, too."),
    ] = False,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Ask this model at the same points, and make no calls."),
    ] = None,
    specs: SpecsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run an agent again with a run's recorded answers, and compare what its calls give.

    It asks no model, and works in a copy of the directory. The exit code is 7 if anything differs.
    With --model another model is asked wherever the run's was, and its answers stand beside.
    """
    if model is not None and in_place:
        raise typer.BadParameter("--model makes no calls, so there is nothing to do --in-place.")
    order = _Order(run_id=run_id, root=root, in_place=in_place, model=model or "", specs=specs)
    found: list[Any] = []
    if model is None:
        _carry_out(_replay, _show_replay, order, found, as_json=as_json)
        if in_place:
            undo = shlex.join(
                ("workyard", "undo", "--run", found[0].replay_id, "--root", str(found[0].root))
            )
            stderr.print(f"What it has changed is taken back with '{undo}'.")
        raise typer.Exit(DIFFERS if found[0].differs else 0)
    _carry_out(_compare, _show_comparison, order, found, as_json=as_json)
    if all(point.other is None for point in found[0].points):
        raise typer.Exit(UNAVAILABLE)


def _carry_out(
    work: Callable[[_Order, list[Any]], Awaitable[None]],
    show: Callable[[Any], None],
    order: _Order,
    found: list[Any],
    *,
    as_json: bool,
) -> None:
    if not as_json:
        with reported():
            run_until_signal(work, order, found)
            show(found[0])
        return
    try:
        run_until_signal(work, order, found)
    except OrchestratorError as error:
        answer = {"error": {"code": error.code, "message": str(error)}}
        typer.echo(json.dumps(answer))
        raise typer.Exit(exit_code(error)) from None
    typer.echo(json.dumps(asdict(found[0]) | found[0].verdict(), default=_as_json))


def _as_json(value: object) -> JsonValue:
    assert isinstance(value, BaseModel), "the rest is JSON already"
    plain: JsonValue = value.model_dump(mode="json", exclude={"version"})
    return plain


async def _replay(order: _Order, found: list["Replay"]) -> None:
    root = order.root or await _root_of(order.run_id)
    async with orchestrator.Orchestrator.open(root, specs=order.specs) as yard:
        again = yard.replay_in_place if order.in_place else yard.replay
        found.append(await again(order.run_id))


async def _compare(order: _Order, found: list["Comparison"]) -> None:
    root = order.root or await _root_of(order.run_id)
    async with orchestrator.Orchestrator.open(root, specs=order.specs) as yard:
        points = len((await yard.sessions.recorded_run(order.run_id)).steps)
        stderr.print(f"This asks {order.model} {points} times.")
        found.append(await yard.compare(order.run_id, order.model))


async def _root_of(run_id: str) -> str:
    async with orchestrator.open_store(load_settings().effective_database_url) as store:
        return (await store.sessions.recorded_run(run_id)).root


def _show_replay(found: "Replay") -> None:
    if found.spec_changed:
        stderr.print(f"The spec of {found.agent} has changed since.")
    for call in found.calls:
        for line in _lines(call):
            write(f"{line}\n")
    if found.problem is not None:
        write(f"{found.problem}\n")
    counts = dict.fromkeys(_SIGNS, 0)
    for call in found.calls:
        counts[call.verdict] += 1
    stderr.print(", ".join(f"{n} {verdict}" for verdict, n in counts.items() if n) or "no calls")


def _lines(call: "ReplayedCall") -> Iterator[str]:
    asked = describe(ToolCalled(call_id=call.call_id, tool=call.tool, arguments=call.arguments))
    assert asked is not None, "a call is followed"
    yield f"{_SIGNS[call.verdict]} {call.step} {asked.plain.removeprefix('● ')}"
    if call.recorded and call.now and call.recorded.outcome != call.now.outcome:
        yield f"    {call.recorded.outcome} then, {call.now.outcome} now"
    yield from (f"    {line}" for line in call.difference.splitlines())


def _show_comparison(found: "Comparison") -> None:
    if found.spec_changed:
        stderr.print(
            f"The spec of {found.agent} has changed since: {found.other_model} got today's.",
        )
    columns = ("", found.recorded_model, found.other_model, "calls")
    print_table(columns, (_row(point) for point in found.points))
    for model, usage in (
        (found.recorded_model, found.recorded_usage),
        (found.other_model, found.other_usage),
    ):
        stderr.print(f"{model}: {in_words(usage)}")


def _row(point: "Point") -> tuple[str, str, str, str]:
    other = f"could not be asked: {point.error}" if point.other is None else _cell(point.other)
    calls = "other tools"
    if point.other is None:
        calls = ""
    elif point.same_calls:
        calls = "the same" if point.recorded.calls else "none"
    elif point.same_tools:
        calls = "other arguments"
    return str(point.step), _cell(point.recorded), other, calls


def _cell(answer: "Answer") -> str:
    calls = (
        describe(ToolCalled(call_id="", tool=call.tool, arguments=call.arguments))
        for call in answer.calls
    )
    lines = [call.plain for call in calls if call is not None]
    if answer.text:
        lines.append(one_line(answer.text, SHOWN_TEXT))
    usage = answer.usage
    cost = "cost unknown" if usage.cost is None else f"${usage.cost:.4f}"
    lines.append(f"({usage.input_tokens:,} tokens in, {usage.output_tokens:,} out, {cost})")
    return "\n".join(lines)
