"""The tools that run agents: `list_agents`, `run_agent`, `get_run`, `answer_run`, `cancel_run`.

Hosts cut a call at about a minute. A call waits for a run as long as that allows and then gives
back its handle; the run goes on. A client that cancels `run_agent` cancels the run; one that is
gone does not (docs/decisions/0018-agents-as-tools.md).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any  # Any: the SDK's lifespan object, which nobody here uses

import anyio
from mcp.server.context import ServerRequestContext
from pydantic import BeforeValidator, Field, JsonValue
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import from_json

from mcp_server.asking import ask, can_ask, host_user
from mcp_server.errors import ConflictError
from mcp_server.ports import AgentRunner, Line, Order, RunReport, Step, Verdict
from mcp_server.reports import Told, tell_agents, tell_end, tell_progress, tell_questions
from mcp_server.sampling import SampledModel
from mcp_server.tools.tool import Arguments, Declaration

MAX_WAIT_S = 600.0

RunId = Annotated[str, Field(min_length=1, max_length=100)]


@dataclass(slots=True)
class AgentCall:
    """One call of such a tool: who runs agents, and who has asked."""

    runner: AgentRunner
    patience_s: float
    context: ServerRequestContext[Any]
    _told: int = 0

    @property
    def host_is_gone(self) -> bool:
        """Whether the call ends because nobody is there any more, not because it was cancelled."""
        line: Line | None = self.context.request
        return getattr(line, "is_over", False) is True

    async def watch(self, run_id: str, *, after: int, wait_s: float) -> Told:
        """Tell the host each step as it comes; return the run's end, or how far it has come."""
        wait_s = min(wait_s, self.patience_s)
        with anyio.move_on_after(wait_s) as patience:
            async for step in self.runner.follow(run_id, after=after):
                await self._progress(step)
        report = await self.runner.report(run_id, after=after)
        if patience.cancelled_caught and report.status == "running":
            return tell_progress(report, wait_s)
        if report.status != "waiting":
            return tell_end(report)
        if can_ask(self.context) and await self._ask(report):
            return await self.watch(run_id, after=report.last_step, wait_s=wait_s)
        return tell_questions(await self.runner.report(run_id, after=after))

    async def _ask(self, report: RunReport) -> bool:
        """Let the host ask its user; return whether the run goes on."""
        goes_on = None
        for question in report.questions:
            verdict = await ask(self.context, question)
            if verdict is None:
                return False
            goes_on = await self.answer(question.run_id, verdict)
        return goes_on is not None

    async def answer(self, run_id: str, verdict: Verdict) -> str | None:
        """Write an answer down, and let the run go on if it was the last one; return which."""
        # Cancelled in the middle of this, nobody would know of a run that goes on.
        goes_on = None
        with anyio.CancelScope(shield=True):
            goes_on = await self.runner.answer(run_id, verdict, SampledModel(self.context))
        return goes_on

    async def _progress(self, step: Step) -> None:
        self._told += 1
        await self.context.session.report_progress(self._told, message=step.line.strip())


class AgentArguments(Arguments, ABC):
    """The arguments of a tool that runs agents."""

    @abstractmethod
    async def call(self, call: AgentCall) -> Told:
        """Do what was asked, and return what is told of it.

        Raises:
            ServerError: the call cannot be done; the message says why and what to do.
        """


class ListAgents(AgentArguments):
    """The arguments of `list_agents`: none."""

    async def call(self, call: AgentCall) -> Told:
        """Tell of every agent."""
        return tell_agents(await call.runner.agents())


def _from_text(value: object) -> object:
    if isinstance(value, str):  # models send objects as JSON text now and then
        with suppress(ValueError):
            return from_json(value)
    return value


class RunAgent(AgentArguments):
    """The arguments of `run_agent`."""

    agent: str
    """Which agent; list_agents names them."""
    task: str
    """What it is to do. It sees nothing of this conversation: say all that it has to know."""
    inputs: Annotated[dict[str, JsonValue], BeforeValidator(_from_text)] = Field(
        default_factory=dict
    )
    """The agent's inputs by name, as list_agents tells them."""
    session_id: str | SkipJsonSchema[None] = None
    """A session of an earlier run, to go on with its conversation; left out, a new one begins."""

    async def call(self, call: AgentCall) -> Told:
        """Start the run, and watch it as long as the host waits."""
        order = Order(
            agent=self.agent, task=self.task, inputs=self.inputs, session_id=self.session_id
        )
        # Cancelled in the middle of this, nobody would know of a run that has begun.
        with anyio.CancelScope(shield=True):
            run_id = await call.runner.start(order, SampledModel(call.context))
        try:
            return await call.watch(run_id, after=0, wait_s=call.patience_s)
        except anyio.get_cancelled_exc_class():
            if not call.host_is_gone:
                with anyio.CancelScope(shield=True), suppress(ConflictError):  # it has just ended
                    await call.runner.cancel(run_id)
            raise


