"""What of a run's history is on record, and as which message."""

from collections.abc import Sequence

from pydantic_ai import Conversation
from pydantic_ai.messages import (
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    TextPart,
    UserPromptPart,
    repair_messages,
)

from orchestrator.chain import Chain, News, compacted_event
from orchestrator.store.claimed import ClaimedRun, RunDraft

DRAFT = RunDraft(agent="a", spec_sha256="0" * 64, model="m", prompt="go", inputs={}, root="/r")
Messages = list[ModelMessage]


def turn(number: int) -> Messages:
    return [
        ModelRequest(parts=[UserPromptPart(f"question {number}")]),
        ModelResponse(parts=[TextPart(f"answer {number}")], model_name="m"),
    ]


def summary() -> ModelRequest:
    return ModelRequest(parts=[CompactionPart(content="so far")])


def run_after(past: Sequence[tuple[int, ModelMessage]]) -> ClaimedRun:
    messages = [message for _, message in past]
    return ClaimedRun(
        id="r",
        pk=1,
        session_id="s",
        session_pk=1,
        draft=DRAFT,
        conversation=Conversation(messages=repair_messages(messages)),
        past=past,
        first_seq=1,
        event_seq=2,
        message_seq=past[-1][0],
        first_message_seq=past[-1][0] + 1,
    )


def upto_and_parts(chain: Chain, history: Sequence[ModelMessage]) -> tuple[int, list[Messages]]:
    news = chain.news(history)
    assert news.given is not None
    return chain.upto(news), [list(news.given), list(news.kept), list(news.new)]


def test_what_is_added_is_new_and_nothing_is_replaced() -> None:
    past = turn(1)
    chain = Chain(run_after([*enumerate(past, 1)]))

    news = chain.news([*past, *turn(2)[:1]])

    assert news.given is None
    assert [message.kind for message in news.new] == ["request"]


def test_what_stays_is_told_from_what_went_by_its_number() -> None:
    past = [*turn(1), *turn(2), *turn(3)]
    chain = Chain(run_after([*enumerate(past, 1)]))
    head, new = summary(), turn(4)[0]

    upto, parts = upto_and_parts(chain, [head, *past[4:], new])

    assert upto == 4
    assert parts == [[head], past[4:], [new]]


def test_history_that_is_replaced_whole_ends_at_its_last_message() -> None:
    past = turn(1)
    chain = Chain(run_after([*enumerate(past, 7)]))
    head, new = summary(), turn(2)[0]

    assert upto_and_parts(chain, [head, new]) == (8, [[head], [], [new]])


def test_equal_message_is_not_the_same_message() -> None:
    """Two questions in the same words are two messages."""
    past = [*turn(1), *turn(1)]
    chain = Chain(run_after([*enumerate(past, 1)]))

    upto, parts = upto_and_parts(chain, [summary(), *past[2:]])

    assert (upto, parts[1]) == (2, past[2:])


def test_copy_of_a_response_that_was_broken_off_replaces_nothing() -> None:
    """Pydantic AI puts one in the place of what it has streamed when a run is stopped."""
    request, response = turn(1)
    chain = Chain(run_after([(1, request), (2, response)]))
    assert isinstance(response, ModelResponse)
    copied = ModelResponse(parts=[], timestamp=response.timestamp, state="interrupted")

    assert chain.news([request, copied]).given is None


def test_message_that_stands_for_several_rows_is_given_not_kept() -> None:
    """A request that had no answer and the next one are one to Pydantic AI, which has no row."""
    unanswered, request, response = turn(1)[0], *turn(2)
    run = run_after([(1, unanswered), (2, request), (3, response)])
    merged = run.conversation.messages[0]
    chain = Chain(run)
    new = turn(3)[0]

    upto, parts = upto_and_parts(chain, [summary(), merged, response, new])

    assert upto == 2
    assert parts[0][1:] == [merged]
    assert parts[1:] == [[response], [new]]


def test_message_written_in_this_run_is_kept_under_its_number() -> None:
    run = run_after([*enumerate(turn(1), 1)])
    chain = Chain(run)
    history = [*run.conversation.messages, *turn(2)]
    news: News = chain.news(history)
    run.message_seq += 2  # as the store does
    chain.wrote(news)
    new = turn(3)[0]

    upto, parts = upto_and_parts(chain, [summary(), *history[2:], new])

    assert upto == 2
    assert parts[1:] == [history[2:], [new]]


def test_rewriting_that_says_nothing_of_itself_is_told_as_such() -> None:
    past = [*turn(1), *turn(2)]
    chain = Chain(run_after([*enumerate(past, 1)]))

    event = compacted_event(chain.news(past[2:]), upto=2, message=5)

    assert (event.reason, event.kept, event.tokens_before) == ("rewritten", 2, None)
