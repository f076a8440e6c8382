"""agno's `AsyncSqliteDb`: the session's row and the run's, when the run has ended."""

import time
from collections.abc import Sequence
from pathlib import Path

from agno.db.base import SessionType
from agno.db.sqlite import AsyncSqliteDb
from agno.models.message import Message
from agno.run.agent import RunInput, RunOutput
from agno.run.base import RunStatus
from agno.session import AgentSession

from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn

_AGENT = "bench"


class AgnoStore:
    """What `Agent.arun` does at the end of a run: `upsert_session`, then `upsert_run`."""

    async def open(self, file: Path) -> None:
        """Make the database's engine."""
        self._db = AsyncSqliteDb(db_file=str(file))

    async def begin(self, session: str) -> AgentSession:
        """Load the session with all its runs, or make it."""
        known = await self._db.get_session(session, SessionType.AGENT)
        return known or AgentSession(
            session_id=session, agent_id=_AGENT, session_data={}, created_at=int(time.time())
        )

    async def turn(self, conversation: AgentSession, turn: Turn, model: Model) -> float:
        """Add a run to the session, and write both."""
        asked = Message(role="user", content=turn.user)
        await model()
        run = RunOutput(
            run_id=f"{turn.session}-{turn.number}",
            agent_id=_AGENT,
            session_id=turn.session,
            input=RunInput(input_content=turn.user),
            content=turn.reply,
            messages=[asked, Message(role="assistant", content=turn.reply)],
            status=RunStatus.completed,
        )
        conversation.upsert_run(run)
        index = len(conversation.runs) - 1
        await self._db.upsert_session(conversation)
        await self._db.upsert_run(run, session_id=turn.session, run_index=index)
        return 0

    async def load(self, session: str) -> Sequence[RunOutput]:
        """Return a session's runs."""
        found: AgentSession = await self._db.get_session(session, SessionType.AGENT)
        return found.runs or []

    def texts(self, messages: Sequence[RunOutput]) -> list[str]:
        """Return what was said."""
        return [message.content for run in messages for message in run.messages]

    async def numbers(self, session: str) -> Sequence[int]:
        """Return the numbers of the session's runs."""
        rows, _ = await self._db.get_runs(session_id=session, deserialize=False)
        return [row["run_index"] for row in rows]

    async def close(self) -> None:
        """Dispose of the engine."""
        await self._db.close()


if __name__ == "__main__":
    serve(AgnoStore())