class GetRun(AgentArguments):
    """The arguments of `get_run`."""

    run_id: RunId
    """The run, as run_agent has named it."""
    wait_s: Annotated[float, Field(ge=0, le=MAX_WAIT_S)] = MAX_WAIT_S
    """How many seconds to wait for its end, within what this host allows; 0 only looks."""
    after: Annotated[int, Field(ge=0)] = 0
    """The number of the last step that you know; only later ones are told."""

    async def call(self, call: AgentCall) -> Told:
        """Wait for the run, and tell of it."""
        return await call.watch(self.run_id, after=self.after, wait_s=self.wait_s)


class AnswerRun(AgentArguments):
    """The arguments of `answer_run`."""

    run_id: RunId
    """The run that waits; of a call that another run has asked for, either."""
    approve: bool
    """What your user says: true lets the call be made, false refuses it."""
    call_id: str | SkipJsonSchema[None] = None
    """Which call, as it was told; left out, all that wait."""
    reason: Annotated[str, Field(max_length=2000)] = ""
    """Of a no: what the agent is told."""

    async def call(self, call: AgentCall) -> Told:
        """Write the answer down; watch the run if it goes on."""
        verdict = Verdict(
            is_approved=self.approve,
            by=host_user(call.context),
            call_id=self.call_id,
            reason=self.reason,
        )
        before = (await call.runner.report(self.run_id)).last_step
        goes_on = await call.answer(self.run_id, verdict)
        if goes_on is not None:
            after = before if goes_on == self.run_id else 0
            return await call.watch(goes_on, after=after, wait_s=call.patience_s)
        return tell_questions(await call.runner.report(self.run_id))


class CancelRun(AgentArguments):
    """The arguments of `cancel_run`."""

    run_id: RunId
    """The run, as run_agent has named it."""

    async def call(self, call: AgentCall) -> Told:
        """Stop the run, and tell what it had done. That it is cancelled is what was asked for."""
        await call.runner.cancel(self.run_id)
        told = tell_end(await call.runner.report(self.run_id))
        return Told(told.text, told.meta)


AGENT_TOOLS: Mapping[str, Declaration[AgentArguments]] = MappingProxyType(
    {
        tool.name: tool
        for tool in (
            Declaration(
                name="list_agents",
                title="List agents",
                description=(
                    "List the agents that run_agent can run: what each does, and the inputs that "
                    "it takes."
                ),
                arguments=ListAgents,
                is_read_only=True,
            ),
            Declaration(
                name="run_agent",
                title="Run agent",
                description=(
                    "Have an agent do a task in this workspace, with a language model and rights "
                    "of its own, within yours. This costs money, and the agent may change files. "
                    "Gives its answer, what it has used and the files that it has changed. A run "
                    "that takes long goes on; the result then says how to wait for it with "
                    "get_run. Every run is on record, and what it changes can be undone."
                ),
                arguments=RunAgent,
                is_read_only=False,
                is_destructive=True,
                is_idempotent=False,
                is_open_world=True,
            ),
            Declaration(
                name="get_run",
                title="Get run",
                description=(
                    "Wait for the end of an agent's run and give its answer; if it takes longer, "
                    "tell what has happened since step 'after' and how to go on waiting."
                ),
                arguments=GetRun,
                is_read_only=True,
            ),
            Declaration(
                name="answer_run",
                title="Answer run",
                description=(
                    "Tell a run that waits what your user says to a call that needs a person's "
                    "yes. Ask the user first, and show what would be changed: never decide it "
                    "yourself. When all are answered the run goes on, and this waits for it as "
                    "get_run does."
                ),
                arguments=AnswerRun,
                is_read_only=False,
                is_destructive=True,
                is_idempotent=False,
                is_open_world=True,
            ),
            Declaration(
                name="cancel_run",
                title="Cancel run",
                description="Stop an agent's run. What it has done stays done, and on record.",
                arguments=CancelRun,
                is_read_only=False,
            ),
        )
    }
)
"""The tools by name, in the order in which a model is told; they come together or not at all."""
