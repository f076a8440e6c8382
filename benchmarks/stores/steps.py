"""pydantic-ai-harness's `SqliteStepStore`, as its `StepPersistence` capability fills it."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai_harness.step_persistence import (
    ContinuableSnapshot,
    RunRecord,
    SqliteStepStore,
    StepEvent,
)

from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn


@dataclass
class Talk:
    """A conversation, whose history the caller hands to each run."""

    id: str
    history: list[ModelMessage]


class StepStore:
    """What the capability writes for a run without tools: a run, four events, a snapshot."""

    async def open(self, file: Path) -> None:
        """Take note of the file: each operation opens it."""
        self._store = SqliteStepStore(database=file)

    async def begin(self, session: str) -> Talk:
        """Load the latest snapshot of the conversation's last run, as one continues it."""
        return Talk(session, list(await self.load(session)))

    async def turn(self, conversation: Talk, turn: Turn, model: Model) -> float:
        """Write what the hooks write, in their order."""
        run = str(uuid4())
        request = ModelRequest(parts=[UserPromptPart(turn.user)], run_id=run)
        response = ModelResponse(parts=[TextPart(turn.reply)], run_id=run, model_name="scripted")
        await self._store.get_run(run_id=run)
        await self._store.register_run(
            RunRecord(run_id=run, conversation_id=conversation.id, registration_id=str(uuid4()))
        )
        await self._event(conversation, run, "run_started", 0)
        await self._event(conversation, run, "model_request_started", 1)
        await model()
        await self._event(conversation, run, "model_request_completed", 1)
        conversation.history += [request, response]
        await self._store.save_snapshot(
            ContinuableSnapshot(
                run_id=run,
                step_index=1,
                messages=deepcopy(conversation.history),
                conversation_id=conversation.id,
                idempotency_key="0:1:complete",
            )
        )
        await self._event(conversation, run, "run_completed", 0)
        return 0

    async def load(self, session: str) -> Sequence[ModelMessage]:
        """Return the messages of the latest snapshot."""
        for run in reversed(await self._store.list_runs(conversation_id=session)):
            if (snapshot := await self._store.latest_snapshot(run_id=run.run_id)) is not None:
                return list(snapshot.messages)
        return []

    def texts(self, messages: Sequence[ModelMessage]) -> list[str]:
        """Return what was said."""
        return [str(getattr(message.parts[0], "content", "")) for message in messages]

    async def numbers(self, session: str) -> Sequence[int]:
        """Return nothing: messages have no numbers."""
        return ()

    async def close(self) -> None:
        """Do nothing: each operation has closed what it opened."""

    async def _event(self, conversation: Talk, run: str, kind: str, step: int) -> None:
        await self._store.append_event(
            StepEvent(
                run_id=run,
                kind=kind,
                step_index=step,
                conversation_id=conversation.id,
                idempotency_key=f"{step}:{kind}",
            )
        )


if __name__ == "__main__":
    serve(StepStore())
