"""Runs: started, followed, cancelled. It knows agents and the store; not MCP, HTTP or a terminal.

A run has a task of its own and outlives whoever asked for it: the terminal and every other viewer
are readers of the record. It ends when the agent has answered, when it fails, or when somebody
cancels it; each way is on record before anybody is told.

The task is asyncio's, which Pydantic AI requires anyway, and no child of a task group: a group
would end the run with its caller, and would wrap the caller's own exceptions.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any  # what a coroutine sends and takes; deps of any type

import anyio
from pydantic import JsonValue
from pydantic_ai import CancellationToken, RunCancelled, UsageLimits
from pydantic_ai.capabilities import AbstractCapability

from orchestrator.agents import WorkyardAgent
from orchestrator.amends import Amends
from orchestrator.approvals.questions import Questions, WaitsError
from orchestrator.budget.allowance import Allowances
from orchestrator.errors import (
    ApprovalNeededError,
    ModelUnavailableError,
    NotFoundError,
    OrchestratorError,
    RunCancelledError,
    RunCrashedError,
    StoreUnavailableError,
    WorkspaceUnavailableError,
    causes,
)
from orchestrator.events import RecordedEvent, RunEnded, Usage
from orchestrator.failures import explain
from orchestrator.ids import attempt_id
from orchestrator.lifecycle import RunStatus
from orchestrator.recorder import Recorder
from orchestrator.responses import was_cut_off
from orchestrator.resumption import Resumption
from orchestrator.store.claimed import ClaimedRun, RunDraft
from orchestrator.store.liveness import RENEW_S
from orchestrator.store.store import Store
from orchestrator.teams.shares import Share

_log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a process looks whether its runs are to stop."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run that succeeded has to give."""

    run_id: str
    session_id: str
    agent: str
    model: str
    output: JsonValue
    """Text, or what the spec's `output_schema` describes."""
    usage: Usage


