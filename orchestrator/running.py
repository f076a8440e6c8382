"""Runs agents for an MCP server: its `AgentRunner`, over the orchestrator.

Importing this loads Pydantic AI and the record: seconds that no server spends before somebody runs
an agent (`late.py`).
"""

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

import anyio

from mcp_server import errors as theirs
from mcp_server.changed import ChangedFile
from mcp_server.fence.grant import Grant
from mcp_server.ports import (
    HostModel,
    Operator,
    Order,
    Question,
    RunnableAgent,
    RunReport,
    Step,
    Verdict,
)
from orchestrator.bootstrap import Orchestrator
from orchestrator.client_model import CLIENT, ClientModel
from orchestrator.connections import StdioConnection, WorkspaceConnection
from orchestrator.definitions.definitions import MAX_PAGE
from orchestrator.errors import (
    NotFoundError,
)
from orchestrator.events import FileChanged, RecordedEvent, Usage
from orchestrator.host_errors import translated
from orchestrator.lifecycle import RunStatus
from orchestrator.owners import owner_of
from orchestrator.runnable import runnable_agents, runnable_definitions
from orchestrator.runner import RunHandle
from orchestrator.servers.reach import Servers
from orchestrator.session import LOCAL_OWNER
from orchestrator.store.approvals import Answer
from orchestrator.store.approvals import Question as RecordedQuestion
from orchestrator.store.one_run import FoundRun
from orchestrator.store.sessions import Sessions
from orchestrator.words import as_text, in_words, told

MAX_AT_ONCE = 8
"""Runs of one server under way: each is a server process, and money."""
MAX_OF_ONE = 4
"""Of one of several callers: nobody takes all the places."""

_log = logging.getLogger(__name__)


@dataclass
class _UnderWay:
    """A run that takes a place, from before it has begun."""

    owner: str | None
    handle: RunHandle | None = None

    @property
    def has_ended(self) -> bool:
        return self.handle is not None and self.handle.ended.is_set()


