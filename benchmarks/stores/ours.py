"""Workyard's record: a turn as the runner and its recorder write it."""

import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic_ai import RunUsage
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart

from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn
from orchestrator.events import AgentMessage, RunEnded, Usage
from orchestrator.lifecycle import RunStatus
from orchestrator.store import store
from orchestrator.store.claimed import Additions, ClaimedRun, RunDraft
from orchestrator.store.pasts import Pasts
from orchestrator.store.store import Store, open_store

MODEL = "scripted"

P = ParamSpec("P")
T = TypeVar("T")


@dataclass
class Talk:
    """A session, by the id that the record has given it."""

    id: str | None = None


class Loading:
    """How long claims take to load what a model is given, which others load before a turn."""

    def __init__(self) -> None:
        self.seconds = 0.0
        ways = ((Pasts, "window"), (store, "without_superseded"), (store, "repair_messages"))
        for owner, name in ways:
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, work: Callable[P, T]) -> Callable[P, T]:
        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            started = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - started

        return timed


class Record:
    """A turn is a run; the claim also loads what the model is given."""

    def __init__(self) -> None:
        self._talks: dict[str, Talk] = {}
        self._loading = Loading()

    async def open(self, file: Path) -> None:
        """Open the record."""
        self._stack = AsyncExitStack()
        self._store = await self._stack.enter_async_context(
            open_store(f"sqlite+aiosqlite:///{file}")
        )

    async def begin(self, session: str) -> Talk:
        """Return the session, which the first claim makes."""
        return self._talks.setdefault(session, Talk())

    async def turn(self, conversation: Talk, turn: Turn, model: Model) -> float:
        """Run once: the claim, and request and response with the run's end.

        The claim writes the prompt, so the recorder need not write the request for itself.
        """
        self._loading.seconds = 0.0
        run = await self._store.claim(draft(turn.user, conversation.id))
        conversation.id = run.session_id
        await model()
        await finish(self._store, run, turn)
        return self._loading.seconds

    async def load(self, session: str) -> Sequence[ModelMessage]:
        """Return a session's messages."""
        talk = self._talks[session]
        assert talk.id is not None, "a session is there when it has had a turn"
        return await self._store.sessions.messages(talk.id)

    def texts(self, messages: Sequence[ModelMessage]) -> list[str]:
        """Return what was said."""
        return [str(getattr(message.parts[0], "content", "")) for message in messages]

    async def numbers(self, session: str) -> Sequence[int]:
        """Return the numbers of the session's events; a gap is a fault too."""
        talk = self._talks[session]
        assert talk.id is not None, "a session is there when it has had a turn"
        numbers = [event.seq async for event in self._store.sessions.all_events(talk.id)]
        assert numbers == list(range(1, len(numbers) + 1)), "events have gaps"
        return numbers

    async def close(self) -> None:
        """Close the record."""
        await self._stack.aclose()


async def finish(store: Store, run: ClaimedRun, turn: Turn) -> None:
    """Write what a run has asked and heard, with its end."""
    request = ModelRequest(
        parts=[UserPromptPart(turn.user)], run_id=run.id, conversation_id=run.session_id
    )
    response = ModelResponse(
        parts=[TextPart(turn.reply)],
        model_name=MODEL,
        run_id=run.id,
        conversation_id=run.session_id,
    )
    ended = RunEnded(status=RunStatus.SUCCEEDED, output=turn.reply, usage=Usage(requests=1))
    said = Additions(messages=[request, response], events=[AgentMessage(content=turn.reply)])
    await store.end(run, ended, said, session_usage=RunUsage(requests=1))


def draft(prompt: str, session_id: str | None) -> RunDraft:
    """Return a run of the benchmark's agent."""
    return RunDraft(
        agent="bench",
        spec_sha256="0" * 64,
        model=MODEL,
        prompt=prompt,
        inputs={},
        root="/bench",
        session_id=session_id,
    )


if __name__ == "__main__":
    serve(Record())
