"""How far a run that broke off has come: what of its last step is on record.

A step is a request, the model's answer, and the calls that the answer asks for. The answer is on
record before a call is made, a call before it has an effect, and a result as soon as it is there.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, ToolReturnPart
from sqlalchemy import Connection, bindparam, select

from orchestrator.store.claimed import Settled
from orchestrator.store.messages import call_key, long_result, read_result
from orchestrator.store.tables import TOOL_CALL


def read_ledger(db: Connection, run_pk: int) -> dict[str, str | None]:
    """Return what the ledger has of a run's calls, by key: results as JSON, if there are any.

    Raises:
        ValueError: If a call holds what no column takes.
    """
    rows = db.execute(_LEDGER, {"run": run_pk}).all()
    if any(isinstance(value, bytes) for row in rows for value in row):
        raise ValueError("a call holds bytes")
    return {
        row.call_id: None
        if row.result is None
        else long_result(row.result, row.call_id, row.tool, row.outcome)
        for row in rows
    }


def known_results(
    answer: ModelResponse, before: Collection[str], ledger: Mapping[str, str | None]
) -> dict[str, ToolReturnPart]:
    """Return what the ledger has of the calls of an answer, by their ids.

    Args:
        answer: The answer.
        before: The ids of calls of answers before it: what the ledger has by one of them is theirs.
        ledger: What the ledger has.

    Raises:
        ValueError: If a result is none.
    """
    own = [call.tool_call_id for call in answer.tool_calls if call.tool_call_id not in before]
    known = {call_id: ledger.get(call_key(call_id)) for call_id in own}
    return {call_id: read_result(text) for call_id, text in known.items() if text is not None}


def missing_results(
    answer: ModelResponse,
    after: Sequence[ModelMessage],
    before: Collection[str],
    ledger: Mapping[str, str | None],
) -> list[ToolReturnPart]:
    """Return what the ledger has of the calls of an answer, and no message has.

    Args:
        answer: The answer.
        after: The messages after it. If one of them is whole, it has all that there is.
        before: The ids of calls of answers before it.
        ledger: What the ledger has.

    Raises:
        ValueError: If a result is none.
    """
    if not all(map(_is_broken_off, after)):
        return []
    known = known_results(answer, before, ledger)
    return [part for call_id, part in known.items() if call_id not in _results_in(after)]


@dataclass(frozen=True)
class Standing:
    """From where a run goes on."""

    history: Sequence[ModelMessage]
    """What the model is given; it ends with a request, or with calls that are to be made."""
    settled: Settled


def standing(
    messages: Sequence[ModelMessage],
    before: Collection[str],
    ledger: Mapping[str, str | None],
    *,
    may_do: bool,
) -> Standing:
    """Return from where a run goes on.

    Args:
        messages: What the model was given, and what it said; they end with messages of the run.
        before: The ids of calls of the run's answers but the last.
        ledger: What the ledger has of the run's calls.
        may_do: Whether the last answer may do, and is not what the run has failed of.

    Raises:
        ValueError: If a result in the ledger is none.
    """
    end = len(messages)
    while end and isinstance(last := messages[end - 1], ModelRequest) and _is_broken_off(last):
        end -= 1
    answer = messages[end - 1] if end else None
    if not isinstance(answer, ModelResponse):
        return Standing(messages, Settled())
    in_messages = _results_in(messages[end:])
    if len(messages) > end and {c.tool_call_id for c in answer.tool_calls} <= in_messages.keys():
        return Standing(messages, Settled())
    if answer.state == "suspended":  # the provider is still at work, and Pydantic AI asks it
        return Standing(messages, Settled())
    before_answer = Standing(messages[: end - 1], Settled())
    if _is_broken_off(answer):
        return before_answer
    if not answer.tool_calls:
        return Standing(before_answer.history, Settled(answer=answer)) if may_do else before_answer
    settled = Settled(
        # Of a call whose id another one had before, nobody knows whether it was begun.
        called=frozenset(
            c.tool_call_id
            for c in answer.tool_calls
            if call_key(c.tool_call_id) in ledger or c.tool_call_id in before
        ),
        results=known_results(answer, before, ledger) | in_messages,
        in_messages=frozenset(in_messages),
    )
    if may_do or settled.called:
        return Standing(messages[:end], settled)
    return before_answer


def without_superseded(messages: Sequence[ModelMessage]) -> list[ModelMessage]:
    """Return a history without answers in whose place another one stands.

    A run that was resumed has asked again where an answer broke off, or could not be used.
    """
    said = [message for message in messages if message.parts or not _is_broken_off(message)]
    return [
        message
        for message, after in zip_longest(said, said[1:])
        if not (isinstance(message, ModelResponse) and isinstance(after, ModelResponse))
    ]


def _is_broken_off(message: ModelMessage) -> bool:
    return message.state == "interrupted"


def _results_in(messages: Sequence[ModelMessage]) -> dict[str, ToolReturnPart]:
    parts = (part for message in messages for part in message.parts)
    return {part.tool_call_id: part for part in parts if isinstance(part, ToolReturnPart)}


def calls_of(answers: Sequence[ModelResponse]) -> set[str]:
    """Return the ids of the calls that answers ask for; none is made of one that broke off."""
    whole = (answer for answer in answers if not _is_broken_off(answer))
    return {call.tool_call_id for answer in whole for call in answer.tool_calls}


_LEDGER = select(
    TOOL_CALL.c.call_id, TOOL_CALL.c.tool, TOOL_CALL.c.outcome, TOOL_CALL.c.result
).where(TOOL_CALL.c.run_pk == bindparam("run"))