@dataclass
class Running:
    """Runs agents in one directory, each within the operator's grant."""

    yard: Orchestrator
    operator: Operator
    connection: WorkspaceConnection
    """How agents reach the workspace, within what may be done there."""
    grant: Grant
    """What may be done there."""
    servers: Servers
    """The operator's MCP servers that agents reach."""
    owner: str | None
    """Whose sessions are there; None for everybody's."""
    agents_of: str = LOCAL_OWNER
    """Whose definitions are there by their names; one of several callers has what is shared."""
    at_once: int = MAX_AT_ONCE
    """Runs of this owner under way."""
    has_servers: bool = True
    """Whether the operator's MCP servers can be reached; no caller's scope opens them."""
    _under_way: list[_UnderWay] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, operator: Operator) -> AsyncGenerator[Self]:
        """Open the record. On leaving, what still runs is cancelled."""
        # Pydantic AI would print an advertisement into the host's log.
        os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")
        connect = partial(StdioConnection, grant=operator.grant)
        with translated():
            async with Orchestrator.open(
                operator.root, specs=operator.specs, connect=connect
            ) as yard:
                owner = owner_of("", operator.grant)
                yield cls(yard, operator, yard.connection, operator.grant, yard.servers, owner)

    def of(self, caller: str, grant: Grant) -> Self:
        """Return what one of several callers has of this; the record and the places are shared."""
        owner = owner_of(caller, grant)
        return replace(
            self,
            connection=self.connection.within(grant),
            grant=grant,
            servers=self.servers.within({}),
            has_servers=False,
            owner=owner,
            agents_of=owner or LOCAL_OWNER,
            at_once=MAX_OF_ONE,
        )

    async def agents(self) -> list[RunnableAgent]:
        """Return the agents there are: the files, and the definitions."""
        listed = partial(runnable_agents, has_servers=self.has_servers)
        found = await anyio.to_thread.run_sync(listed, self.operator, self.grant)
        with translated():
            page = await self.yard.definitions.of(self.agents_of).list(limit=MAX_PAGE)
        files = {agent.name for agent in found}
        of_record = runnable_definitions(
            page.definitions, self.agents_of, files, self.grant, has_servers=self.has_servers
        )
        return [*found, *of_record]

    async def start(self, order: Order, host: HostModel) -> str:
        """Start a run and return its id.

        Raises:
            ServerError: It cannot begin; nothing is on record then.
        """
        model = self._model(host)
        with self._place() as place, translated():
            place.handle = await self.yard.start(
                order.agent,
                order.task,
                inputs=order.inputs,
                session_id=order.session_id,
                model=model,
                owner=self.owner,
                agents_of=self.agents_of,
                connection=self.connection,
                servers=self.servers,
            )
            return place.handle.claimed.id

    @contextmanager
    def _place(self) -> Iterator[_UnderWay]:
        """Take a place for a run; who cannot begin gives it back.

        Raises:
            LimitError: There is none.
        """
        self._forget_ended()
        own = [each for each in self._under_way if each.owner == self.owner]
        if len(own) >= self.at_once:
            raise _no_place_of_ones_own(own)
        if len(self._under_way) >= MAX_AT_ONCE:
            raise theirs.LimitError(
                f"The runs of others take all {MAX_AT_ONCE} places that there are. Try again in a "
                "minute.",
                limit=MAX_AT_ONCE,
                actual=len(self._under_way),
                unit="runs",
            )
        place = _UnderWay(self.owner)
        self._under_way.append(place)
        try:
            yield place
        finally:
            if place.handle is None:
                self._under_way.remove(place)

    async def follow(self, run_id: str, *, after: int = 0) -> AsyncIterator[Step]:
        """Yield the steps of a run above `after`, as they come, to its end."""
        with translated():
            found = await self._found(run_id)
            handle = self._handle(run_id)
            events = self._sessions.follow(
                found.session_id,
                run_id=run_id,
                after=max(after, found.first_seq - 1),
                is_over=handle.ended.is_set if handle else lambda: False,
            )
            async for recorded in events:
                line = told(recorded.event)
                if line is not None:
                    yield Step(recorded.seq, line)

    async def report(self, run_id: str, *, after: int = 0) -> RunReport:
        """Return how a run stands, with its steps above `after`."""
        with translated():
            found = await self._found(run_id)
            events = [recorded async for recorded in self._events(found)]
            waits = found.status is RunStatus.WAITING
            waiting = await self._sessions.questions(run_id) if waits else []
        lines = [(recorded.seq, told(recorded.event)) for recorded in events]
        changed = [e.event for e in events if isinstance(e.event, FileChanged)]
        usage = _usage(found)
        return RunReport(
            run_id=run_id,
            session_id=found.session_id,
            agent=found.row.agent,
            model=found.row.model,
            status=found.status.value,
            steps=[Step(seq, line) for seq, line in lines if line is not None and seq > after],
            last_step=events[-1].seq if events else after,
            answer="" if found.row.output is None else as_text(found.row.output),
            output=None if isinstance(found.row.output, str) else found.row.output,
            error=found.row.error_text or "",
            used=in_words(usage),
            usage=usage.model_dump(mode="json", exclude={"version"}),
            files=_files(changed),
            more_files=sum(event.more for event in changed),
            questions=[_asked(question) for question in waiting],
        )

    async def answer(self, run_id: str, verdict: Verdict, host: HostModel) -> str | None:
        """Write down what was said; return the run that goes on if nothing is left."""
        model = self._model(host)
        said = Answer(is_approved=verdict.is_approved, by=verdict.by, reason=verdict.reason)
        # Before it is written: nobody could let the run go on that has no place then.
        with self._place() as place, translated():
            await self._found(run_id)
            answered = await self._sessions.answer(run_id, said, call_id=verdict.call_id)
            if answered.left:
                return None
            place.handle = await self.yard.resume(
                answered.top_session_id,
                model=model,
                connection=self.connection,
                servers=self.servers,
            )
            return place.handle.claimed.id

    def _model(self, host: HostModel) -> ClientModel | str | None:
        """Return what runs are to use: the host's own model, or the one that is configured.

        Raises:
            InvalidInputError: It is the host's, which cannot be asked.
        """
        if self.operator.model != CLIENT:
            return self.operator.model
        host.check()
        return ClientModel(host)

    async def cancel(self, run_id: str) -> None:
        """Stop a run, and return once that is on record."""
        with translated():
            await self._found(run_id)
            await self.yard.cancel(run_id)

    async def finish(self, within_s: float) -> None:
        """Wait for the runs under way, as long as that."""
        self._forget_ended()
        if self._under_way and within_s > 0:
            _log.info("waiting for %d runs to end", len(self._under_way))
        with anyio.move_on_after(within_s):
            for each in list(self._under_way):
                if each.handle is not None:
                    await each.handle.ended.wait()

    @property
    def _sessions(self) -> Sessions:
        sessions = self.yard.sessions
        return sessions if self.owner is None else sessions.of(self.owner)

    async def _found(self, run_id: str) -> FoundRun:
        """Return a run of this root: what others are about is not for who has this one."""
        found = await self._sessions.run(run_id)
        if found.root != str(self.yard.root):
            raise NotFoundError("run", run_id)
        return found

    async def _events(self, found: FoundRun) -> AsyncIterator[RecordedEvent]:
        after = found.first_seq - 1
        while batch := await self._sessions.events(found.session_id, after=after):
            for recorded in batch:
                if recorded.run_id != found.row.id:  # the next run of the session
                    return
                yield recorded
            after = batch[-1].seq

    def _handle(self, run_id: str) -> RunHandle | None:
        handles = [each.handle for each in self._under_way if each.handle is not None]
        return next((each for each in handles if each.claimed.id == run_id), None)

    def _forget_ended(self) -> None:
        # In place: what callers have of this shares the list.
        self._under_way[:] = [each for each in self._under_way if not each.has_ended]


def _no_place_of_ones_own(own: list[_UnderWay]) -> theirs.LimitError:
    running = ", ".join(each.handle.claimed.id for each in own if each.handle is not None)
    return theirs.LimitError(
        f"{len(own)} runs are under way, which is as many as there may be. Wait for one with "
        f"get_run, or stop one with cancel_run: {running}.",
        limit=len(own),
        actual=len(own),
        unit="runs",
    )


def _asked(question: RecordedQuestion) -> Question:
    line = told(question.request) or question.request.tool
    return Question(
        run_id=question.run_id,
        call_id=question.request.call_id,
        asked=f"{question.agent}: {line}",
        preview=question.request.preview,
    )


def _usage(found: FoundRun) -> Usage:
    row = found.row
    return Usage(
        requests=row.requests,
        tool_calls=row.tool_calls,
        input_tokens=row.input_tokens,
        cache_read_tokens=row.cache_read_tokens,
        output_tokens=row.output_tokens,
        cost=row.cost,
    )


def _files(changed: list[FileChanged]) -> list[ChangedFile]:
    """Return each path once; lines that came and went in several changes are added up."""
    files: dict[str, ChangedFile] = {}
    for event in changed:
        before = files.pop(event.path, None)
        files[event.path] = ChangedFile(
            path=event.path,
            kind="created" if before and before.kind == "created" == event.kind else event.kind,
            moved_from=event.moved_from,
            added=_sum(before.added if before else 0, event.added),
            removed=_sum(before.removed if before else 0, event.removed),
        )
    return list(files.values())


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
