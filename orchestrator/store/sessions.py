"""The sessions on record: reading them, and what users do to them beside running agents."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Self, Unpack

import anyio
import anyio.to_thread
from pydantic import JsonValue

from orchestrator.errors import ConflictError
from orchestrator.events import RunEnded
from orchestrator.ids import new_id
from orchestrator.session import LOCAL_OWNER, NewSession, Session, named
from orchestrator.state import State, plain_json, within_limits
from orchestrator.store import changing, forks
from orchestrator.store.approvals import Answer, Answered, answer
from orchestrator.store.cancelling import session_of, stop_run
from orchestrator.store.changing import SessionDraft
from orchestrator.store.completion import uninterrupted
from orchestrator.store.deleting import delete_session
from orchestrator.store.reading import Reading
from orchestrator.store.transfer.conversation import read_conversation
from orchestrator.store.transfer.forms import FORMS, Form
from orchestrator.store.transfer.incoming import Import, put_on_record
from orchestrator.store.transfer.reading import Arrival, read_lines

STOP_S = 30.0
"""How long another process has to stop a run that is to be cancelled; it looks every second."""


@dataclass(frozen=True)
class Sessions(Reading):
    """The sessions on record, everybody's or one owner's."""

    def of(self, owner: str) -> Self:
        """Return the sessions of one owner alone: what others own is not there.

        Raises:
            InvalidInputError: If no owner can have this name.
        """
        return replace(self, _owner=named("owner", owner))

    @uninterrupted
    async def create(
        self, agent: str, root: str, *, external_id: str | None = None, **new: Unpack[NewSession]
    ) -> Session:
        """Make an empty session; a run that names it begins it.

        It belongs to the owner whose sessions these are, or to nobody in particular.

        Args:
            agent: The agent that it is for.
            root: The directory that it is about, absolute.
            external_id: What the owner's own program calls it.
            new: Its title and its state.

        Raises:
            ExternalIdTakenError: If the owner has a session of this external id.
            InvalidInputError: If one of them cannot be put on record.
        """
        draft = self._draft(agent, root, external_id, new)
        return await self.get(await self._access.write(partial(changing.create, draft)))

    @uninterrupted
    async def get_or_create(
        self, external_id: str, *, agent: str, root: str, **new: Unpack[NewSession]
    ) -> Session:
        """Return the owner's session of an external id, made if there is none; see `create`."""
        draft = self._draft(agent, root, external_id, new)
        return await self.get(await self._access.write(partial(changing.get_or_create, draft)))

    @uninterrupted
    async def rename(self, session_id: str, title: str) -> Session:
        """Give a session another title.

        Raises:
            NotFoundError: If there is no such session.
            InvalidInputError: If the title is empty or too long.
        """
        await self._access.write(partial(changing.rename, session_id, self._owner, title))
        return await self.get(session_id)

    @uninterrupted
    async def update_state(
        self,
        session_id: str,
        changes: Mapping[str, JsonValue],
        *,
        expected_version: int | None = None,
    ) -> State:
        """Change a session's state, and return what it is now.

        Args:
            session_id: The session.
            changes: A JSON merge patch: values take the place of those before, objects are merged,
                and null removes a key.
            expected_version: The version that the caller has seen; None takes any.

        Raises:
            NotFoundError: If there is no such session.
            StateConflictError: If somebody else has changed it since.
            InvalidInputError: If the changes are not JSON.
            LimitError: If the state would be too large.
        """
        change = (session_id, self._owner, changes, expected_version)
        return await self._access.write(partial(changing.update_state, *change))

    @uninterrupted
    async def fork(
        self, session_id: str, *, at: int | None = None, title: str | None = None
    ) -> Session:
        """Begin a session whose past is another's up to message `at`; see `forks.fork_point`.

        Raises:
            NotFoundError: If there is no such session.
            InvalidInputError: If no history can go on after this message.
            HistoryUnreadableError: If the messages up to there cannot be read.
        """
        point = await self.look(session_id, partial(forks.fork_point, at=at))
        fork_id = new_id()
        await self._access.write(lambda tx: forks.write_fork(tx, point, fork_id, title))
        return await self.get(fork_id)

    @uninterrupted
    async def delete(self, session_id: str) -> None:
        """Delete a session, with its runs, messages and events. Its forks keep what they share.

        Raises:
            NotFoundError: If there is no such session.
            SessionBusyError: If a run is at work in it.
        """
        this = (session_id, self._owner, self._liveness)
        await self._access.write(partial(delete_session, *this))
        self._arrivals.announce(session_id)

    @uninterrupted
    async def answer(self, run_id: str, said: Answer, *, call_id: str | None = None) -> Answered:
        """Say yes or no to what a run waits for; when nothing is left, it can be resumed.

        Args:
            run_id: The run that asks, or one for which it works.
            said: What a person says.
            call_id: To which question; to all of the run, and of those that work for it, when None.

        Raises:
            NotFoundError: If there is no such run or question.
            ConflictError: If the run does not wait, or more than one call that waits has this id.
        """
        write = partial(answer, run_id, self._owner, call_id, said)
        return await self._access.write(write)

    async def cancel(self, session_id: str) -> RunEnded:
        """Stop the run that holds a session, of whatever process, and return how it has ended.

        It may have come to another end in the meantime. One that waits for a yes is stopped too,
        with those that wait for it.

        Raises:
            NotFoundError: If there is no such session.
            ConflictError: If no run holds it and none waits, it waits for another one that asks, or
                its process does not answer; it is asked to stop all the same.
        """
        return await self._stop(session_id)

    async def cancel_run(self, run_id: str) -> RunEnded:
        """Do as `cancel` does, with a run of a session.

        Raises:
            NotFoundError: If there is no such run.
            ConflictError: If it has ended, or as with `cancel`.
        """
        find = partial(session_of, run_id=run_id, owner=self._owner)
        return await self._stop(await self._access.read(find), run_id)

    async def _stop(self, session_id: str, run_id: str | None = None) -> RunEnded:
        stop = partial(stop_run, session_id, self._owner, self._liveness, run_id)
        asked = await self._access.write(stop)
        self._arrivals.announce(session_id)
        events = self.follow(session_id, run_id=asked.run_id, after=asked.event_seq)
        with anyio.move_on_after(STOP_S):
            async for recorded in events:
                if isinstance(recorded.event, RunEnded):
                    return recorded.event
        raise ConflictError(
            f"Run {asked.run_id!r} has not stopped within {STOP_S:g} s. Its process is asked to, "
            "and stops it as soon as it can."
        )

    def export(self, session_id: str, form: Form = "jsonl") -> AsyncIterator[str]:
        """Yield a session as text, in pieces; with `jsonl`, line by line.

        Args:
            session_id: The session.
            form: `jsonl` is complete and can be imported, `messages` is JSON for
                `ModelMessagesTypeAdapter` of Pydantic AI, `markdown` is for people.

        Raises:
            NotFoundError: If there is no such session.
            HistoryUnreadableError: If a part of it cannot be read.
        """
        return FORMS[form](partial(self.look, session_id))

    async def import_lines(self, file: BinaryIO, *, root: str | None = None) -> Session:
        """Put a session on record that was exported as JSON Lines; all of it or nothing.

        It keeps its ids unless one of them is on record: then it is a copy, with ids of its own. It
        belongs to the owner whose sessions these are, or to nobody in particular.

        Args:
            file: The export.
            root: The directory that it is about here, absolute; by default, the one of the export.

        Raises:
            InvalidInputError: If the file is no such export; it names the line.
            LimitError: If the session's state is too large.
        """
        arrival = await anyio.to_thread.run_sync(read_lines, file)
        within_limits(plain_json(arrival.session.state))
        return await self._put_on_record(arrival, root or arrival.session.root)

    async def import_messages(
        self, text: str, *, agent: str, root: str, external_id: str | None = None, title: str = ""
    ) -> Session:
        """Put messages of Pydantic AI on record, as a new session that can be continued.

        Args:
            text: JSON, as `ModelMessagesTypeAdapter` dumps it.
            agent: The agent that they are of.
            root: The directory that they are about, absolute.
            external_id: What the owner's own program calls the session.
            title: Its title; by default, the beginning of the first prompt.

        Raises:
            InvalidInputError: If the text is no such list.
        """
        draft = self._draft(agent, root, external_id, NewSession(title=title))
        arrival = await anyio.to_thread.run_sync(read_conversation, text, draft)
        return await self._put_on_record(arrival, root)

    @uninterrupted
    async def _put_on_record(self, arrival: Arrival, root: str) -> Session:
        owner = self._owner or LOCAL_OWNER
        work = partial(put_on_record, Import(arrival=arrival, owner=owner, root=root))
        return await self.get(await self._access.write(work))

    def _draft(
        self, agent: str, root: str, external_id: str | None, new: NewSession
    ) -> SessionDraft:
        owner = self._owner or LOCAL_OWNER
        return SessionDraft(owner=owner, agent=agent, root=root, external_id=external_id, **new)
