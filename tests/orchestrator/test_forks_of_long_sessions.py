"""Forks of sessions whose model was given a summary of what it could not take."""

import pytest

from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import HistoryUnreadableError, InvalidInputError
from orchestrator.events import UserMessage
from tests.orchestrator.by_hand import rows
from tests.orchestrator.small import Small, summaries_in


async def compacted_turns(yard: Orchestrator, small: Small) -> tuple[str, list[int]]:
    """Return a session of six turns, and the numbers of its compactions."""
    (yard.root / "big.txt").write_text("line of the big file\n" * 120)
    session_id = None
    for index in range(6):
        run = await yard.run(
            "repo_guide", f"question {index}", model=small.model(), session_id=session_id
        )
        session_id = run.session_id
    numbers = rows("SELECT seq FROM message WHERE kind = 'compaction' ORDER BY seq")
    assert session_id is not None
    assert len(numbers) >= 2
    return session_id, [number for (number,) in numbers]


async def test_fork_before_a_compaction_is_given_nothing_of_it(yard: Orchestrator) -> None:
    origin, (first, second, *_) = await compacted_turns(yard, Small(4000))

    for at, summaries in ((first - 1, []), (second - 1, ["Summary 1."])):
        large = Small(100_000)
        fork = await yard.fork(origin, at=at)
        await yard.run("repo_guide", "on", model=large.model(), session_id=fork.id)
        assert summaries_in(large.given[0]) == summaries


async def test_fork_after_a_compaction_goes_on_with_it_and_shows_what_it_stands_for(
    yard: Orchestrator,
) -> None:
    origin, (*_, last) = await compacted_turns(yard, Small(4000))
    large = Small(100_000)

    fork = await yard.fork((await yard.fork(origin)).id)
    await yard.run("repo_guide", "on", model=large.model(), session_id=fork.id)
    inherited = await yard.sessions.inherited(fork.id)

    assert fork.window_seq == last
    assert len(summaries_in(large.given[0])) == 1
    assert inherited is not None
    told = [event for _, event in inherited.events]
    asked = [event.content for event in told if isinstance(event, UserMessage)]
    assert asked == [f"question {index}" for index in range(6)]


async def test_fork_at_a_compaction_is_what_it_is_after_the_message_before(
    yard: Orchestrator,
) -> None:
    origin, numbers = await compacted_turns(yard, Small(4000))

    for number in numbers:
        before, at = [await can_be_forked(yard, origin, seq) for seq in (number - 1, number)]
        assert at == before


async def can_be_forked(yard: Orchestrator, session_id: str, at: int) -> bool:
    try:
        await yard.fork(session_id, at=at)
    except InvalidInputError:
        return False
    return True


async def test_compaction_that_cannot_be_read_offers_a_fork_with_all_messages(
    yard: Orchestrator,
) -> None:
    small = Small(4000)
    origin, (first, *_) = await compacted_turns(yard, small)
    before = await yard.sessions.messages(origin)
    rows("UPDATE message SET body = '{}' WHERE kind = 'compaction'")

    with pytest.raises(HistoryUnreadableError, match=f"Compaction .* fork {origin}' begins"):
        async with Orchestrator.open(yard.root, connect=InProcessConnection) as anew:
            await anew.run("repo_guide", "on", model=small.model(), session_id=origin)
    fork = await yard.fork(origin)
    early = await yard.fork(origin, at=first - 1)

    await yard.run("repo_guide", "on", model=small.model(), session_id=fork.id)
    assert (await yard.sessions.messages(fork.id))[: len(before)] == before
    assert early.window_seq == 0
