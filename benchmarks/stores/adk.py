"""Google ADK's `DatabaseSessionService`: an event for each message, appended by the runner."""

from collections.abc import Sequence
from pathlib import Path

from google.adk.events.event import Event
from google.adk.sessions.database_session_service import DatabaseSessionService
from google.adk.sessions.session import Session
from google.genai.types import Content, Part

from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn

_KEY = {"app_name": "bench", "user_id": "somebody"}


class AdkStore:
    """What `Runner.run_async` does: the user's event before the model, the agent's after it."""

    async def open(self, file: Path) -> None:
        """Make a service."""
        self._service = DatabaseSessionService(f"sqlite+aiosqlite:///{file}")

    async def begin(self, session: str) -> Session:
        """Load the session with all its events, or make it."""
        known = await self._service.get_session(**_KEY, session_id=session)
        return known or await self._service.create_session(**_KEY, session_id=session)

    async def turn(self, conversation: Session, turn: Turn, model: Model) -> float:
        """Append two events."""
        await self._append(conversation, turn.user, author="user", role="user")
        await model()
        await self._append(conversation, turn.reply, author="agent", role="model")
        return 0

    async def load(self, session: str) -> Sequence[Event]:
        """Return a session's events."""
        loaded = await self._service.get_session(**_KEY, session_id=session)
        return list(loaded.events)

    def texts(self, messages: Sequence[Event]) -> list[str]:
        """Return what was said."""
        return [event.content.parts[0].text for event in messages]

    async def numbers(self, session: str) -> Sequence[int]:
        """Return nothing: messages have no numbers."""
        return ()

    async def close(self) -> None:
        """Dispose of the engine."""
        await self._service.close()

    async def _append(self, session: Session, text: str, *, author: str, role: str) -> None:
        content = Content(role=role, parts=[Part(text=text)])
        event = Event(invocation_id=f"e-{len(session.events)}", author=author, content=content)
        await self._service.append_event(session, event)


if __name__ == "__main__":
    serve(AdkStore())
