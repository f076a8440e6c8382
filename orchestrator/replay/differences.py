"""What calls give now, beside what they gave in the recorded run."""

import json
from dataclasses import dataclass
from enum import StrEnum

from pydantic import JsonValue
from pydantic_ai.messages import ToolCallPart, ToolReturnPart

from orchestrator.history.net import text_difference
from orchestrator.store.messages import dump_result


class Verdict(StrEnum):
    """What is to be said of a call."""

    SAME = "same"
    DIFFERS = "differs"
    """It gives another result than it gave then."""
    NOT_RECORDED = "not recorded"
    """There is nothing to compare: the recorded run was broken off before the call returned."""
    NOT_MADE = "not made"
    """The replay ended before."""


@dataclass(frozen=True, kw_only=True)
class CallResult:
    """What a call gave."""

    outcome: str
    """`success`, `failed`, `retried`, `denied` or `interrupted`, as in Pydantic AI."""
    text: str
    """What the model was given of it as text."""


@dataclass(frozen=True, kw_only=True)
class ReplayedCall:
    """One call of the recorded run, made again."""

    step: int
    """Which answer of the model asks for it, from 1."""
    call_id: str
    tool: str
    arguments: dict[str, JsonValue]
    verdict: Verdict
    recorded: CallResult | None
    now: CallResult | None
    difference: str = ""
    """A unified diff of the two texts, of some kilobytes at most; or, where they are the same, what
    else differs."""


def compared(
    step: int, call: ToolCallPart, then: ToolReturnPart | None, now: ToolReturnPart | None
) -> ReplayedCall:
    """Return what is to be said of a call that gave `then` in the recorded run, and `now` today."""
    verdict, difference = Verdict.SAME, ""
    if then is None:
        verdict = Verdict.NOT_RECORDED
    elif now is None:
        verdict = Verdict.NOT_MADE
    elif _facts(then) != _facts(now):
        verdict, difference = Verdict.DIFFERS, _difference(then, now)
    return ReplayedCall(
        step=step,
        call_id=call.tool_call_id,
        tool=call.tool_name,
        arguments=call.args_as_dict(),
        verdict=verdict,
        recorded=_result(then),
        now=_result(now),
        difference=difference,
    )


def _facts(part: ToolReturnPart) -> tuple[str, object]:
    """Return what is compared: not the time, and nothing that the model is not given."""
    return part.outcome, json.loads(dump_result(part)).get("content")


def _difference(then: ToolReturnPart, now: ToolReturnPart) -> str:
    if text := text_difference(_text(then), _text(now)):
        return text
    if then.outcome != now.outcome:
        return f"the outcome was {then.outcome} and is {now.outcome}"
    return "the texts are the same; what is no text differs"


def _result(part: ToolReturnPart | None) -> CallResult | None:
    return None if part is None else CallResult(outcome=part.outcome, text=_text(part))


def _text(part: ToolReturnPart) -> str:
    return part.model_response_str(wrap_if_error=False)