@dataclass(kw_only=True)
class RunHandle:
    """A run under way in this process."""

    claimed: ClaimedRun
    model: str
    token: CancellationToken = field(default_factory=CancellationToken)
    task: asyncio.Task[None] | None = None
    connecting: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    """Ends the wait for the workspace's server, which the token does not reach."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    last_event: RunEnded | None = None
    error: OrchestratorError | None = None
    recorder: Recorder | None = None

    def stop(self) -> None:
        """Ask the run to end; `ended` tells when it has."""
        self.token.cancel()
        self.connecting.cancel()

    async def result(self) -> RunResult:
        """Wait for the end of the run and return what it has to give.

        Raises:
            OrchestratorError: If the run failed or was cancelled.
        """
        await self.ended.wait()
        if self.error is not None:
            raise self.error
        assert self.last_event is not None, "a run without an error has ended with its last event"
        return RunResult(
            run_id=self.claimed.id,
            session_id=self.claimed.session_id,
            agent=self.claimed.draft.agent,
            model=self.model,
            output=self.last_event.output,
            usage=self.last_event.usage,
        )


@dataclass(frozen=True)
class RunRequest:
    """An agent, and what it is to be run for."""

    agent: WorkyardAgent
    draft: RunDraft
    share: Share | None = None
    """That of a delegate in the budgets of those it works for."""


@dataclass
class Runner:
    """Starts runs and keeps hold of them; its owner closes it."""

    store: Store
    allowances: Allowances
    _running: dict[str, RunHandle] = field(default_factory=dict)
    _open: dict[str, tuple[ClaimedRun, RunEnded]] = field(default_factory=dict)
    """Runs that have ended and could not be written to their end."""
    _attending: asyncio.Task[None] | None = None

    async def start(self, request: RunRequest) -> RunHandle:
        """Claim the session, commit run and prompt, and begin.

        Raises:
            NotFoundError: If there is no such session.
            SessionBusyError: If another run holds the session.
        """
        return await _known(self._start(request))

    async def resume(self, request: RunRequest, run_id: str) -> RunHandle:
        """Let a session's last run go on, with the request's agent.

        Raises:
            SessionBusyError: If a run holds the session.
            NotResumableError: If the run has succeeded, or is not the session's last one.
            ApprovalNeededError: If a question of the run has no answer yet.
        """
        return await _known(self._resume(request, run_id))

    async def _start(self, request: RunRequest) -> RunHandle:
        return self._begin(await self.store.claim(request.draft), request)

    async def _resume(self, request: RunRequest, run_id: str) -> RunHandle:
        return self._begin(await self.store.resume(request.draft, run_id), request)

    def _begin(self, claimed: ClaimedRun, request: RunRequest) -> RunHandle:
        handle = RunHandle(claimed=claimed, model=request.draft.model)
        self._running[claimed.id] = handle
        handle.task = asyncio.create_task(self._live(handle, request), name=f"run {claimed.id}")
        if self._attending is None:
            self._attending = asyncio.create_task(self._attend(), name="attend to runs")
        return handle

    def under_way(self, run_id: str) -> RunHandle:
        """Return a run of this process.

        Raises:
            NotFoundError: If there is none of this id.
        """
        if run_id not in self._running:
            raise NotFoundError("run under way", run_id, known=self._running)
        return self._running[run_id]

    async def follow(self, handle: RunHandle) -> AsyncIterator[RecordedEvent]:
        """Yield a run's events from its first to its last, as they come."""
        run = handle.claimed
        events = self.store.sessions.follow(
            run.session_id,
            run_id=run.id,
            after=run.first_seq - 1,
            # A run whose end could not be written has none to wait for.
            is_over=handle.ended.is_set,
        )
        async for recorded in events:
            yield recorded

    async def cancel(self, run_id: str) -> None:
        """Stop a run and wait until that is on record; another process has to be asked to.

        Raises:
            NotFoundError: If there is no such run.
            ConflictError: If it has ended, or its process does not answer.
        """
        handle = self._running.get(run_id)
        if handle is None:
            await self.store.sessions.cancel_run(run_id)
            return
        handle.stop()
        await handle.ended.wait()

    async def close(self) -> None:
        """Cancel what still runs, and wait for the record of it."""
        handles = list(self._running.values())
        for handle in handles:
            handle.stop()
        for handle in handles:
            await handle.ended.wait()
        if self._attending is not None:
            self._attending.cancel()
            await asyncio.wait({self._attending})
        await self._end_open()

    async def _attend(self) -> None:
        """Tell the record that this process is alive, and listen to what others ask, for all runs.

        What cannot be reached now is tried again: the runs go on meanwhile.
        """
        renewed_at = anyio.current_time()
        while True:
            await anyio.sleep(LOOK_S)
            if not self._running and not self._open:
                continue
            try:
                if anyio.current_time() - renewed_at >= RENEW_S:
                    await self.store.renew()
                    renewed_at = anyio.current_time()
                await self._stop_those_asked_to()
                await self._end_open()
            except OrchestratorError as error:
                _log.warning("The record cannot be reached: %s", error)

    async def _stop_those_asked_to(self) -> None:
        handles = list(self._running.values())
        if handles:
            asked = await self.store.to_stop()
            for handle in handles:
                if handle.claimed.pk in asked:
                    handle.stop()

    async def _end_open(self) -> None:
        for run, ended in list(self._open.values()):
            del self._open[run.id]
            await self._give_up(run, ended)

    async def _live(self, handle: RunHandle, request: RunRequest) -> None:
        recorder = handle.recorder = Recorder(self.store, handle.claimed)
        try:
            outcome = await self._attended(handle, request, recorder)
            await self._settle(handle, recorder, outcome)
        except Exception as error:  # whoever waits must be told, also of a bug of ours
            _log.error("Run %s could not be written to its end: %s", handle.claimed.id, error)
            outcome = _failure(error, request.draft.model)
            handle.error = outcome.error
            await self._give_up(handle.claimed, _ended(outcome, Usage()))
        finally:
            if handle.last_event is None and handle.error is None:  # the event loop ends
                handle.error = RunCancelledError("The run was given up.")
            del self._running[handle.claimed.id]
            handle.ended.set()

    async def _give_up(self, run: ClaimedRun, ended: RunEnded) -> None:
        """Write the end alone, when the whole could not be written: the session must be free."""
        try:
            await self.store.give_up(run, ended)
        except StoreUnavailableError as error:
            _log.error("Run %s stays open until the record can be written: %s", run.id, error)
            self._open[run.id] = (run, ended)
        except OrchestratorError as error:
            _log.error("Run %s cannot be ended here: %s", run.id, error)

    async def _attended(
        self, handle: RunHandle, request: RunRequest, recorder: Recorder
    ) -> "_Outcome":
        try:
            with self.allowances.for_run(handle.claimed) as allowed:
                async with anyio.create_task_group() as beside:
                    beside.start_soon(recorder.flush_regularly)
                    outcome = await _outcome(handle, request, [recorder, *allowed])
                    beside.cancel_scope.cancel()
            return outcome
        except ExceptionGroup as group:
            return _failure(group, request.draft.model)

    async def _settle(self, handle: RunHandle, recorder: Recorder, outcome: "_Outcome") -> None:
        handle.last_event = await recorder.end(_ended(outcome, Usage()))
        handle.error = outcome.error


