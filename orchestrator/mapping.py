"""One agent, many tasks: a bounded number of runs at a time, their results in order.

Each task is known by its words (`once.py`): the same tasks under the same name go on where they
were left, and what has been answered is not asked again.
"""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from pydantic import JsonValue

from orchestrator.errors import InvalidInputError, OrchestratorError
from orchestrator.events import Usage
from orchestrator.once import Earlier, begin_once
from orchestrator.orders import RunOptions, check_options, check_prompt
from orchestrator.runner import RunHandle, Runner, RunRequest
from orchestrator.session import MAPPED
from orchestrator.specs import Spec

MAX_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an agent is to do, once."""

    prompt: str
    inputs: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What has become of a task."""

    number: int
    """Its place among the tasks, from 1."""
    session_id: str | None = None
    """None if the run could not begin."""
    run_id: str | None = None
    output: JsonValue = None
    error: OrchestratorError | None = None
    usage: Usage = field(default_factory=Usage)
    was_done: bool = False
    """Whether it was answered before, and has cost nothing now."""


def check_mapped(options: RunOptions, at_once: int) -> None:
    """Refuse what many runs cannot have together.

    Raises:
        InvalidInputError: `at_once` is out of its range.
        TypeError: An option is not one that all runs can have.
    """
    check_options(options)
    own = options.keys() - {"model", "owner", "agents_of"}
    if own:
        raise TypeError(f"{min(own)!r} is said of one run, not of all.")
    if not 1 <= at_once <= MAX_AT_ONCE:
        raise InvalidInputError(f"1 to {MAX_AT_ONCE} runs can go on at once, not {at_once}.")


def keyed(spec: Spec, root: str, name: str, tasks: Iterable[Task]) -> list[tuple[str, Task]]:
    """Return tasks, each with what it is known by.

    Raises:
        InvalidInputError: One of them cannot be; the message says which.
    """
    found: list[tuple[str, Task]] = []
    seen: Counter[str] = Counter()
    for number, task in enumerate(tasks, 1):
        try:
            check_prompt(task.prompt)
            inputs = spec.complete_inputs(task.inputs)
        except InvalidInputError as error:
            raise InvalidInputError(f"Task {number}: {error}") from None
        words = json.dumps([name, spec.name, root, task.prompt, inputs], sort_keys=True)
        seen[words] += 1  # those that say the same are as many tasks
        key = hashlib.sha256(f"{seen[words]} {words}".encode()).hexdigest()
        found.append((MAPPED + key, task))
    return found


@dataclass(frozen=True)
class Tasks:
    """Tasks with what they are known by, and who carries them out."""

    runner: Runner
    tasks: Sequence[tuple[str, Task]]
    request: Callable[[Task], RunRequest]

    async def results(self, at_once: int) -> AsyncGenerator[TaskResult]:
        """Yield a result for each task, in their order. To stop cancels what is under way."""
        room = asyncio.Semaphore(at_once)
        under_way = [
            asyncio.create_task(self._one(number, key, task, room))
            for number, (key, task) in enumerate(self.tasks, 1)
        ]
        try:
            for each in under_way:
                # A reader that is cancelled would cancel what it waits for, before we do: the
                # second cancellation would not let the first come to its end.
                yield await asyncio.shield(each)
        finally:
            for each in under_way:
                each.cancel()
            with anyio.CancelScope(shield=True):
                await asyncio.gather(*under_way, return_exceptions=True)

    async def _one(self, number: int, key: str, task: Task, room: asyncio.Semaphore) -> TaskResult:
        async with room:
            try:
                begun = await begin_once(self.runner, self.request(task), key)
            except OrchestratorError as error:
                return TaskResult(number=number, error=error)
            if isinstance(begun, Earlier):
                return _done_before(number, begun)
            return await _ended(number, begun)


async def _ended(number: int, handle: RunHandle) -> TaskResult:
    try:
        await handle.ended.wait()
    except asyncio.CancelledError:
        handle.stop()
        with anyio.CancelScope(shield=True):
            await handle.ended.wait()
        raise
    last = handle.last_event
    return TaskResult(
        number=number,
        session_id=handle.claimed.session_id,
        run_id=handle.claimed.id,
        output=last.output if last else None,
        error=handle.error,
        usage=last.usage if last else Usage(),
    )


def _done_before(number: int, earlier: Earlier) -> TaskResult:
    return TaskResult(
        number=number,
        session_id=earlier.session_id,
        run_id=earlier.run.id,
        output=earlier.run.output,
        was_done=True,
    )
