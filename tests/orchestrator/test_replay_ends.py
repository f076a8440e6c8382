"""A replay whose run goes another way than the recorded one, or whose record ends early."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from pydantic_ai.messages import (
    BinaryContent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    ConflictError,
    InputsError,
    LimitError,
    NotFoundError,
    RunCancelledError,
)
from orchestrator.replay.differences import Verdict, compared
from orchestrator.replay.played import PlayedModel, RecordEndsError
from tests.orchestrator.by_hand import held_by_the_dead, rows
from tests.orchestrator.played import READ, playing
from tests.orchestrator.small import Small

SPEC = """\
name: reader
description: Reads.
instructions: Read what you are asked about.
capabilities:
  - WorkspaceTools: {tools: [read_file, grep], read: ["**"]}
"""
SCHEMA = "output_schema: {type: object, properties: {a: {type: integer}}, required: [a]}\n"


@pytest.fixture
def reader(own_surroundings: Path) -> Path:
    """Return the file of an agent of the user's own."""
    file = own_surroundings / "config" / "agents" / "reader.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(SPEC)
    return file


async def test_call_that_todays_spec_does_not_grant_is_a_difference(
    yard: Orchestrator, reader: Path
) -> None:
    run = await yard.run("reader", "go", model=playing([READ], [("grep", '{"pattern": "a"}')], "x"))
    reader.write_text(SPEC.replace("[read_file, grep]", "[grep]").replace('"**"', '"docs/**"'))

    replay = await yard.replay(run.run_id)

    assert replay.spec_changed
    assert [c.verdict for c in replay.calls] == [Verdict.DIFFERS, Verdict.DIFFERS]
    assert [c.now.outcome for c in replay.calls if c.now] == ["retried", "success"]
    assert "Unknown tool name" in replay.calls[0].difference


async def test_replay_goes_on_however_many_calls_are_refused(
    yard: Orchestrator, reader: Path
) -> None:
    """A run ends when its model does not learn; here no model is there to learn."""
    run = await yard.run("reader", "go", model=playing(*[[READ] for _ in range(6)], "x"))
    reader.write_text(SPEC.replace("[read_file, grep]", "[grep]"))

    replay = await yard.replay(run.run_id)

    assert [c.verdict for c in replay.calls] == [Verdict.DIFFERS] * 6
    assert replay.problem is None


async def test_run_that_was_cancelled_is_replayed_as_far_as_it_got(yard: Orchestrator) -> None:
    answers = anyio.Event()

    async def wait() -> None:
        answers.set()
        await anyio.sleep_forever()

    handle = await yard.start("repo_guide", "go", model=playing([READ], wait))
    with anyio.fail_after(10):
        await answers.wait()
    with pytest.raises(ConflictError, match="under way"):
        await yard.replay(handle.claimed.id)
    await yard.cancel(handle.claimed.id)
    with pytest.raises(RunCancelledError):
        await handle.result()

    replay = await yard.replay(handle.claimed.id)

    assert len(await yard.sessions.messages(handle.claimed.session_id)) == 4
    assert len((await yard.sessions.recorded_run(handle.claimed.id)).steps) == 1
    assert [c.verdict for c in replay.calls] == [Verdict.SAME]
    assert not replay.differs


async def broken_off(yard: Orchestrator) -> str:
    """Return a run that was killed while its calls were under way."""
    run = await yard.run("repo_guide", "go", model=playing([READ], "x"))
    rows("DELETE FROM message WHERE seq > 2")
    rows("UPDATE session SET last_message_seq = 2")
    rows("UPDATE run SET status = 'interrupted', output_seq = NULL, output_part = NULL")
    return run.run_id


async def test_call_that_was_broken_off_has_nothing_to_be_compared_with(
    yard: Orchestrator,
) -> None:
    run_id = await broken_off(yard)
    rows("UPDATE tool_call SET outcome = NULL, result = NULL, returned_at = NULL")

    replay = await yard.replay(run_id)

    assert [c.verdict for c in replay.calls] == [Verdict.NOT_RECORDED]
    assert replay.calls[0].now is not None
    assert not replay.differs


async def test_result_that_came_too_late_for_the_model_is_compared(
    yard: Orchestrator, project: Path
) -> None:
    run_id = await broken_off(yard)

    assert [c.verdict for c in (await yard.replay(run_id)).calls] == [Verdict.SAME]
    (project / "README.md").write_text("other")
    assert [c.verdict for c in (await yard.replay(run_id)).calls] == [Verdict.DIFFERS]


