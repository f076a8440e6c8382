"""One agent, many tasks: in order, so many at a time, and gone on with after an interruption."""

import json
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest
from pydantic_ai.models import Model
from typer.testing import CliRunner

from orchestrator import Task, TaskResult
from orchestrator.bootstrap import Orchestrator
from orchestrator.cli.app import app
from orchestrator.errors import InvalidInputError, LimitError
from tests.orchestrator.by_hand import rows
from tests.orchestrator.played import READ, playing

TASKS = [Task(prompt=f"Task {letter}.") for letter in "abcdef"]


async def collected(
    yard: Orchestrator, tasks: list[Task], model: Model, at_once: int = 4
) -> list[TaskResult]:
    mapped = yard.map("repo_guide", tasks, name="batch", at_once=at_once, model=model)
    return [result async for result in mapped]


async def test_results_come_in_the_order_of_the_tasks_whichever_ends_first(
    yard: Orchestrator,
) -> None:
    count = 0

    async def wait() -> None:
        nonlocal count
        count += 1
        await anyio.sleep(0.15 / count)

    results = await collected(yard, TASKS, playing([READ], wait), at_once=6)

    assert [result.number for result in results] == [1, 2, 3, 4, 5, 6]
    prompts = [(await yard.sessions.run(str(r.run_id))).row.prompt for r in results]
    assert prompts == [task.prompt for task in TASKS]
    assert {result.output for result in results} == {"So "}
    assert not any(result.was_done or result.error for result in results)


async def test_no_more_runs_go_on_at_a_time_than_were_asked_for(yard: Orchestrator) -> None:
    at_work, most = 0, 0

    async def work() -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        while most < 2:  # the first one waits for company
            await anyio.sleep(0.001)
        await anyio.sleep(0.01)
        at_work -= 1

    with anyio.fail_after(60):
        await collected(yard, TASKS, playing(work), at_once=2)

    assert most == 2


async def test_task_that_fails_is_told_and_holds_up_no_other(
    yard: Orchestrator, tmp_path: Path
) -> None:
    forever = playing(*[[READ]] * 40)

    results = await collected(yard, TASKS[:2], forever)

    assert [type(result.error) for result in results] == [LimitError, LimitError]
    assert [result.usage.requests for result in results] == [30, 30]


async def test_what_was_answered_under_a_name_is_not_asked_again(yard: Orchestrator) -> None:
    first = await collected(yard, TASKS[:3], playing("Yes."))

    again = await collected(yard, [*TASKS[1:4], TASKS[1]], playing("No."))

    assert [(r.output, r.was_done) for r in first] == [("Yes. ", False)] * 3
    assert [(result.output, result.was_done) for result in again] == [
        ("Yes. ", True),
        ("Yes. ", True),
        ("No. ", False),
        ("No. ", False),  # the same words a second time are another task
    ]
    assert [r.run_id for r in again[:2]] == [r.run_id for r in first[1:]]


async def test_turns_added_to_a_session_are_no_answer_to_its_task(yard: Orchestrator) -> None:
    (first,) = await collected(yard, TASKS[:1], playing("Yes."))
    await yard.run("repo_guide", "Why?", session_id=first.session_id, model=playing("So."))

    (again,) = await collected(yard, TASKS[:1], playing("No."))

    assert (again.output, again.run_id, again.was_done) == ("Yes. ", first.run_id, True)


async def test_interrupted_map_goes_on_where_it_was(yard: Orchestrator) -> None:
    begun, at_work = anyio.Event(), 0

    async def stick() -> None:
        nonlocal at_work
        at_work += 1
        if at_work == 2:
            begun.set()
        await anyio.sleep_forever()

    async def read_one() -> None:
        model = playing([READ], stick)
        async with aclosing(
            yard.map("repo_guide", TASKS[:2], name="batch", at_once=2, model=model)
        ) as results:
            async for _ in results:
                pass

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read_one)
        await begun.wait()
        tasks.cancel_scope.cancel()
    left = rows("SELECT status, count(*) FROM run GROUP BY status")
    results = await collected(yard, TASKS[:2], playing([READ], "Done."))

    assert left == [("cancelled", 2)]
    assert [result.output for result in results] == ["Done. ", "Done. "]
    assert rows("SELECT count(*) FROM run") == [(2,)]
    assert rows("SELECT count(*) FROM tool_call") == [(2,)]


@pytest.mark.parametrize(
    ("task", "problem"),
    [
        (Task(prompt=" "), "Task 2: The prompt is empty"),
        (Task(prompt="go", inputs={"x": 1}), "Task 2: Agent 'repo_guide' takes no input 'x'"),
    ],
)
async def test_no_task_begins_when_one_cannot_be(
    yard: Orchestrator, task: Task, problem: str
) -> None:
    with pytest.raises(InvalidInputError, match=problem):
        await collected(yard, [TASKS[0], task], playing("Yes."))

    assert rows("SELECT count(*) FROM session") == [(0,)]


async def test_options_of_one_run_are_refused_for_many(yard: Orchestrator) -> None:
    with pytest.raises(TypeError, match="'session_id' is said of one run"):
        yard.map("repo_guide", TASKS, name="b", session_id="x")
    with pytest.raises(InvalidInputError, match="1 to 64 runs"):
        yard.map("repo_guide", TASKS, name="b", at_once=0)


def mapped(root: Path, file: Path) -> tuple[int, list[dict[str, object]], str]:
    arguments = ["map", "repo_guide", "--inputs", str(file), "--root", str(root)]
    done = CliRunner().invoke(app, [*arguments, "--model", "offline"])
    return done.exit_code, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_command_prints_a_line_for_each_task_and_knows_what_was_answered(
    project: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tasks.jsonl"
    lines = ['"What is it?"', "", '{"prompt": "What is rounded?", "inputs": {"audience": "me"}}']
    file.write_text("\n".join(lines))

    code, first, told = mapped(project, file)
    again = mapped(project, file)

    assert code == 0, told
    assert [line["task"] for line in first] == [1, 2]
    assert all(line["output"] and not line["was_done"] for line in first)
    assert "2 tasks." in told
    assert [line["run_id"] for line in again[1]] == [line["run_id"] for line in first]
    assert "2 tasks, 2 answered before." in again[2]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: it is no JSON string"),
        ("7", "line 2: it is no JSON string"),
        ('{"inputs": {}}', "line 2: it is no JSON string and no object with a 'prompt'"),
        ('{"prompt": "x", "input": {}}', "line 2: a task has no 'input'"),
        ('{"prompt": "x", "inputs": []}', "line 2: 'inputs' is no object"),
        ('"\\ud800"', "Task 2: The prompt is not valid Unicode text"),
    ],
)
def test_line_that_is_no_task_is_named_and_nothing_runs(
    project: Path, tmp_path: Path, line: str, problem: str
) -> None:
    file = tmp_path / "tasks.jsonl"
    file.write_text(f'"one"\n{line}\n')

    code, lines, told = mapped(project, file)

    assert (code, lines) == (2, [])
    assert problem in told


def test_file_that_cannot_be_read_is_said_so(project: Path, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in mapped(project, tmp_path / "none.jsonl")[2]
