"""How the OpenAI Agents SDK writes a turn, into whichever session: items before and after."""

from collections.abc import Sequence
from typing import Any  # items are dictionaries of JSON

from agents.memory.session import Session

from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn

Item = dict[str, Any]


async def write(session: Session, turn: Turn, model: Model) -> None:
    """Add what `Runner.run` adds: the input before the model, its answer after it."""
    await session.add_items([{"role": "user", "content": turn.user}])
    await model()
    text = {"type": "output_text", "text": turn.reply, "annotations": []}
    answer = {
        "id": f"msg_{turn.session}_{turn.number}",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [text],
    }
    await session.add_items([answer])


def texts(items: Sequence[Item]) -> list[str]:
    """Return what was said."""
    return [
        item["content"] if item["role"] == "user" else item["content"][0]["text"] for item in items
    ]
