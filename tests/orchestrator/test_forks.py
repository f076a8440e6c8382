"""Forks: a second way on from a point of a session, which shares the past and changes nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any  # an async generator's type

import anyio
import pytest
from pydantic_ai.messages import ModelMessage, ModelResponse, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import HistoryUnreadableError, InvalidInputError, NotFoundError
from orchestrator.events import ToolReturned
from orchestrator.state import State
from tests.orchestrator.by_hand import rows, workyard
from tests.orchestrator.played import MISSING, READ, playing, record_of
from tests.orchestrator.small import prompts_in


def text_of(messages: Sequence[ModelMessage]) -> str:
    return " ".join(str(getattr(part, "content", "")) for m in messages for part in m.parts)


def listening(heard: list[list[ModelMessage]]) -> FunctionModel:
    """Return a model that keeps what it is given, and says "So be it."."""

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> Any:  # an async generator
        heard.append(list(messages))
        yield "So be it."

    return FunctionModel(stream_function=stream, model_name="listening")


async def two_turns(yard: Orchestrator) -> str:
    """Return a session of messages 1 prompt, 2 call, 3 result, 4 answer, 5 prompt, 6 answer."""
    first = await yard.run("repo_guide", "one", model=playing([READ], "First."))
    await yard.run("repo_guide", "two", model=playing("Second."), session_id=first.session_id)
    return first.session_id


async def test_fork_goes_on_from_its_point_and_its_origin_stays_as_it_is(
    yard: Orchestrator,
) -> None:
    origin = await two_turns(yard)
    before = await yard.sessions.messages(origin)
    events = await record_of(yard, origin)
    row = await yard.sessions.get(origin)
    heard: list[list[ModelMessage]] = []

    fork = await yard.fork(origin, at=4)
    run = await yard.run("repo_guide", "other", model=listening(heard), session_id=fork.id)

    assert run.session_id == fork.id != origin
    assert prompts_in(heard[0]) == ["one", "other"]
    assert (await yard.sessions.messages(fork.id))[:4] == before[:4]
    assert prompts_in(await yard.sessions.messages(fork.id)) == ["one", "other"]
    assert await yard.sessions.messages(origin) == before
    assert await record_of(yard, origin) == events
    assert await yard.sessions.get(origin) == row


async def test_fork_shares_its_past_by_reference_and_numbers_go_on(yard: Orchestrator) -> None:
    origin = await two_turns(yard)

    fork = await yard.fork(origin, at=4)
    await yard.run("repo_guide", "other", model=playing("Third."), session_id=fork.id)

    assert (fork.origin_seq, fork.last_message_seq, fork.last_event_seq) == (4, 4, 0)
    pk = await yard.sessions.look(fork.id, lambda _db, row: row.pk)
    own = rows("SELECT seq FROM message WHERE session_pk = ? ORDER BY seq", pk)
    assert own == [(5,), (6,)]
    assert [e.seq for e in await record_of(yard, fork.id)][:2] == [1, 2]


async def test_fork_of_a_fork_has_the_whole_past(yard: Orchestrator) -> None:
    origin = await two_turns(yard)
    fork = await yard.fork(origin)
    await yard.run("repo_guide", "three", model=playing("Third."), session_id=fork.id)
    heard: list[list[ModelMessage]] = []

    late, early = await yard.fork(fork.id), await yard.fork(fork.id, at=4)
    for session in (late, early):
        await yard.run("repo_guide", "end", model=listening(heard), session_id=session.id)

    assert prompts_in(heard[0]) == ["one", "two", "three", "end"]
    assert prompts_in(heard[1]) == ["one", "end"]
    assert "A till that adds prices." in text_of(heard[1])


async def test_fork_copies_the_state_and_shares_nothing_that_changes(yard: Orchestrator) -> None:
    origin = await two_turns(yard)
    rows("UPDATE session SET state = ?, state_version = 3", '{"plan": ["a"]}')

    fork = await yard.fork(origin)
    copied = await yard.sessions.state(fork.id)
    rows("UPDATE session SET state = ? WHERE id = ?", '{"plan": []}', fork.id)
    await yard.run("repo_guide", "more", model=playing("x"), session_id=fork.id)

    row = await yard.sessions.get(origin)
    assert copied == State({"plan": ["a"]}, version=0)
    assert (await yard.sessions.state(origin)).values == {"plan": ["a"]}
    assert (row.active_run_id, row.last_message_seq) == (None, 6)
    assert (fork.owner, fork.agent, fork.root) == (row.owner, row.agent, row.root)
    assert fork.external_id is None


async def test_what_was_spent_is_counted_once_over_all_sessions(yard: Orchestrator) -> None:
    origin = await two_turns(yard)

    fork = await yard.fork(origin)
    await yard.run("repo_guide", "more", model=playing("x"), session_id=fork.id)

    assert fork.usage == {}
    both = (origin, fork.id)
    by_session = [(await yard.sessions.get(id)).usage["requests"] for id in both]
    by_run = [run.requests for id in both for run in await yard.sessions.runs(id)]
    assert by_session == [3, 1]
    assert by_run == [2, 1, 1]


@pytest.mark.parametrize(("at", "near"), [(1, "0 or 3"), (2, "0 or 3"), (5, "4 or 6")])
async def test_fork_between_what_is_asked_and_its_answer_is_refused_with_the_near_numbers(
    yard: Orchestrator, at: int, near: str
) -> None:
    origin = await two_turns(yard)

    with pytest.raises(InvalidInputError, match=f"at message {at}: .* Fork at {near}[.]"):
        await yard.fork(origin, at=at)

    assert len(await yard.sessions.latest()) == 1


@pytest.mark.parametrize("at", [0, 3, 4, 6])
async def test_fork_is_allowed_after_answers_and_results_and_of_nothing(
    yard: Orchestrator, at: int
) -> None:
    heard: list[list[ModelMessage]] = []

    fork = await yard.fork(await two_turns(yard), at=at)
    await yard.run("repo_guide", "on", model=listening(heard), session_id=fork.id)

    assert fork.last_message_seq == at
    assert prompts_in(heard[0]) == [*(["one"] if at else []), *(["two"] if at == 6 else []), "on"]


@pytest.mark.parametrize("at", [-1, 7, 10**12])
async def test_fork_at_a_message_that_is_not_there_says_which_is_the_last(
    yard: Orchestrator, at: int
) -> None:
    origin = await two_turns(yard)

    with pytest.raises(InvalidInputError, match=f"no message {at} to fork at; its last one is 6"):
        await yard.fork(origin, at=at)


async def test_fork_of_a_session_that_is_not_there_is_refused(yard: Orchestrator) -> None:
    with pytest.raises(NotFoundError):
        await yard.fork("nope")


async def test_fork_where_a_run_was_broken_off_is_allowed_and_its_open_call_closed(
    yard: Orchestrator,
) -> None:
    """The session itself goes on there: the next claim closes what was left open."""
    origin = (await yard.run("repo_guide", "one", model=playing([READ], "x"))).session_id
    rows("DELETE FROM message WHERE seq > 2")
    rows("UPDATE session SET last_message_seq = 2")
    heard: list[list[ModelMessage]] = []

    at_end = await yard.fork(origin)
    await yard.run("repo_guide", "two", model=playing("Second."), session_id=origin)
    in_the_middle = await yard.fork(origin, at=2)
    for session in (at_end, in_the_middle):
        await yard.run("repo_guide", "on", model=listening(heard), session_id=session.id)

    for messages in heard:
        assert prompts_in(messages) == ["one", "on"]
        (closed,) = [p for m in messages for p in m.parts if isinstance(p, ToolReturnPart)]
        assert closed.outcome == "interrupted"


async def test_session_at_work_is_forked_before_the_run_or_at_what_it_has_settled(
    yard: Orchestrator,
) -> None:
    origin = await two_turns(yard)
    goes_on, forked = anyio.Event(), anyio.Event()

    async def wait() -> None:
        goes_on.set()
        await forked.wait()

    model = playing([READ], wait)
    handle = await yard.start("repo_guide", "three", model=model, session_id=origin)
    with anyio.fail_after(10):
        await goes_on.wait()
    before = await yard.fork(origin)
    settled = await yard.fork(origin, at=9)
    with pytest.raises(InvalidInputError, match="Fork at 6 or 9"):
        await yard.fork(origin, at=7)
    heard: list[list[ModelMessage]] = []
    for session in (before, settled):
        await yard.run("repo_guide", "other", model=listening(heard), session_id=session.id)
    forked.set()
    await handle.result()

    assert prompts_in(heard[0]) == ["one", "two", "other"]
    assert prompts_in(heard[1]) == ["one", "two", "three", "other"]
    assert prompts_in(await yard.sessions.messages(origin)) == ["one", "two", "three"]


async def test_run_whose_call_is_under_way_cannot_be_forked_after_it(yard: Orchestrator) -> None:
    run = await yard.run("repo_guide", "one", model=playing([READ], "x"))
    rows("DELETE FROM message WHERE seq > 2")
    rows("UPDATE session SET last_message_seq = 2, active_run_pk = (SELECT pk FROM run)")

    with pytest.raises(InvalidInputError, match="Fork at 0"):
        await yard.fork(run.session_id, at=2)


DAMAGE = [(1, 0), (2, 0), (3, 0), (4, 3), (5, 4), (6, 4)]


@pytest.mark.parametrize(("damaged", "fork_at"), DAMAGE)
async def test_history_that_cannot_be_read_offers_the_fork_before_the_damage(
    yard: Orchestrator, damaged: int, fork_at: int
) -> None:
    origin = await two_turns(yard)
    rows("UPDATE message SET body = '{' WHERE seq = ?", damaged)

    with pytest.raises(HistoryUnreadableError) as caught:
        async with Orchestrator.open(yard.root, connect=InProcessConnection) as anew:
            await anew.run("repo_guide", "three", model=playing("x"), session_id=origin)

    command = f"'workyard sessions fork {origin} --at {fork_at}'"
    assert caught.value.fork_at == fork_at
    assert (command in str(caught.value)) == (fork_at > 0)
    heard: list[list[ModelMessage]] = []
    fork = await yard.fork(origin, at=fork_at)
    await yard.run("repo_guide", "on", model=listening(heard), session_id=fork.id)
    assert prompts_in(heard[0]) == [*(["one"] if fork_at else []), "on"]


async def test_fork_that_could_not_go_on_is_refused_with_the_one_that_could(
    yard: Orchestrator,
) -> None:
    origin = await two_turns(yard)
    rows("""UPDATE message SET body = '{"parts": 1}' WHERE seq = 4""")

    for at in (None, 6):
        with pytest.raises(HistoryUnreadableError, match=f"fork {origin} --at 3"):
            await yard.fork(origin, at=at)

    assert len(await yard.sessions.latest()) == 1


async def test_damage_in_an_origin_is_told_of_in_the_words_of_the_fork(yard: Orchestrator) -> None:
    origin = await two_turns(yard)
    fork = await yard.fork(origin)
    rows("UPDATE message SET body = '' WHERE seq = 5")

    with pytest.raises(HistoryUnreadableError, match=f"workyard sessions fork {fork.id} --at 4"):
        await yard.run("repo_guide", "on", model=playing("x"), session_id=fork.id)


async def test_replies_of_calls_in_the_shared_past_are_whole(yard: Orchestrator) -> None:
    """A result stands in the ledger of the origin's run, an instruction in a blob."""
    run = await yard.run("repo_guide", "one", model=playing([READ, MISSING], "First."))
    origin = await yard.sessions.messages(run.session_id)

    fork = await yard.fork(run.session_id)

    assert await yard.sessions.messages(fork.id) == origin
    inherited = await yard.sessions.inherited(fork.id)
    assert inherited is not None
    recorded = [e.event for e in await record_of(yard, run.session_id)]
    returned = [e for e in recorded if isinstance(e, ToolReturned)]
    told = [event for _, event in inherited.events if isinstance(event, ToolReturned)]
    assert sorted(told, key=str) == sorted(returned, key=str)
    assert isinstance(origin[1], ModelResponse)


