"""What responses have used, as the record counts it."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any  # what a JSON column holds

from pydantic import TypeAdapter
from pydantic_ai import RunUsage
from pydantic_ai.messages import ModelMessage, ModelResponse

from orchestrator.events import Usage

_USAGE = TypeAdapter(RunUsage)


def used_by(messages: Iterable[ModelMessage], *, tool_calls: int) -> Usage:
    """Return what the responses among the messages have used.

    The cost is known only if that of each of them is. One that was broken off does not count: what
    the provider will ask for it, nobody has said.
    """
    used = [
        message.usage
        for message in messages
        if isinstance(message, ModelResponse) and message.state != "interrupted"
    ]
    costs = [usage.cost for usage in used if usage.cost is not None]
    return Usage(
        requests=len(used),
        tool_calls=tool_calls,
        input_tokens=sum(usage.input_tokens for usage in used),
        cache_read_tokens=sum(usage.cache_read_tokens for usage in used),
        output_tokens=sum(usage.output_tokens for usage in used),
        cost=sum(costs, Decimal()) if used and len(costs) == len(used) else None,
    )


def together(one: Usage, other: Usage) -> Usage:
    """Return the sum of what two have used; its cost is known if that of both is."""
    costs = [usage.cost for usage in (one, other) if usage.requests]
    known = [cost for cost in costs if cost is not None]
    return Usage(
        requests=one.requests + other.requests,
        tool_calls=one.tool_calls + other.tool_calls,
        input_tokens=one.input_tokens + other.input_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cost=sum(known, Decimal()) if known and len(known) == len(costs) else None,
    )


def used_beside(total: RunUsage, past: RunUsage, messages: Iterable[ModelMessage]) -> Usage:
    """Return what a run has used that is in none of its responses: for summaries of its history.

    Args:
        total: What the session has used, this run included.
        past: What it had used before this run.
        messages: The run's own.
    """
    responses = [message for message in messages if isinstance(message, ModelResponse)]
    rest = total - (past + _counted_for(responses))
    if rest.requests <= 0:
        return Usage()
    return Usage(
        requests=rest.requests,
        input_tokens=rest.input_tokens,
        cache_read_tokens=rest.cache_read_tokens,
        output_tokens=rest.output_tokens,
        cost=rest.cost,
    )


def counted_for_broken_off(messages: Iterable[ModelMessage]) -> RunUsage:
    """Return what Pydantic AI has counted for responses that do not count here; see `used_by`."""
    responses = (message for message in messages if isinstance(message, ModelResponse))
    return _counted_for(one for one in responses if one.state == "interrupted")


def _counted_for(responses: Iterable[ModelResponse]) -> RunUsage:
    counted = RunUsage()
    for response in responses:
        counted.incr(response.usage)
        # One that had said nothing yet when it was broken off is no request.
        counted.requests += response.state != "interrupted" or bool(response.parts)
    return counted


def dump_usage(usage: RunUsage) -> dict[str, Any]:
    """Return a session's usage as its row holds it."""
    dumped: dict[str, Any] = _USAGE.dump_python(usage, mode="json", exclude_defaults=True)
    return dumped


def read_usage(stored: dict[str, Any]) -> RunUsage:
    """Return the usage that a session's row holds."""
    return _USAGE.validate_python(stored)


def added(stored: dict[str, Any], used: Usage) -> dict[str, Any]:
    """Return a session's usage with that of one more run."""
    usage = read_usage(stored)
    usage.requests += used.requests
    usage.tool_calls += used.tool_calls
    usage.input_tokens += used.input_tokens
    usage.cache_read_tokens += used.cache_read_tokens
    usage.output_tokens += used.output_tokens
    if used.cost is not None:
        usage.cost = (usage.cost or Decimal()) + used.cost
    return dump_usage(usage)


def beyond(used: Usage, already: Usage) -> Usage:
    """Return what was used beyond what has been counted already."""
    return Usage(
        requests=used.requests - already.requests,
        tool_calls=used.tool_calls - already.tool_calls,
        input_tokens=used.input_tokens - already.input_tokens,
        cache_read_tokens=used.cache_read_tokens - already.cache_read_tokens,
        output_tokens=used.output_tokens - already.output_tokens,
        cost=None if used.cost is None else used.cost - (already.cost or Decimal()),
    )


def in_all(usage: Usage) -> RunUsage:
    """Return what a run has used as Pydantic AI counts it."""
    counted = usage.model_dump(exclude={"version"})
    return RunUsage(**counted)
