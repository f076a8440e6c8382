"""An agent, and what a caller says of a run → what the runner is asked for."""

from dataclasses import dataclass
from pathlib import Path

from pydantic_ai.models import Model

from orchestrator.agents import WorkyardAgent, build_agent
from orchestrator.budget.errors import PriceUnknownError
from orchestrator.capabilities import capabilities_at
from orchestrator.connections import WorkspaceConnection
from orchestrator.definitions.cast import Cast
from orchestrator.delegation import RecordedTeam
from orchestrator.errors import InvalidInputError
from orchestrator.models.service import Models
from orchestrator.orders import RunOptions, check_prompt
from orchestrator.runner import Runner, RunRequest
from orchestrator.servers.checking import check_servers, servers_of
from orchestrator.servers.reach import Servers
from orchestrator.servers.registry import load_servers
from orchestrator.settings import Settings
from orchestrator.specs import Spec
from orchestrator.store.claimed import RunDraft
from orchestrator.store.resuming import Attempt
from orchestrator.teams.members import check_team


@dataclass(frozen=True)
class Requests:
    """Builds agents and what they are to do, in one root."""

    root: Path
    settings: Settings
    models: Models
    runner: Runner
    connection: WorkspaceConnection
    """How agents reach the workspace, unless a caller says otherwise."""
    servers: Servers
    """The operator's MCP servers, unless a caller says otherwise."""

    def new(self, cast: Cast, prompt: str, options: RunOptions) -> RunRequest:
        """Return a request for a run.

        Raises:
            OrchestratorError: It cannot be; nothing has been recorded.
        """
        spec = cast.spec
        check_prompt(prompt)
        inputs = spec.complete_inputs(options.get("inputs") or {})
        name, model = self.model_for(spec, options.get("model"))
        draft = RunDraft(
            agent=spec.name,
            spec_sha256=spec.sha256,
            model=name,
            prompt=prompt,
            inputs=inputs,
            root=str(self.root),
            session_id=options.get("session_id"),
            owner=options.get("owner"),
        )
        return RunRequest(self._built(cast, model, options), draft)

    def again(self, cast: Cast, last: Attempt, session_id: str, options: RunOptions) -> RunRequest:
        """Return a request for the last run of a session to go on, with the agent as it is now.

        Raises:
            OrchestratorError: It cannot be; nothing has been recorded.
        """
        spec = cast.spec
        name, model = self.model_for(spec, options.get("model") or last.model)
        draft = RunDraft(
            agent=spec.name,
            spec_sha256=spec.sha256,
            model=name,
            prompt=last.prompt,
            inputs=spec.complete_inputs(last.inputs),
            root=str(self.root),
            session_id=session_id,
        )
        return RunRequest(self._built(cast, model, options), draft)

    def model_for(self, spec: Spec, requested: str | Model | None) -> tuple[str, Model]:
        """Return the model for an agent, and its name for the record.

        Raises:
            InvalidInputError: It cannot be used, or has no known price and the cost is limited.
        """
        name, model = self.models.choose(requested, spec.document.model)
        try:
            self.runner.allowances.check_price(model)
        except PriceUnknownError as error:
            raise InvalidInputError(str(error)) from error
        return name, model

    def _built(self, cast: Cast, model: Model, options: RunOptions) -> WorkyardAgent:
        """Return an agent whose delegates have the model that the caller has asked for."""
        spec = cast.spec
        check_team(spec, cast.member)
        self._check_servers(cast)
        requested = options.get("model")
        team = RecordedTeam(
            runner=self.runner,
            cast=cast,
            root=str(self.root),
            connection=options.get("connection", self.connection),
            servers=options.get("servers", self.servers),
            model_for=lambda spec: self.model_for(spec, requested),
            build=self._build,
            path=(spec.reference,),
        )
        return self._build(spec, model, team)

    def _check_servers(self, cast: Cast) -> None:
        """Refuse an agent that names MCP servers which it cannot use, or one below it does."""
        naming = [spec for spec in cast.specs if any(servers_of(spec))]
        if naming:
            registry = load_servers(self.settings.config_dir)
            for spec in naming:
                check_servers(spec, registry)

    def _build(self, spec: Spec, model: Model, team: RecordedTeam) -> WorkyardAgent:
        types = capabilities_at(
            team.connection, self.runner.store.sessions, team, servers=team.servers
        )
        return build_agent(spec, model, types, model_timeout_s=self.settings.model_timeout_s)
