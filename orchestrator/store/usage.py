"""What responses have used, as the record counts it."""

from collections.abc import Iterable
from decimal import Decimal

from pydantic_ai.messages import ModelMessage, ModelResponse

from orchestrator.events import Usage


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
