"""The OpenAI Agents SDK's `AdvancedSQLiteSession`: plain `sqlite3` in threads."""

from collections.abc import Sequence
from pathlib import Path

from agents.extensions.memory.advanced_sqlite_session import AdvancedSQLiteSession

from benchmarks.stores import agents_items
from benchmarks.stores.agents_items import Item
from benchmarks.stores.contest import serve
from benchmarks.stores.interface import Model
from benchmarks.stores.workload import Turn


class AdvancedSqliteStore:
    """Sessions on one file; the usage, which a caller may add after each run, is left out."""

    async def open(self, file: Path) -> None:
        """Take note of the file: each session opens it."""
        self._file = file
        self._sessions: list[AdvancedSQLiteSession] = []

    async def begin(self, session: str) -> AdvancedSQLiteSession:
        """Open a session, with its tables made if there are none."""
        begun = AdvancedSQLiteSession(
            session_id=session, db_path=str(self._file), create_tables=True
        )
        self._sessions.append(begun)
        return begun

    async def turn(self, conversation: AdvancedSQLiteSession, turn: Turn, model: Model) -> float:
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
        """Return the numbers of the session's turns."""
        turns = await (await self.begin(session)).get_conversation_turns()
        return [turn["turn"] for turn in turns]

    async def close(self) -> None:
        """Close every session's connections."""
        for session in self._sessions:
            session.close()


if __name__ == "__main__":
    serve(AdvancedSqliteStore())