async def test_budget_counts_in_a_replay_as_in_a_run(yard: Orchestrator, reader: Path) -> None:
    budget = SPEC + "  - Budget: {requests: 2}\n"
    reader.write_text(budget)
    with pytest.raises(LimitError):
        await yard.run("reader", "go", model=playing([READ], [READ], [READ], "x"))
    ((run_id,),) = rows("SELECT id FROM run")

    same = await yard.replay(run_id)
    reader.write_text(budget.replace("2", "1"))
    less = await yard.replay(run_id)

    assert not same.differs
    assert [c.verdict for c in less.calls] == [Verdict.SAME, Verdict.NOT_MADE]
    assert less.differs
    assert "ended after 1 answers: The budget of 1 requests is used up" in (less.problem or "")


async def test_agent_that_asks_its_model_once_more_has_gone_another_way(
    yard: Orchestrator, reader: Path
) -> None:
    run = await yard.run("reader", "go", model=playing([READ], "Done."))
    reader.write_text(SPEC + SCHEMA)

    replay = await yard.replay(run.run_id)

    assert replay.problem == "The agent asks its model once more than the recorded run did."
    assert [c.verdict for c in replay.calls] == [Verdict.SAME]
    assert replay.differs


async def test_agent_that_ends_before_the_recorded_run_has_gone_another_way(
    yard: Orchestrator, reader: Path
) -> None:
    reader.write_text(SPEC + SCHEMA)
    answers = playing([("final_result", '{"b": 1}')], [("final_result", '{"a": 1}')])
    run = await yard.run("reader", "go", model=answers)
    assert run.output == {"a": 1}
    same = await yard.replay(run.run_id)
    reader.write_text(SPEC + SCHEMA.replace("required: [a]", "required: [b]"))

    replay = await yard.replay(run.run_id)

    assert not same.differs
    assert replay.problem == "The agent ended after 1 of 2 answers."
    assert [c.verdict for c in replay.calls] == [Verdict.DIFFERS, Verdict.NOT_MADE]


async def test_model_that_is_asked_something_else_says_what(yard: Orchestrator) -> None:
    run = await yard.run("repo_guide", "go", model=playing([READ], "Done."))
    model = PlayedModel(await yard.sessions.recorded_run(run.run_id), yard.root)
    history: list[ModelMessage] = [ModelRequest(parts=[UserPromptPart("go")])]

    first = await model.request(history, None, ModelRequestParameters())
    history += [first, ModelRequest(parts=[ToolReturnPart("read_file", "x", "another")])]
    with pytest.raises(RecordEndsError):
        await model.request(history, None, ModelRequestParameters())

    assert model.problem == (
        "Before answer 2 the model is given tool-return another; "
        "in the recorded run it was given tool-return 1.0."
    )


