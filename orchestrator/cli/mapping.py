"""`workyard map`: one agent, many tasks from a file of JSON lines."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any  # Any: JSON as it comes

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import orchestrator
from orchestrator.cli.exits import reported, run_until_signal
from orchestrator.cli.run import ModelOption, RootOption, SpecsOption
from orchestrator.cli.terminal import is_terminal, stderr
from orchestrator.errors import InvalidInputError

FAILED = 1
"""Not all tasks have an answer."""

MAX_FILE_BYTES = 100_000_000


def map_tasks(  # noqa: PLR0913 - each is an option of the command
    agent: Annotated[str, typer.Argument(help="The agent's name; see 'workyard agents list'.")],
    tasks: Annotated[
        Path,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help='A task a line: a JSON string, or {"prompt": ..., "inputs": {...}}.',
        ),
    ],
    root: RootOption = ".",
    model: ModelOption = None,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="How many runs at a time.")] = 4,
    name: Annotated[
        str | None,
        typer.Option(
            help="What was answered under this name is not asked again; the file's by default."
        ),
    ] = None,
    specs: SpecsOption = None,
) -> None:
    """Run an agent once for each line of a file; print a line of JSON for each, in order."""
    with reported():
        order = _Order(
            agent=agent,
            tasks=_read(tasks),
            root=root,
            specs=specs,
            model=model,
            at_once=at_once,
            name=name or tasks.name,
        )
        run_until_signal(_map, order)
    if order.failed:
        raise typer.Exit(FAILED)


@dataclass(kw_only=True)
class _Order:
    agent: str
    tasks: Sequence["orchestrator.Task"]
    root: str
    specs: Path | None
    model: str | None
    at_once: int
    name: str
    failed: int = 0
    """Tasks without an answer, as far as is known."""


async def _map(order: _Order) -> None:
    shown = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=stderr,
        disable=not is_terminal(sys.stderr),
    )
    known = 0
    async with orchestrator.Orchestrator.open(order.root, specs=order.specs) as yard:
        results = yard.map(
            order.agent,
            order.tasks,
            name=order.name,
            at_once=order.at_once,
            model=order.model,
        )
        async with aclosing(results):
            with shown:
                bar = shown.add_task(order.agent, total=len(order.tasks))
                async for result in results:
                    order.failed += result.error is not None
                    known += result.was_done
                    typer.echo(json.dumps(_told(result)))
                    shown.advance(bar)
    failed = f", {order.failed} without an answer" if order.failed else ""
    before = f", {known} answered before" if known else ""
    stderr.print(f"{len(order.tasks)} tasks{before}{failed}.")


def _told(result: "orchestrator.TaskResult") -> dict[str, Any]:
    told: dict[str, Any] = {
        "task": result.number,
        "session_id": result.session_id,
        "run_id": result.run_id,
        "output": result.output,
        "usage": result.usage.model_dump(mode="json", exclude={"version"}),
        "was_done": result.was_done,
    }
    if result.error is not None:
        told["error"] = {"code": result.error.code, "message": str(result.error)}
    return told


def _read(file: Path) -> list["orchestrator.Task"]:
    """Return the tasks of a file.

    Raises:
        InvalidInputError: It cannot be read, or a line of it is no task.
    """
    try:
        if file.stat().st_size > MAX_FILE_BYTES:
            raise InvalidInputError(f"{str(file)!r} is larger than {MAX_FILE_BYTES:,} bytes.")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{str(file)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{str(file)!r} is not UTF-8 text.") from None
    return [*_tasks(file, text)]


def _tasks(file: Path, text: str) -> Iterator["orchestrator.Task"]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        fields = {"prompt": value} if isinstance(value, str) else value
        if not isinstance(fields, dict) or not isinstance(fields.get("prompt"), str):
            raise _no_task(file, number, "it is no JSON string and no object with a 'prompt'")
        unknown = fields.keys() - {"prompt", "inputs"}
        if unknown:
            raise _no_task(file, number, f"a task has no {min(unknown)!r}")
        inputs = fields.get("inputs", {})
        if not isinstance(inputs, dict):
            raise _no_task(file, number, "'inputs' is no object")
        yield orchestrator.Task(prompt=fields["prompt"], inputs=inputs)


def _no_task(file: Path, number: int, problem: str) -> InvalidInputError:
    return InvalidInputError(f"{str(file)!r}, line {number}: {problem}.")
