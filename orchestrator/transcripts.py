"""Sessions on record as the MCP server wants them: `mcp_server.ports.Transcripts`.

The record is opened when somebody asks for it: it takes seconds to load what reads it, and a host
that only wants files must not wait for that.
"""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.abc
import anyio.to_thread

import orchestrator
from mcp_server.fence.grant import Grant
from mcp_server.ports import TranscriptCard
from orchestrator.adapter import server_errors_raised
from orchestrator.errors import InvalidInputError, NotFoundError, StoreUnavailableError
from orchestrator.owners import owner_of
from orchestrator.session import Session
from orchestrator.settings import Settings

if TYPE_CHECKING:
    from orchestrator.store.sessions import Sessions

LISTED = 50
"""Sessions of a listing, the latest ones."""
MAX_ID_CHARS = 80
"""No id is longer: of what is asked for in its place, no more is shown."""
MAX_CHARS = 500_000
"""Of a longer transcript the end is given: that is where something goes on."""


class Record:
    """The record of this process, opened at most once and held as long as `tasks` goes on."""

    def __init__(self, settings: Settings, tasks: anyio.abc.TaskGroup) -> None:
        self._settings = settings
        self._tasks = tasks
        self._opening = anyio.Lock()
        self._sessions: Sessions | None = None

    async def sessions(self) -> "Sessions | None":
        """Return the sessions on record; None as long as there is no record.

        Raises:
            StoreUnavailableError: If it cannot be opened, for whatever reason.
        """
        if self._settings.database_url is None and not self._is_there():
            return None
        async with self._opening:
            if self._sessions is None:
                try:
                    self._sessions = await self._tasks.start(self._hold)
                except InvalidInputError as error:  # of the operator, whom no client is
                    raise StoreUnavailableError(str(error)) from error
            return self._sessions

    def _is_there(self) -> bool:
        file = self._settings.data_dir / "workyard.db"
        try:
            return file.exists()
        except OSError as error:
            raise StoreUnavailableError(f"The record cannot be opened: {error}.") from error

    async def _hold(self, *, task_status: "anyio.abc.TaskStatus[Sessions]") -> None:
        # The name loads the module: in a thread, so that other requests are answered meanwhile.
        open_store = await anyio.to_thread.run_sync(lambda: orchestrator.open_store)
        async with open_store(self._settings.effective_database_url) as store:
            task_status.started(store.sessions)
            await anyio.sleep_forever()


class RecordedTranscripts:
    """The sessions of one root, everybody's or one owner's."""

    def __init__(self, record: Record, root: Path, owner: str | None = None) -> None:
        self._record = record
        self._root = root
        self._owner = owner

    def of(self, caller: str, grant: Grant) -> "RecordedTranscripts":
        """Return those of the runs that one caller has begun with a grant."""
        return RecordedTranscripts(self._record, self._root, owner_of(caller, grant))

    async def list(self) -> Sequence[TranscriptCard]:
        """Return the latest sessions."""
        with server_errors_raised():
            sessions = await self._sessions()
            if sessions is None:
                return ()
            page = await sessions.list(limit=LISTED, root=str(self._root))
        return [TranscriptCard(id=s.id, title=s.title, agent=s.agent) for s in page.sessions]

    async def read(self, session_id: str) -> str:
        """Return a session as Markdown, the end of it if it is long.

        Raises:
            NotFoundError: This root has no such session.
        """
        with server_errors_raised():
            sessions, session = await self._found(session_id)
            pieces: deque[str] = deque()
            size, is_whole = 0, True
            async for piece in sessions.export(session.id, "markdown"):
                pieces.append(piece)
                size += len(piece)
                while size > MAX_CHARS and len(pieces) > 1:
                    size -= len(pieces.popleft())
                    is_whole = False
        if is_whole:
            return "".join(pieces)
        left_out = (
            f"# {session.title}\n\n*The beginning is left out: this is long. All of it: "
            f"`workyard sessions export {session.id} --format markdown`*\n"
        )
        return left_out + "".join(pieces)

    async def version(self, session_id: str) -> str:
        """Return what changes whenever something happens in the session.

        Raises:
            NotFoundError: This root has no such session.
        """
        with server_errors_raised():
            _, session = await self._found(session_id)
        return f"{session.last_event_seq} {session.status}"

    async def _sessions(self) -> "Sessions | None":
        sessions = await self._record.sessions()
        return sessions if sessions is None or self._owner is None else sessions.of(self._owner)

    async def _found(self, session_id: str) -> "tuple[Sessions, Session]":
        if len(session_id) > MAX_ID_CHARS:
            raise NotFoundError("session", session_id[:MAX_ID_CHARS])
        sessions = await self._sessions()
        if sessions is None:
            raise NotFoundError("session", session_id)
        session = await sessions.get(session_id)
        if session.root != str(self._root):
            # Of other roots this server knows nothing, not even that they have sessions.
            raise NotFoundError("session", session_id)
        return sessions, session