def test_forks_are_made_and_shown_on_the_command_line(project: Path) -> None:
    root = ("--root", str(project))
    asked = workyard("run", "repo_guide", "Where is add_prices?", "--model", "offline", *root)
    (origin,) = [id for (id,) in rows("SELECT id FROM session")]
    last = rows("SELECT last_message_seq FROM session")[0][0]

    done = workyard("sessions", "fork", origin, "--title", "Another \n way")
    fork = done.stdout.strip()
    workyard("run", "repo_guide", "Where is round_total?", "--model", "offline", *root,
             "--session", fork)  # fmt: skip
    shown = workyard("sessions", "show", fork)

    assert asked.exit_code == 0
    assert (done.exit_code, done.stderr) == (
        0,
        f"a fork of session {origin}, whose messages 1 to {last} it shares\n",
    )
    assert f"a fork of session {origin}, whose messages 1 to {last} it shares" in shown.stdout
    assert "[1] > Where is add_prices?" in shown.stdout
    assert f"[{last}]" in shown.stdout
    assert "> Where is round_total?" in shown.stdout
    ((run_id,),) = rows("SELECT max(id) FROM run")
    assert f"run {run_id}, from message {last + 1} on" in shown.stdout
    assert rows("SELECT title FROM session WHERE id = ?", fork) == [("Another way",)]
    assert "a fork of" not in workyard("sessions", "show", origin).stdout


def test_damaged_past_of_a_fork_does_not_hide_what_is_its_own(project: Path) -> None:
    root = ("--root", str(project))
    workyard("run", "repo_guide", "Where is add_prices?", "--model", "offline", *root)
    (origin,) = [id for (id,) in rows("SELECT id FROM session")]
    fork = workyard("sessions", "fork", origin).stdout.strip()
    workyard("run", "repo_guide", "round_total?", "--model", "offline", *root, "--session", fork)
    rows("UPDATE message SET body = '[' WHERE seq = 3")

    shown = workyard("sessions", "show", fork)

    assert shown.exit_code == 0
    assert "Message 3 of session" in shown.stdout
    assert "> round_total?" in shown.stdout


def test_fork_that_is_refused_says_so_in_a_line(project: Path) -> None:
    workyard("run", "repo_guide", "x", "--model", "offline", "--root", str(project))
    (origin,) = [id for (id,) in rows("SELECT id FROM session")]

    refused = workyard("sessions", "fork", origin, "--at", "99")
    missing = workyard("sessions", "fork", "nope")

    assert (refused.exit_code, missing.exit_code) == (2, 3)
    assert "its last one is" in refused.stderr
    assert refused.stdout + missing.stdout == ""
