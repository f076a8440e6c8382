"""What a model is given of a long session, loaded by a process that knows nothing of it."""

import time
from pathlib import Path

from pydantic_ai.messages import CompactionPart, ModelRequest

from benchmarks.stores.ours import draft, finish
from benchmarks.stores.workload import Turn
from orchestrator.events import HistoryCompacted, Usage
from orchestrator.store.claimed import Additions, Compacted
from orchestrator.store.store import Store, open_store

IN_WINDOW = 40
"""Turns after the summary of all that came before: 80 KB of text, some 20,000 tokens."""


async def measured(place: Path, turns: int, rounds: int) -> list[float]:
    """Return the milliseconds of a claim, which loads the window; the store is open by then."""
    url = f"sqlite+aiosqlite:///{place / f'window-{turns}.db'}"
    async with open_store(url) as store:
        session_id = await _long_session(store, turns)
    return [await _claim_ms(url, session_id) for _ in range(rounds)]


async def _long_session(store: Store, turns: int) -> str:
    session_id: str | None = None
    for number in range(1, turns + 1):
        turn = Turn("window", number)
        run = await store.claim(draft(turn.user, session_id))
        if number == turns - IN_WINDOW:
            upto = run.message_seq
            summary = ModelRequest(parts=[CompactionPart(content="What was said before.")])
            compacted = Compacted(upto=upto, given=[summary], usage=Usage())
            event = HistoryCompacted(upto=upto, kept=0, message=upto + 1, reason="near_limit")
            await store.record(run, Additions(compacted=compacted, events=[event]))
        await finish(store, run, turn)
        session_id = run.session_id
    assert session_id is not None, "there are turns"
    return session_id


async def _claim_ms(url: str, session_id: str) -> float:
    async with open_store(url) as store:
        turn = Turn("window", 1)
        started = time.perf_counter()
        run = await store.claim(draft(turn.user, session_id))
        ms = (time.perf_counter() - started) * 1000
        loaded = len(run.conversation.messages)
        assert loaded in range(2 * IN_WINDOW, 3 * IN_WINDOW), f"{loaded} messages"
        await finish(store, run, turn)
    return ms