async def test_ids_that_a_model_gives_again_are_kept_apart(
    yard: Orchestrator, project: Path
) -> None:
    async def stream(
        messages: list[ModelMessage], info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        step = sum(isinstance(message, ModelResponse) for message in messages)
        if step == 2:
            yield "Done."
            return
        path = ("README.md", "docs/rounding.md")[step]
        yield {0: DeltaToolCall("read_file", f'{{"path": "{path}"}}', tool_call_id="call")}

    run = await yard.run("repo_guide", "go", model=FunctionModel(stream_function=stream))
    (project / "docs" / "rounding.md").write_text("# Not rounded\n")

    replay = await yard.replay(run.run_id)

    assert [c.verdict for c in replay.calls] == [Verdict.SAME, Verdict.DIFFERS]


async def test_pictures_are_compared_too(yard: Orchestrator, project: Path) -> None:
    picture = project / "dot.gif"
    picture.write_bytes(b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00;")
    model = playing([("read_file", '{"path": "dot.gif"}')], "A dot.")
    run = await yard.run("repo_guide", "go", model=model)
    messages = await yard.sessions.messages(run.session_id)
    assert any(isinstance(c, BinaryContent) for p in messages[2].parts for c in _items(p))

    same = await yard.replay(run.run_id)
    picture.write_bytes(picture.read_bytes().replace(b"\xff\xff\xff", b"\xff\x00\x00"))
    other = await yard.replay(run.run_id)

    assert [c.verdict for c in same.calls] == [Verdict.SAME]
    assert [c.verdict for c in other.calls] == [Verdict.DIFFERS]
    assert "sha256" in other.calls[0].difference


async def test_what_is_no_text_is_compared_where_nothing_tells_of_it() -> None:
    then, now = (
        ToolReturnPart("look", ["a dot", BinaryContent(data, media_type="image/gif")], "c")
        for data in (b"GIF89a1", b"GIF89a2")
    )
    call = ToolCallPart("look", {}, "c")

    assert compared(1, call, then, then).verdict is Verdict.SAME
    assert compared(1, call, then, now).verdict is Verdict.DIFFERS
    assert compared(1, call, then, replace(then, outcome="failed")).verdict is Verdict.DIFFERS
    assert compared(1, call, then, now).difference.startswith("the texts are the same")


async def test_run_after_one_that_was_broken_off_is_replayed(yard: Orchestrator) -> None:
    """Its past has an open call, after which Pydantic AI takes no prompt."""
    await broken_off(yard)
    ((session_id,),) = rows("SELECT id FROM session")
    run = await yard.run("repo_guide", "on", model=playing([READ], "x"), session_id=session_id)

    assert not (await yard.replay(run.run_id)).differs


def _items(part: object) -> list[object]:
    content = getattr(part, "content", None)
    return content if isinstance(content, list) else [content]


async def test_later_turn_is_replayed_alone_also_in_a_fork(yard: Orchestrator) -> None:
    first = await yard.run("repo_guide", "one", model=playing([READ], "x"))
    fork = await yard.fork(first.session_id)
    second = await yard.run(
        "repo_guide", "two", model=playing([READ], [READ], "y"), session_id=fork.id
    )

    await yard.run("repo_guide", "3", model=playing([READ], "z"), session_id=first.session_id)

    assert len((await yard.replay(first.run_id)).calls) == 1
    assert len((await yard.replay(second.run_id)).calls) == 2


async def test_replay_asks_for_no_summary_of_a_long_history(
    yard: Orchestrator, project: Path, reader: Path
) -> None:
    reader.write_text(SPEC + "  - Compaction: {context_window: 4000}\n")
    (project / "big.txt").write_text("line of the big file\n" * 120)
    small = Small(4000)
    run = await yard.run("reader", "first", model=small.model())
    for index in range(3):
        run = await yard.run("reader", f"{index}", model=small.model(), session_id=run.session_id)
    assert small.transcripts

    replay = await yard.replay(run.run_id)

    assert (replay.problem, len(replay.calls)) == (None, 2)
    assert not replay.differs


async def test_run_that_cannot_be_replayed_says_why(yard: Orchestrator, reader: Path) -> None:
    with pytest.raises(NotFoundError, match="no run 'caf"):
        await yard.replay("caf\udce9")
    run = await yard.run("reader", "go", model=playing([READ], "x"))

    reader.write_text(
        SPEC + "deps_schema: {type: object, properties: {n: {type: integer}}, required: [n]}\n"
    )
    with pytest.raises(InputsError):
        await yard.replay(run.run_id)
    reader.unlink()
    with pytest.raises(NotFoundError, match="no agent 'reader'"):
        await yard.replay(run.run_id)
    rows("DELETE FROM message WHERE seq > 1")
    rows("UPDATE session SET last_message_seq = 1")
    with pytest.raises(ConflictError, match="no answer of a model on record"):
        await yard.replay(run.run_id)


async def test_run_of_a_dead_process_is_replayed_as_far_as_it_got(yard: Orchestrator) -> None:
    run_id = await broken_off(yard)
    held_by_the_dead()

    assert len((await yard.replay(run_id)).calls) == 1


async def test_replay_works_where_the_yard_is_open(
    yard: Orchestrator, project: Path, tmp_path: Path
) -> None:
    """As in a checkout that lies elsewhere than the one in which the run was recorded."""
    paths = [("read_file", f'{{"path": "{project / "README.md"}"}}')]
    run = await yard.run("repo_guide", "go", model=playing(paths, "Done."))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "README.md").write_bytes((project / "README.md").read_bytes())

    async with Orchestrator.open(elsewhere, connect=InProcessConnection) as other:
        same = await other.replay(run.run_id)
        (elsewhere / "README.md").write_text("other")
        differs = await other.replay_in_place(run.run_id)

    assert not same.differs
    assert differs.differs
