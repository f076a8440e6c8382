"""How a run ends: by an answer, a failure, a word, or not in sight of whoever asked for it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Unpack, cast  # Any: whatever a method takes

import anyio
import pytest
from fastmcp.client.transports import ClientTransport
from fastmcp.client.transports.base import SessionKwargs, TransportOptions
from mcp import ClientSession

from mcp_server.fence.grant import Grant
from orchestrator.bootstrap import Orchestrator
from orchestrator.connections import InProcessConnection
from orchestrator.errors import (
    LimitError,
    NotFoundError,
    RunCancelledError,
    RunCrashedError,
    StoreUnavailableError,
)
from orchestrator.events import (
    RunEnded,
    TextDelta,
    ToolCalled,
    ToolReturned,
)
from orchestrator.store.store import Store
from tests.orchestrator.played import MISSING, READ, playing, record_of


async def test_cancelled_run_is_recorded_with_what_it_had_done(yard: Orchestrator) -> None:
    handle = await yard.start("repo_guide", "go", model=playing([READ], anyio.sleep_forever))
    with anyio.fail_after(10):
        async for recorded in yard.follow(handle):
            if isinstance(recorded.event, TextDelta):
                break
        await yard.cancel(handle.claimed.id)

    with pytest.raises(RunCancelledError):
        await handle.result()
    session_id = handle.claimed.session_id
    events = [recorded.event for recorded in await record_of(yard, session_id)]
    assert (await yard.sessions.runs(session_id))[0].status == "cancelled"
    assert any(isinstance(e, ToolReturned) for e in events)
    assert isinstance(events[-1], RunEnded)
    assert len(await yard.sessions.messages(session_id)) >= 3


async def test_session_goes_on_after_a_cancelled_run(yard: Orchestrator) -> None:
    handle = await yard.start("repo_guide", "go", model=playing([READ], anyio.sleep_forever))
    with anyio.fail_after(10):
        async for recorded in yard.follow(handle):
            if isinstance(recorded.event, ToolCalled):
                break
        await yard.cancel(handle.claimed.id)

    session_id = handle.claimed.session_id
    result = await yard.run("repo_guide", "and now?", model=playing("fine"), session_id=session_id)

    assert result.output == "fine "


@pytest.mark.parametrize("delay_ms", range(0, 120, 8))
async def test_run_cancelled_at_any_moment_leaves_a_whole_record(
    yard: Orchestrator, delay_ms: int
) -> None:
    model = playing([READ, READ], [READ, MISSING], [READ], "done")
    handle = await yard.start("repo_guide", "go", model=model)
    await anyio.sleep(delay_ms / 1000)
    with anyio.fail_after(10):
        handle.token.cancel()
        await handle.ended.wait()
        session_id = handle.claimed.session_id
        again = await yard.run("repo_guide", "on", model=playing("ok"), session_id=session_id)

    record = await record_of(yard, session_id)
    called = [e.event.call_id for e in record if isinstance(e.event, ToolCalled)]
    returned = [e.event.call_id for e in record if isinstance(e.event, ToolReturned)]
    messages = await yard.sessions.messages(session_id)
    calls = [
        part.tool_call_id for m in messages for part in m.parts if part.part_kind == "tool-call"
    ]
    assert again.output == "ok "
    assert [e.seq for e in record] == list(range(1, len(record) + 1))
    assert len(set(called)) == len(called)
    assert set(returned) <= set(called) <= set(calls)


class NeverConnecting(ClientTransport):
    """A server that starts and says nothing."""

    @asynccontextmanager
    async def connect_session(
        self,
        *,
        transport_options: TransportOptions | None = None,
        **session_kwargs: Unpack[SessionKwargs],
    ) -> AsyncGenerator[ClientSession]:
        await anyio.Event().wait()
        yield cast(ClientSession, None)  # it never gets here


class Silent(InProcessConnection):
    def transport(self, grant: Grant) -> ClientTransport:
        return NeverConnecting()


async def test_cancel_does_not_wait_for_a_server_that_does_not_start(project: Path) -> None:
    async with Orchestrator.open(project, connect=Silent) as yard:
        handle = await yard.start("repo_guide", "go", model=playing("x"))
        await anyio.sleep(0.1)
        with anyio.fail_after(2):
            await yard.cancel(handle.claimed.id)

        assert (await yard.sessions.runs(handle.claimed.session_id))[0].status == "cancelled"


async def test_run_whose_end_cannot_be_written_leaves_nobody_waiting(
    yard: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk is full at the last moment."""
    end, failures = Store.end, [StoreUnavailableError("disk full")]

    async def failing_once(self: Store, *args: Any, **kwargs: Any) -> None:
        if failures:
            raise failures.pop()
        await end(self, *args, **kwargs)

    monkeypatch.setattr(Store, "end", failing_once)
    handle = await yard.start("repo_guide", "go", model=playing("x"))
    with anyio.fail_after(5):
        events = [recorded.event async for recorded in yard.follow(handle)]
        with pytest.raises(StoreUnavailableError, match="disk full"):
            await handle.result()

    assert isinstance(events[-1], RunEnded)
    assert (await yard.sessions.get(handle.claimed.session_id)).active_run_id is None


