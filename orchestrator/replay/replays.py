"""The ways to go through a recorded run a second time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_ai.models import Model

from orchestrator.agents import CapabilityTypes, WorkyardAgent
from orchestrator.capabilities import capabilities_at
from orchestrator.connections import WorkspaceConnection
from orchestrator.definitions.agents import Agents
from orchestrator.definitions.cast import Cast
from orchestrator.errors import ConflictError
from orchestrator.owners import names_agents_of
from orchestrator.replay.asking import Asking, Comparison, Question
from orchestrator.replay.copying import copied
from orchestrator.replay.delegates import RecordedAnswers
from orchestrator.replay.played import PlayedModel
from orchestrator.replay.replaying import Performance, Replay, perform
from orchestrator.replay.servers import RecordedServers
from orchestrator.servers.reach import Servers
from orchestrator.specs import Spec
from orchestrator.store.recorded_run import RecordedRun
from orchestrator.store.sessions import Sessions


@dataclass(frozen=True, kw_only=True)
class Replays:
    """Goes through recorded runs again, against what one root holds today.

    None of it is on record: a replay is no turn of its session, and a comparison is none either.
    """

    root: Path
    agents: Agents
    sessions: Sessions
    build: Callable[[Spec, Model, CapabilityTypes], WorkyardAgent]
    connection: WorkspaceConnection
    """How agents reach the root."""
    servers: Servers
    """The operator's MCP servers, which another model is told of."""
    connect: Callable[[Path, Path], WorkspaceConnection]
    """A copy of the root, where its changes are recorded → how agents reach it."""
    leave_out: Sequence[Path]
    """What of ours is below the root; no agent may have it, nor a copy."""

    async def on_a_copy(self, run_id: str) -> Replay:
        """Run the agent again with the recorded answers, in a copy of the root."""
        recorded = await self._recorded(run_id)
        async with copied(self.root, leave_out=self.leave_out) as copy:
            connection = self.connect(copy.root, copy.state_dir)
            return await self._replay(recorded, copy.root, connection)

    async def in_place(self, run_id: str) -> Replay:
        """Run the agent again with the recorded answers, in the root itself."""
        return await self._replay(await self._recorded(run_id), self.root, self.connection)

    async def with_model(self, run_id: str, name: str, model: Model) -> Comparison:
        """Ask another model wherever the run's model was asked."""
        recorded = await self._recorded(run_id)
        cast = await self.cast_of(recorded)
        spec, inputs = cast.spec, cast.spec.complete_inputs(recorded.inputs)
        team = RecordedAnswers(cast, recorded, step=lambda: 0)  # no call is made
        agent = self._built(team, model, self.connection, self.servers)
        asking = Asking(agent=agent, model=name, inputs=inputs)
        questions = [
            Question(
                step=number,
                history=await self.sessions.given_before(recorded.session_id, step.seq),
                answer=step.answer,
            )
            for number, step in enumerate(recorded.steps, 1)
        ]
        return Comparison(
            run_id=recorded.id,
            agent=spec.name,
            recorded_model=recorded.model,
            other_model=name,
            spec_changed=spec.sha256 != recorded.spec_sha256,
            points=await asking.ask(questions),
        )

    async def cast_of(self, recorded: RecordedRun) -> Cast:
        """Return the agent of a run as it is today.

        Raises:
            NotFoundError: If it is not there any more.
        """
        owner = names_agents_of((await self.sessions.get(recorded.session_id)).owner)
        sha256 = recorded.spec_sha256
        return await self.agents.cast_again(recorded.agent, sha256, owner=owner)

    async def _replay(
        self, recorded: RecordedRun, root: Path, connection: WorkspaceConnection
    ) -> Replay:
        cast = await self.cast_of(recorded)
        spec, inputs = cast.spec, cast.spec.complete_inputs(recorded.inputs)
        model = PlayedModel(recorded, root)
        played = RecordedServers(recorded, lambda: model.asked)
        team = RecordedAnswers(cast, recorded, lambda: model.asked)
        performance = Performance(
            recorded=recorded,
            past=await self.sessions.given_before(recorded.session_id, recorded.first_message_seq),
            agent=self._built(team, model, connection, played),
            model=model,
            inputs=inputs,
        )
        calls, problem = await perform(performance)
        return Replay(
            run_id=recorded.id,
            replay_id=model.run_id,
            agent=spec.name,
            root=str(self.root),
            spec_changed=spec.sha256 != recorded.spec_sha256,
            calls=calls,
            problem=problem,
        )

    def _built(
        self,
        team: RecordedAnswers,
        model: Model,
        connection: WorkspaceConnection,
        servers: Servers,
    ) -> WorkyardAgent:
        types = capabilities_at(connection, team=team, servers=servers)
        return self.build(team.cast.spec, model, types)

    async def _recorded(self, run_id: str) -> RecordedRun:
        recorded = await self.sessions.recorded_run(run_id)
        if not recorded.steps:
            raise ConflictError(
                f"Run {run_id!r} has no answer of a model on record; there is nothing to replay."
            )
        return recorded
