"""Delegates on record: each works in a run and a session of its own, for the run that has asked.

The session's external id is made of that run and the call. So a call that is made once more, when
a run goes on after a crash, finds what has been done for it: the answer, or a run to go on with.
"""

import hashlib
import json
from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any  # a run's deps are of any type

import anyio
from pydantic import JsonValue
from pydantic_ai import ApprovalRequired, CallDeferred, RunContext, UsageLimitExceeded
from pydantic_ai.models import Model

from orchestrator.agents import WorkyardAgent
from orchestrator.approvals.questions import ENDS, WAITS_FOR
from orchestrator.capabilities import grant_of
from orchestrator.connections import WorkspaceConnection
from orchestrator.definitions.cast import Cast
from orchestrator.errors import (
    ApprovalNeededError,
    OrchestratorError,
    RunCancelledError,
    UnavailableError,
)
from orchestrator.events import AgentAsked
from orchestrator.ids import run_of
from orchestrator.once import Earlier, begin_once
from orchestrator.runner import RunHandle, Runner, RunRequest
from orchestrator.servers.capability import held_by
from orchestrator.servers.reach import Servers
from orchestrator.session import DELEGATE
from orchestrator.specs import Spec
from orchestrator.store.claimed import RunDraft
from orchestrator.teams.members import check_below
from orchestrator.teams.shares import Meter, Share
from orchestrator.teams.subagents import Order

Build = Callable[[Spec, Model, "RecordedTeam"], WorkyardAgent]
"""An agent on a model, with whom it may ask: it has what they have."""


@dataclass(frozen=True)
class RecordedTeam:
    """The agents below one, in one root."""

    runner: Runner
    cast: Cast
    root: str
    connection: WorkspaceConnection
    """Where the workspace is, within the rights of all above."""
    servers: Servers
    """The operator's MCP servers, within what all above hold of them."""
    model_for: Callable[[Spec], tuple[str, Model]]
    build: Build
    path: tuple[str, ...]
    """The agents above, the first one first."""

    def member(self, name: str) -> Spec:
        """Return the spec of an agent; see `Team`."""
        return self.cast.member(name)

    async def run(self, order: Order, ctx: RunContext[Any], share: Share) -> JsonValue:
        """Let an agent do something, and return its answer; see `Team`."""
        spec = self.member(order.agent)
        check_below(self.path[1:], spec.reference)
        parent = self.runner.under_way(run_of(ctx.run_id or ""))
        request = replace(await self._request(spec, order, parent, ctx), share=share)
        try:
            begun = await begin_once(self.runner, request, _key(order, parent, ctx))
        except ApprovalNeededError as error:
            raise ApprovalRequired({WAITS_FOR: error.run_id}) from error
        _note(begun, parent, ctx)
        if isinstance(begun, Earlier):
            output: JsonValue = begun.run.output
            return output
        try:
            return await _answer_of(begun)
        except OrchestratorError:
            await _go_on(ctx)
            raise

    async def _request(
        self, spec: Spec, order: Order, parent: RunHandle, ctx: RunContext[Any]
    ) -> RunRequest:
        inputs = spec.complete_inputs(order.inputs)
        name, model = self.model_for(spec)
        below = replace(
            self,
            connection=self.connection.within(grant_of(ctx)),
            servers=self.servers.within(held_by(ctx)),
            path=(*self.path, spec.reference),
        )
        sessions = self.runner.store.sessions
        owner = (await sessions.get(parent.claimed.session_id)).owner
        draft = RunDraft(
            agent=spec.name,
            spec_sha256=spec.sha256,
            model=name,
            prompt=order.task,
            inputs=inputs,
            root=self.root,
            owner=owner,
            parent_pk=parent.claimed.pk,
        )
        return RunRequest(self.build(spec, model, below), draft)


def _key(order: Order, parent: RunHandle, ctx: RunContext[Any]) -> str:
    """Return what a call is known by; its id alone is not enough, which some providers repeat."""
    words = [parent.claimed.id, ctx.tool_call_id, order.agent, order.task, order.inputs]
    return DELEGATE + hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def _note(begun: RunHandle | Earlier, parent: RunHandle, ctx: RunContext[Any]) -> None:
    """Let the parent's events name the run of a delegate, once: it may be asked for again."""
    if isinstance(begun, Earlier):
        agent, session_id, run_id = begun.run.agent, begun.session_id, begun.run.id
    else:
        run = begun.claimed
        agent, session_id, run_id = run.draft.agent, run.session_id, run.id
    call_id = ctx.tool_call_id or ""
    if run_id in parent.claimed.asked or parent.recorder is None:
        return
    parent.claimed.asked[run_id] = call_id
    asked = AgentAsked(call_id=call_id, agent=agent, session_id=session_id, run_id=run_id)
    parent.recorder.note(asked)


async def _go_on(ctx: RunContext[Any]) -> None:
    """End the run, if it has nothing left of what has ended its delegate.

    The call is left as it is: resumed with more, the run goes on with what the delegate has done.

    Raises:
        CallDeferred: It ends when its other calls have come to their end.
    """
    assert isinstance(ctx.model, Model), "who has asked is a run on record"
    meters = [one for one in ctx.capabilities.values() if isinstance(one, Meter)]
    try:
        for meter in meters:
            await meter.check(ctx, ctx.model)
    except UsageLimitExceeded as error:
        raise CallDeferred({ENDS: error}) from error


async def _answer_of(handle: RunHandle) -> JsonValue:
    try:
        return (await handle.result()).output
    except CancelledError:  # who has asked was stopped
        handle.stop()
        with anyio.CancelScope(shield=True):
            await handle.ended.wait()
        raise
    except ApprovalNeededError as error:  # who has asked waits too, and goes on with this run
        raise ApprovalRequired({WAITS_FOR: error.run_id}) from error
    except RunCancelledError as error:
        raise UnavailableError("its run was cancelled.") from error
