"""The OpenAI Agents SDK's `SQLAlchemySession`: one engine for all sessions."""

from collections.abc import Sequence
from pathlib import Path

from agents.extensions.memory.sqlalchemy_session import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.stores import agents_items
from benchmarks.stores.agents_items import Item
from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn


class SqlAlchemyStore:
    """Sessions of one application, which share its engine."""

    async def open(self, file: Path) -> None:
        """Make the engine."""
        self._engine = create_async_engine(f"sqlite+aiosqlite:///{file}")

    async def begin(self, session: str) -> SQLAlchemySession:
        """Return the session, which reads nothing yet."""
        return SQLAlchemySession(session, engine=self._engine, create_tables=True)

    async def turn(self, conversation: SQLAlchemySession, turn: Turn, model: Model) -> float:
        """Add the input, and the answer."""
        await agents_items.write(conversation, turn, model)
        return 0

    async def load(self, session: str) -> Sequence[Item]:
        """Return a session's items."""
        items: Sequence[Item] = await (await self.begin(session)).get_items()
        return items

    def texts(self, messages: Sequence[Item]) -> list[str]:
        """Return what was said."""
        return agents_items.texts(messages)

    async def numbers(self, session: str) -> Sequence[int]:
        """Return nothing: messages have no numbers."""
        return ()

    async def close(self) -> None:
        """Dispose of the engine."""
        await self._engine.dispose()


if __name__ == "__main__":
    serve(SqlAlchemyStore())
