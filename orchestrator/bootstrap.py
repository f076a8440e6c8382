"""The composition root: the one place that constructs and wires."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self, Unpack

import anyio
from pydantic_ai.models import Model

from orchestrator.agents import build_agent
from orchestrator.budget.allowance import Allowances, limits_of
from orchestrator.busy import WAIT_S, Turns
from orchestrator.catalogue import open_catalogue
from orchestrator.connections import StdioConnection, WorkspaceConnection
from orchestrator.definitions.agents import Agents
from orchestrator.definitions.cast import Cast
from orchestrator.definitions.definitions import Definitions
from orchestrator.errors import InvalidInputError
from orchestrator.events import RecordedEvent
from orchestrator.history.history import History
from orchestrator.history.recorded import RecordedCall, Undo, Which
from orchestrator.mapping import Task, TaskResult, Tasks, check_mapped, keyed
from orchestrator.models.service import open_models
from orchestrator.orders import RunOptions, check_options
from orchestrator.owners import names_agents_of
from orchestrator.record_url import sqlite_file
from orchestrator.replay.asking import Comparison
from orchestrator.replay.replaying import Replay
from orchestrator.replay.replays import Replays
from orchestrator.requests import Requests
from orchestrator.roots import as_globs, own_places, resolve_root
from orchestrator.runner import RunHandle, Runner, RunRequest, RunResult
from orchestrator.servers.reach import RegisteredServers, Servers
from orchestrator.session import Session
from orchestrator.settings import Settings, load_settings
from orchestrator.store.resuming import last_attempt
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import open_store
from orchestrator.totals import By, Total, UsageFilters

Connect = Callable[[Path, tuple[str, ...], Path], WorkspaceConnection]
"""A root, what is denied in it, where its changes are recorded → how agents reach it."""


@dataclass(frozen=True)
class Orchestrator:
    """Agents at work in one directory, every run on record.

    async with Orchestrator.open(root="~/project") as yard:
        run = await yard.run("code_reviewer", "Review src/")
        print(run.output, run.session_id)
    """

    root: Path
    agents: Agents
    sessions: Sessions
    history: History
    connection: WorkspaceConnection
    """How agents reach the workspace."""
    servers: Servers
    """The operator's MCP servers that agents reach."""
    _runner: Runner
    _requests: Requests
    _turns: Turns
    _replays: Replays

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: str | Path = ".",
        *,
        specs: str | Path | None = None,
        settings: Settings | None = None,
        connect: Connect = StdioConnection,
    ) -> AsyncGenerator[Self]:
        """Open the record, and a place for runs. On leaving, what still runs is cancelled.

        Args:
            root: The directory in which agents work.
            specs: A directory of specs to look in before the user's own and the shipped ones.
            settings: Instead of those of the environment.
            connect: How agents reach the workspace: a server process each (`StdioConnection`), or
                this process (`InProcessConnection`).

        Raises:
            InvalidInputError: If root or specs are not directories.
            StoreUnavailableError: If the record cannot be opened.
        """
        settings = settings or load_settings()
        specs = None if specs is None else Path(specs)
        place = resolve_root(root)
        database = sqlite_file(settings.effective_database_url)
        own = own_places(place, settings, specs=specs, database=database)
        denied = as_globs(own, place)
        connection = connect(place, denied, settings.state_dir)
        servers = RegisteredServers(settings.config_dir)
        history = History(place, settings.state_dir)
        async with (
            open_models(settings) as models,
            open_store(settings.effective_database_url) as store,
        ):
            runner = Runner(store, Allowances(limits_of(settings), store.sessions))
            catalogue = Agents(Definitions(store.access, open_catalogue(settings, specs)))
            replays = Replays(
                root=place,
                agents=catalogue,
                sessions=store.sessions,
                build=partial(build_agent, model_timeout_s=settings.model_timeout_s),
                connection=connection,
                servers=servers,
                connect=lambda root, state_dir: connect(root, denied, state_dir),
                leave_out=own,
            )
            try:
                yield cls(
                    place,
                    catalogue,
                    store.sessions,
                    history,
                    connection,
                    servers,
                    runner,
                    Requests(place, settings, models, runner, connection, servers),
                    Turns(runner),
                    replays,
                )
            finally:
                with anyio.CancelScope(shield=True):
                    await runner.close()

    @property
    def definitions(self) -> Definitions:
        """The specs that are kept on record; `of(owner)` for another's than the local owner's."""
        return self.agents.definitions

    async def start(self, agent: str, prompt: str, **options: Unpack[RunOptions]) -> RunHandle:
        """Start a run of an agent and return at once; it goes on by itself.

        Raises:
            OrchestratorError: If the run cannot begin; nothing has been recorded then.
        """
        check_options(options)
        return await self._turns.start(
            self._requests.new(await self._cast(agent, options), prompt, options),
            when_busy=options.get("when_busy", "reject"),
            wait_s=options.get("wait_s", WAIT_S),
        )

    async def resume(
        self,
        session_id: str,
        *,
        model: str | Model | None = None,
        connection: WorkspaceConnection | None = None,
        servers: Servers | None = None,
    ) -> RunHandle:
        """Let a session's last run go on, which has failed, was cancelled or interrupted.

        It goes on from its last settled step: no answer of the model is asked for again, and no
        call is made again whose result is known. The agent is as its spec says now.

        Args:
            session_id: The session.
            model: Instead of the one that the run had last.
            connection: Instead of the one for all runs; see `RunOptions`.
            servers: Instead of those for all runs; see `RunOptions`.

        Raises:
            ApprovalNeededError: If a call of the run needs a yes that nobody has said yet.
            NotFoundError: If there is no such session, or no such agent any more.
            NotResumableError: If the run has succeeded, or the session has none.
            ConflictError: If the run works for another one, with which it goes on.
            SessionBusyError: If a run holds the session.
            OrchestratorError: If the run cannot go on; nothing has been recorded then.
        """
        last = await self.sessions.look(session_id, last_attempt)
        owner = names_agents_of((await self.sessions.get(session_id)).owner)
        cast = await self.agents.cast_again(last.agent, last.spec_sha256, owner=owner)
        options = RunOptions(
            model=model,
            connection=connection or self.connection,
            servers=servers or self.servers,
        )
        request = self._requests.again(cast, last, session_id, options)
        return await self._runner.resume(request, last.run_id)

    async def run(self, agent: str, prompt: str, **options: Unpack[RunOptions]) -> RunResult:
        """Run an agent and return what it has to give.

        Raises:
            OrchestratorError: If the run cannot begin, fails or is cancelled.
        """
        return await (await self.start(agent, prompt, **options)).result()

    async def stream(
        self, agent: str, prompt: str, **options: Unpack[RunOptions]
    ) -> AsyncIterator[RecordedEvent]:
        """Run an agent and yield what happens, the last event being `RunEnded`.

        To stop reading does not stop the run.

        Raises:
            OrchestratorError: If the run cannot begin. How it ends is in its last event.
        """
        async for recorded in self.follow(await self.start(agent, prompt, **options)):
            yield recorded

    def map(
        self,
        agent: str,
        tasks: Iterable[Task],
        *,
        name: str,
        at_once: int = 4,
        **options: Unpack[RunOptions],
    ) -> AsyncGenerator[TaskResult]:
        """Run an agent once for each task, and yield the results in the order of the tasks.

        Args:
            agent: The agent.
            tasks: What it is to do. All are looked at before the first run begins.
            name: By this and its words a task is known again: what has been answered under the
                name is not asked again, and what was left goes on.
            at_once: How many runs at a time, up to 64.
            options: `model` and `owner` of all runs.

        Raises:
            OrchestratorError: If a task cannot be; nothing has begun then.
        """
        check_mapped(options, at_once)
        return self._mapped(agent, tasks, name, at_once, options)

    async def _mapped(
        self, agent: str, tasks: Iterable[Task], name: str, at_once: int, options: RunOptions
    ) -> AsyncGenerator[TaskResult]:
        cast = await self._cast(agent, options)

        def request(task: Task) -> RunRequest:
            return self._requests.new(cast, task.prompt, {**options, "inputs": task.inputs})

        mapped = keyed(cast.spec, str(self.root), name, tasks)
        for _, task in mapped[:1]:
            request(task)  # what is wrong with the agent or its model is said once
        async with aclosing(Tasks(self._runner, mapped, request).results(at_once)) as results:
            async for result in results:
                yield result

    def follow(self, handle: RunHandle) -> AsyncIterator[RecordedEvent]:
        """Yield the events of a run from its first to its last, as they come."""
        return self._runner.follow(handle)

    async def cancel(self, run_id: str) -> None:
        """Stop a run and wait until that is on record; another process has to be asked to.

        Raises:
            NotFoundError: If there is no such run.
            ConflictError: If it has ended, or its process does not answer.
        """
        await self._runner.cancel(run_id)

    async def fork(
        self, session_id: str, *, at: int | None = None, title: str | None = None
    ) -> Session:
        """Begin a session that shares another's messages 1 to `at`, its last one by default.

        The other one stays as it is. While it has a run under way, the last message before that run
        is the default.

        Raises:
            NotFoundError: If there is no such session.
            InvalidInputError: If no history can go on after that message; those near it are named.
            HistoryUnreadableError: If the messages up to there cannot be read.
        """
        return await self.sessions.fork(session_id, at=at, title=title)

    async def replay(self, run_id: str) -> Replay:
        """Run an agent again with a run's recorded answers, in a copy of this root.

        It asks no model, changes no file and leaves nothing on record. What the calls give now is
        compared with what they gave then; the agent is that of today's spec.

        Raises:
            NotFoundError: If there is no such run, or its agent is not there any more.
            ConflictError: If the run is under way, or has no answers on record.
            LimitError: If the root holds too much to copy.
        """
        return await self._replays.on_a_copy(run_id)

    async def replay_in_place(self, run_id: str) -> Replay:
        """Do as `replay` does, in this root itself: what the run wrote is written again.

        `await yard.undo(run=replay.replay_id)` takes that back.
        """
        return await self._replays.in_place(run_id)

    async def compare(self, run_id: str, model: str | Model) -> Comparison:
        """Ask another model wherever a run's model was asked, and make none of its calls.

        That is one request for each of `(await yard.sessions.recorded_run(run_id)).steps`. They
        have to be paid for, and are on no record.

        Raises:
            NotFoundError: If there is no such run, or its agent is not there any more.
            ConflictError: If the run is under way, or has no answers on record.
            ModelNotConfiguredError: If the model cannot be used.
        """
        cast = await self._replays.cast_of(await self.sessions.recorded_run(run_id))
        name, other = self._requests.model_for(cast.spec, model)
        return await self._replays.with_model(run_id, name, other)

    async def changes(self, *, limit: int = 20, **which: Unpack[Which]) -> list[RecordedCall]:
        """Return the calls that changed files in this root, the newest first."""
        return await self.history.changes(limit=limit, **which)

    async def undo(self, *, force: bool = False, **which: Unpack[Which]) -> Undo:
        """Take back what calls have changed, all or none: `await yard.undo(run=run.run_id)`.

        Raises:
            NotFoundError: If no call fits, or all are undone already.
            ConflictError: If others have changed something since; `force` undoes it all the same.
        """
        return await self.history.undo(force=force, **which)

    async def usage(self, by: str = "day", **which: Unpack[UsageFilters]) -> tuple[Total, ...]:
        """Return what runs on record have used, in any root: `await yard.usage(by="agent")`.

        Args:
            by: `day` (UTC), `agent`, `session`, `model`, `owner` or `run`.
            which: `since`, `until`, `agent`, `session`, `model` and `owner` of the runs to count.

        Raises:
            InvalidInputError: If there is no such way to count, or a time has no time zone.
        """
        if by not in tuple(By):
            raise InvalidInputError(f"Usage is counted by {', '.join(By)}, not by {by!r}.")
        return await self.sessions.usage(By(by), **which)

    async def _cast(self, agent: str, options: RunOptions) -> Cast:
        owner = options.get("agents_of") or options.get("owner")
        return await self.agents.cast(agent, owner=owner)
