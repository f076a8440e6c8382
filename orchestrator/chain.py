"""A run's history beside its record: which of its messages are on record, and as which one.

Pydantic AI only adds to a run's history, except where a capability puts something else in the place
of its older part. Then the record keeps what it has, and says what the model is given instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast  # Any: what metadata holds

from pydantic_ai.messages import (
    CompactionPart,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    UserPromptPart,
)

from orchestrator.compaction.capability import AFTER, BEFORE, REASON
from orchestrator.events import HistoryCompacted
from orchestrator.store.claimed import ClaimedRun


@dataclass(frozen=True, kw_only=True)
class News:
    """What a history has that is not on record."""

    history: Sequence[ModelMessage]
    """All of it, at that moment."""
    given: Sequence[ModelMessage] | None
    """What stands in the place of messages on record; None if all of them are there."""
    kept: Sequence[ModelMessage]
    """The messages on record that are there, if some are not."""
    new: Sequence[ModelMessage]


class Chain:
    """The history of one run, as far as it is on record."""

    def __init__(self, run: ClaimedRun) -> None:
        self._on_record: Sequence[ModelMessage] = run.conversation.messages
        # Messages are told apart by what they are, not by what they say; `_held` keeps them, so
        # that no other can come to be at the same address.
        self._numbers = {id(message): number for number, message in run.past}
        self._held: list[ModelMessage] = [message for _, message in run.past]
        self._run = run
        self._answer = run.settled.answer
        """An answer on record that the history will get once more."""

    def news(self, history: Sequence[ModelMessage]) -> News:
        """Return what of a history is not on record."""
        known = self._on_record
        if goes_on(history, known):
            new = history[len(known) :]
            if new and self._answer is not None and _is_same(new[0], self._answer):
                new = new[1:]
            return News(history=list(history), given=None, kept=(), new=new)
        end = self._end_of_kept(history)
        begin = end
        while begin and self._is_kept(history, begin, end):
            begin -= 1
        return News(
            history=list(history),
            given=history[:begin],
            kept=history[begin:end],
            new=history[end:],
        )

    def upto(self, news: News) -> int:
        """Return the number of the last message that is not there any more."""
        return self._numbers[id(news.kept[0])] - 1 if news.kept else self._run.message_seq

    def wrote(self, news: News) -> None:
        """Take note that news are on record now: the run's number of messages has moved on."""
        first = self._run.message_seq - len(news.new) + 1
        self._numbers |= {id(message): number for number, message in enumerate(news.new, first)}
        self._held += news.new
        self._on_record = news.history
        if news.new:
            self._answer = None

    def _end_of_kept(self, history: Sequence[ModelMessage]) -> int:
        """Return where in a history the messages end that are on record.

        If none of them is there, all but the last is what stands for them: that one is a request
        which is about to be made.
        """
        last = self._on_record[-1]
        at = [index for index, message in enumerate(history) if message is last]
        return at[-1] + 1 if at else max(len(history) - 1, 0)

    def _is_kept(self, history: Sequence[ModelMessage], begin: int, end: int) -> bool:
        """Say whether the message before `begin` is on record, as far from the end as here."""
        back = begin - 1 - end
        known = self._on_record
        message = history[begin - 1]
        return -back <= len(known) and message is known[back] and id(message) in self._numbers


def goes_on(history: Sequence[ModelMessage], known: Sequence[ModelMessage]) -> bool:
    """Say whether a history begins with these messages."""
    return len(history) >= len(known) and all(map(_is_same, history, known))


def repeats(news: News, prompt: str) -> bool:
    """Say whether news are one request that says nothing but a prompt that is on record already."""
    if news.given is not None or len(news.new) != 1 or not isinstance(news.new[0], ModelRequest):
        return False
    return all(
        isinstance(part, UserPromptPart) and part.content == prompt for part in news.new[0].parts
    )


def _is_same(one: ModelMessage, other: ModelMessage) -> bool:
    """Say whether a message is the one on record, or a copy that Pydantic AI has made of it.

    It copies a response that breaks off, and the request with which a run goes on.
    """
    if isinstance(one, ModelResponse) and isinstance(other, ModelResponse):
        return one is other or one.timestamp == other.timestamp
    return one is other or one.parts is other.parts


def compacted_event(news: News, *, upto: int, message: int) -> HistoryCompacted:
    """Return the event that tells of a compaction."""
    told: dict[str, Any] = {}
    for part in (part for given in news.given or () for part in given.parts):
        if isinstance(part, CompactionPart):
            told = part.metadata or {}
    reason = cast(Literal["near_limit", "over_limit", "rewritten"], told.get(REASON, "rewritten"))
    return HistoryCompacted(
        upto=upto,
        kept=len(news.kept),
        message=message,
        reason=reason,
        tokens_before=told.get(BEFORE),
        tokens_after=told.get(AFTER),
    )
