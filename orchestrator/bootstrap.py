"""The composition root: the one place that constructs and wires."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import anyio
from pydantic import JsonValue
from pydantic_ai.models import Model

from orchestrator.agents import build_agent, build_model
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.connections import StdioConnection, WorkspaceConnection
from orchestrator.errors import InvalidInputError
from orchestrator.events import RecordedEvent
from orchestrator.models import ModelChoice, choose_model
from orchestrator.runner import RunHandle, Runner, RunRequest, RunResult
from orchestrator.settings import Settings
from orchestrator.specs import Spec
from orchestrator.store.sessions import Sessions
from orchestrator.store.store import open_store

MAX_PROMPT_CHARS = 1_000_000

Connect = Callable[[Path, tuple[str, ...]], WorkspaceConnection]
"""A root and what is denied in it → how agents reach it."""


@dataclass(frozen=True)
class Orchestrator:
    """Agents at work in one directory, every run on record.

    async with Orchestrator.open(root="~/project") as yard:
        run = await yard.run("code_reviewer", "Review src/")
        print(run.output, run.session_id)
    """

    root: Path
    agents: Catalogue
    sessions: Sessions
    _settings: Settings
    _connection: WorkspaceConnection
    _runner: Runner

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        root: str | Path = ".",
        *,
        specs: Path | None = None,
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
        settings = settings or Settings()
        place = resolve_root(root)
        connection = connect(place, _own_paths(place, settings))
        async with open_store(settings.effective_database_url) as store:
            runner = Runner(store)
            catalogue = open_catalogue(settings, specs)
            try:
                yield cls(place, catalogue, store.sessions, settings, connection, runner)
            finally:
                with anyio.CancelScope(shield=True):
                    await runner.close()

    async def start(
        self,
        agent: str,
        prompt: str,
        *,
        inputs: Mapping[str, JsonValue] | None = None,
        model: str | Model | None = None,
        session_id: str | None = None,
    ) -> RunHandle:
        """Start a run and return at once; it goes on by itself.

        Args:
            agent: The name of the agent.
            prompt: What to do.
            inputs: What the agent's spec declares in `deps_schema`.
            model: Instead of the configured one: a name such as `anthropic:claude-sonnet-5-5`, or a
                model of Pydantic AI that the caller has built.
            session_id: The session to continue; None begins one.

        Raises:
            OrchestratorError: If the run cannot begin; nothing has been recorded then.
        """
        if not prompt.strip():
            raise InvalidInputError("The prompt is empty; say what the agent is to do.")
        if len(prompt) > MAX_PROMPT_CHARS:
            raise InvalidInputError(f"The prompt is longer than {MAX_PROMPT_CHARS} characters.")
        spec = self.agents.get(agent)
        given = spec.complete_inputs(inputs or {})
        if isinstance(model, Model):
            name, used = model.model_id, model
        else:
            name = self._choose_model(spec, model).name
            used = build_model(name)
        timeout_s = self._settings.model_timeout_s
        request = RunRequest(
            spec=spec,
            agent=build_agent(spec, used, self._connection, model_timeout_s=timeout_s),
            model=name,
            prompt=prompt,
            inputs=given,
            root=str(self.root),
            session_id=session_id,
        )
        return await self._runner.start(request)

    async def run(
        self,
        agent: str,
        prompt: str,
        *,
        inputs: Mapping[str, JsonValue] | None = None,
        model: str | Model | None = None,
        session_id: str | None = None,
    ) -> RunResult:
        """Run an agent and return what it has to give; the arguments are those of `start`.

        Raises:
            OrchestratorError: If the run cannot begin, fails or is cancelled.
        """
        handle = await self.start(agent, prompt, inputs=inputs, model=model, session_id=session_id)
        return await handle.result()

    async def stream(
        self,
        agent: str,
        prompt: str,
        *,
        inputs: Mapping[str, JsonValue] | None = None,
        model: str | Model | None = None,
        session_id: str | None = None,
    ) -> AsyncIterator[RecordedEvent]:
        """Run an agent and yield what happens, the last event being `RunEnded`.

        The arguments are those of `start`. To stop reading does not stop the run.

        Raises:
            OrchestratorError: If the run cannot begin. How it ends is in its last event.
        """
        handle = await self.start(agent, prompt, inputs=inputs, model=model, session_id=session_id)
        async for recorded in self.follow(handle):
            yield recorded

    def follow(self, handle: RunHandle) -> AsyncIterator[RecordedEvent]:
        """Yield the events of a run from its first to its last, as they come."""
        return self._runner.follow(handle)

    async def cancel(self, run_id: str) -> None:
        """Stop a run of this process and wait until that is on record.

        Raises:
            NotFoundError: If no such run is under way here.
        """
        await self._runner.cancel(run_id)

    def _choose_model(self, spec: Spec, requested: str | None) -> ModelChoice:
        return choose_model(
            requested,
            configured=self._settings.model,
            spec_model=spec.document.model,
            environ=os.environ,
        )


def run_sync(  # noqa: PLR0913 - the arguments of `open` and `start`, in one call
    agent: str,
    prompt: str,
    *,
    root: str | Path = ".",
    inputs: Mapping[str, JsonValue] | None = None,
    model: str | Model | None = None,
    session_id: str | None = None,
) -> RunResult:
    """Run an agent from a plain script; see `Orchestrator.open` and `Orchestrator.start`.

    Raises:
        OrchestratorError: If the run cannot begin or fails.
    """

    async def run() -> RunResult:
        async with Orchestrator.open(root) as yard:
            return await yard.run(agent, prompt, inputs=inputs, model=model, session_id=session_id)

    return anyio.run(run)


def resolve_root(root: str | Path) -> Path:
    """Return the absolute directory that is meant.

    Raises:
        InvalidInputError: If it is none.
    """
    try:
        place = Path(root).expanduser().resolve()
        usable = place.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInputError(f"The root {str(root)!r} cannot be used: {error}.") from None
    if not usable:
        what = "is not a directory" if place.exists() else "does not exist"
        raise InvalidInputError(f"The root {str(root)!r} {what}; name a directory with --root.")
    return place


def _own_paths(root: Path, settings: Settings) -> tuple[str, ...]:
    """Return what of ours lies under the root: no agent reads or writes its own record or specs."""
    ours = (settings.data_dir.resolve(), settings.config_dir.resolve())
    below = (path.relative_to(root).as_posix() for path in ours if path.is_relative_to(root))
    return tuple("**" if path == "." else path for path in below)
