"""The lazy seam of `workyard serve`: agents are offered at once, and loaded when one runs.

A host starts the server at every launch and waits for its tools. Pydantic AI, SQLModel and what
they need take seconds to import, and most launches run no agent. So this module imports none of
them: the functions that do are at its end, and run in a thread while the server goes on serving.
"""

import asyncio
import gc
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import anyio.to_thread

from mcp_server.errors import ServerError
from mcp_server.fence.grant import Grant
from mcp_server.ports import (
    HostModel,
    Operator,
    Order,
    RunnableAgent,
    RunReport,
    Step,
    Verdict,
)
from orchestrator.garbage import left_alone

if TYPE_CHECKING:
    from orchestrator.running import Running

LINGER_S = 600.0
"""How long runs may go on when the client has left. Then they are cancelled; both are on record."""


@asynccontextmanager
async def open_late(
    operator: Operator, *, linger_s: float = LINGER_S
) -> AsyncGenerator["LateRunner"]:
    """Offer to run agents; leaving it waits for runs under way, for `linger_s` seconds at most."""
    late = Late(operator, linger_s)
    try:
        yield LateRunner(late)
    finally:
        await late.close()


class Late:
    """What runs agents, loaded by the first call that needs it."""

    def __init__(self, operator: Operator, linger_s: float = LINGER_S) -> None:
        self.operator = operator
        self._linger_s = linger_s
        self._closing = asyncio.Event()
        self._ready: asyncio.Future[Running] | None = None
        self._living: asyncio.Task[None] | None = None

    @property
    def is_loading(self) -> bool:
        """Whether somebody has needed it already."""
        return self._ready is not None

    async def running(self) -> "Running":
        """Return it, loaded and with the record open.

        Raises:
            ServerError: the record cannot be opened; the next call tries again.
        """
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._living = asyncio.create_task(self._live(self._ready), name="agents")
        # Others may wait for it too, when this call is cancelled.
        return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Wait for runs under way, within a bound, and close the record."""
        self._closing.set()
        if self._living is not None:
            await self._living

    async def _live(self, ready: "asyncio.Future[Running]") -> None:
        """Open the record and keep it open, in one task: what is entered in it is left in it."""
        try:
            running_class = await anyio.to_thread.run_sync(_loaded)
            async with running_class.open(self.operator) as running:
                ready.set_result(running)
                await self._closing.wait()
                await running.finish(self._linger_s)
        except Exception as error:  # it goes to whoever waits; the next call tries again
            if ready.done():
                raise
            self._ready = None
            ready.set_exception(error)


@dataclass(frozen=True)
class LateRunner:
    """An `AgentRunner` that comes into being with the first call that needs one."""

    _late: Late
    _share: tuple[str, Grant] | None = None
    """Of one of several callers: who, and what it may do."""

    def of(self, caller: str, grant: Grant) -> "LateRunner":
        """Return what one of several callers has of it."""
        return replace(self, _share=(caller, grant))

    async def agents(self) -> Sequence[RunnableAgent]:
        """Return the agents there are; nothing large is loaded unless some are on record."""
        if self._late.is_loading or await anyio.to_thread.run_sync(_has_definitions):
            with suppress(ServerError):  # files are there without it; who wants a run is told why
                return await (await self._running()).agents()
        operator, is_whole = self._late.operator, self._share is None
        grant = operator.grant if self._share is None else self._share[1]
        return await anyio.to_thread.run_sync(_listed, operator, grant, is_whole)

    async def start(self, order: Order, host: HostModel) -> str:
        """Start a run and return its id."""
        return await (await self._running()).start(order, host)

    async def follow(self, run_id: str, *, after: int = 0) -> AsyncIterator[Step]:
        """Yield the steps of a run above `after`, as they come, to its end."""
        async for step in (await self._running()).follow(run_id, after=after):
            yield step

    async def report(self, run_id: str, *, after: int = 0) -> RunReport:
        """Return how a run stands, with its steps above `after`."""
        return await (await self._running()).report(run_id, after=after)

    async def answer(self, run_id: str, verdict: Verdict, host: HostModel) -> str | None:
        """Write down what was said; return the run that goes on, if one does."""
        return await (await self._running()).answer(run_id, verdict, host)

    async def cancel(self, run_id: str) -> None:
        """Stop a run, and return once that is on record."""
        await (await self._running()).cancel(run_id)

    async def _running(self) -> "Running":
        running = await self._late.running()
        return running if self._share is None else running.of(*self._share)


def _loaded() -> type["Running"]:
    with left_alone():
        from orchestrator.running import Running
    # Not looked through later either: with all that in it, a full collection is a pause of a tenth
    # of a second for every run.
    gc.freeze()

    return Running


def _listed(operator: Operator, grant: Grant, has_servers: bool) -> list[RunnableAgent]:
    from orchestrator.runnable import runnable_agents

    return runnable_agents(operator, grant, has_servers=has_servers)


def _has_definitions() -> bool:
    from orchestrator.runnable import may_have_definitions

    return may_have_definitions()
