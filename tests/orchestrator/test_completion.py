"""What has begun is finished before its caller is cancelled."""

import asyncio
import gc

import anyio
import pytest
from anyio.lowlevel import checkpoint

from orchestrator.store.completion import uninterrupted


async def test_caller_is_cancelled_only_when_the_work_is_done() -> None:
    done: list[str] = []

    @uninterrupted
    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    async def caller() -> None:
        try:
            await work()
        finally:
            done.append("caller")

    task = asyncio.create_task(caller())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert done == ["work", "caller"]


async def test_deadline_of_the_caller_waits_too() -> None:
    """anyio cancels again at every await; that must not end the waiting."""
    done: list[str] = []

    @uninterrupted
    async def work() -> None:
        await asyncio.sleep(0.05)
        done.append("work")

    with anyio.move_on_after(0.01):
        await work()

    assert done == ["work"]


async def test_result_and_error_come_through() -> None:
    @uninterrupted
    async def half(number: int) -> int:
        if number % 2:
            raise ValueError(number)
        return number // 2

    assert await half(4) == 2
    with pytest.raises(ValueError, match="3"):
        await half(3)


async def test_error_of_work_whose_caller_was_cancelled_is_no_lost_one() -> None:
    goes_on = anyio.Event()

    @uninterrupted
    async def fail() -> None:
        await goes_on.wait()
        raise ValueError("late")

    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(fail)
        await checkpoint()
        tasks.cancel_scope.cancel()
        goes_on.set()
    gc.collect()

    assert lost == []