async def test_reader_of_a_run_that_could_not_be_ended_at_all_is_not_kept(
    yard: Orchestrator, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failing(self: Store, *args: Any, **kwargs: Any) -> None:
        raise StoreUnavailableError("disk full")

    monkeypatch.setattr(Store, "end", failing)
    handle = await yard.start("repo_guide", "go", model=playing("x"))

    with anyio.fail_after(5):
        assert [recorded async for recorded in yard.follow(handle)]


async def test_leaving_the_yard_cancels_what_still_runs(project: Path) -> None:
    async with Orchestrator.open(project, connect=InProcessConnection) as yard:
        handle = await yard.start("repo_guide", "go", model=playing(anyio.sleep_forever))

    assert handle.last_event is not None
    assert handle.last_event.status == "cancelled"


async def test_leaving_the_yard_stops_all_that_runs_at_once(project: Path) -> None:
    """Some end by themselves while others are being stopped."""
    with anyio.fail_after(10):
        async with Orchestrator.open(project, connect=InProcessConnection) as yard:
            models = [playing(anyio.sleep_forever), playing("x"), playing([READ], "y")] * 2
            handles = [await yard.start("repo_guide", "go", model=model) for model in models]

    ends = [handle.last_event.status for handle in handles if handle.last_event is not None]
    assert len(ends) == len(handles)
    assert "cancelled" in ends


async def test_run_outlives_its_reader(yard: Orchestrator) -> None:
    going_on = anyio.Event()
    events = yard.stream("repo_guide", "go", model=playing(going_on.wait))
    first = await anext(events)
    await events.aclose()  # type: ignore[attr-defined]  # an async generator, as all of these are

    going_on.set()
    with anyio.fail_after(5):
        session_id = first.session_id
        follow = yard.sessions.follow(session_id, run_id=first.run_id)
        last = [recorded.event async for recorded in follow][-1]

    assert isinstance(last, RunEnded)
    assert last.status == "succeeded"


async def test_budget_that_is_used_up_is_a_limit_error_and_on_record(
    project: Path, tmp_path: Path
) -> None:
    specs = tmp_path / "specs"
    specs.mkdir()
    (specs / "small.yaml").write_text(
        "name: small\ndescription: d\ninstructions: x\ncapabilities:\n"
        "  - WorkspaceTools: {tools: [read_file], read: ['**']}\n  - Budget: {requests: 2}\n"
    )
    async with Orchestrator.open(project, specs=specs, connect=InProcessConnection) as yard:
        handle = await yard.start("small", "go", model=playing([READ], [READ], [READ]))
        with pytest.raises(LimitError, match="2 requests") as caught:
            await handle.result()
        run = (await yard.sessions.runs(handle.claimed.session_id))[0]
        messages = await yard.sessions.messages(handle.claimed.session_id)

    assert (caught.value.limit, caught.value.unit) == (2, "requests")
    assert (run.status, run.error_code, run.requests) == ("failed", "limit", 2)
    assert [m.parts[0].part_kind for m in messages][-1] == "tool-return"


async def test_fault_of_our_own_is_logged_and_told_without_details(
    yard: Orchestrator, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down() -> None:
        raise KeyError("secret detail")

    with pytest.raises(RunCrashedError) as caught:
        await yard.run("repo_guide", "go", model=playing(break_down))

    assert "secret detail" not in str(caught.value)
    assert "secret detail" in caplog.text


async def test_cancelling_what_does_not_run_is_not_found(yard: Orchestrator) -> None:
    with pytest.raises(NotFoundError):
        await yard.cancel("nope")