async def _known(beginning: Coroutine[Any, Any, RunHandle]) -> RunHandle:
    """Return a run that is being begun; one that its caller does not wait for is stopped.

    Nobody else knows of it, and it would go on at somebody's cost.
    """
    begun = asyncio.create_task(beginning)
    try:
        return await asyncio.shield(begun)
    except asyncio.CancelledError:
        with anyio.CancelScope(shield=True):
            await asyncio.wait({begun})
            if not begun.cancelled() and begun.exception() is None:
                begun.result().stop()
                await begun.result().ended.wait()
        raise


@dataclass(frozen=True)
class _Outcome:
    status: RunStatus
    output: JsonValue = None
    error: OrchestratorError | None = None


def _cancelled() -> _Outcome:
    return _Outcome(RunStatus.CANCELLED, error=RunCancelledError("The run was cancelled."))


async def _outcome(
    handle: RunHandle, request: RunRequest, capabilities: Sequence[AbstractCapability[Any]]
) -> _Outcome:
    run, recorder = handle.claimed, handle.recorder
    assert recorder is not None, "a run is recorded before it begins"
    try:
        async with AsyncExitStack() as stack:
            with handle.connecting:
                # Leaving it closes the model's connections and the workspace's server.
                await _connected(stack, request.agent)
            if handle.connecting.cancelled_caught:
                return _cancelled()
            result = await request.agent.run(
                request.draft.prompt if run.needs_prompt else None,
                conversation=run.conversation,
                run_id=attempt_id(run.id, run.attempt),
                deps=request.draft.inputs or None,
                capabilities=[
                    *capabilities,
                    Amends(),
                    Questions(run.decisions, recorder.put),
                    *([Resumption(run)] if run.attempt > 1 else []),
                    *([request.share] if request.share else []),
                ],
                # The spec's Budget limits the run; Pydantic AI's default would limit the session.
                usage_limits=UsageLimits(request_limit=None),
                cancellation_token=handle.token,
            )
    except RunCancelled:
        return _cancelled()
    except WaitsError:
        return _Outcome(RunStatus.WAITING, error=ApprovalNeededError(run.id))
    except Exception as error:  # whatever ends a run goes on its record, bugs of ours included
        return _failure(error, request.draft.model)
    if was_cut_off(result.response):
        text = (
            f"Model {request.draft.model!r} ended its answer without saying that it was complete."
        )
        return _Outcome(RunStatus.FAILED, error=ModelUnavailableError(f"{text} Try again."))
    return _Outcome(RunStatus.SUCCEEDED, output=_as_json(result.output))


async def _connected(stack: AsyncExitStack, agent: WorkyardAgent) -> None:
    try:
        await stack.enter_async_context(agent)
    except Exception as error:  # whatever the client makes of it, the system has said why
        fault = next((cause for cause in causes(error) if isinstance(cause, OSError)), None)
        if fault is None or isinstance(error, OrchestratorError):  # a named server says it itself
            raise
        raise WorkspaceUnavailableError(
            f"The workspace's server cannot be started: {fault.strerror or fault}."
        ) from error


def _as_json(output: JsonValue) -> JsonValue:
    """Return an answer with null for what JSON has no word for: NaN and the infinities."""
    if isinstance(output, str):
        return output
    plain: JsonValue = json.loads(json.dumps(output), parse_constant=lambda _: None)
    return plain


def _failure(error: Exception, model: str) -> _Outcome:
    known = explain(error, model)
    if known is None:
        _log.error("A run ended with a fault of Workyard's own.", exc_info=error)
        known = RunCrashedError("The run ended with a fault of Workyard's own; the log says more.")
    return _Outcome(RunStatus.FAILED, error=known)


def _ended(outcome: _Outcome, usage: Usage) -> RunEnded:
    return RunEnded(
        status=outcome.status,
        output=outcome.output,
        usage=usage,
        error_code=outcome.error.code if outcome.error else None,
        error_text=str(outcome.error) if outcome.error else None,
    )
