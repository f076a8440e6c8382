"""What has begun is finished before its caller is cancelled.

A transaction that is cancelled in the middle leaves its connection, and with it SQLite's one write
lock, in a state that nobody knows; and whoever asked for it does not learn whether it took place.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar  # Any: what a coroutine sends and takes

import anyio

P = ParamSpec("P")
T = TypeVar("T")


def uninterrupted(
    work: Callable[P, Coroutine[Any, Any, T]],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Let a cancellation wait until the work is done. For work of milliseconds."""

    @wraps(work)
    async def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(work(*args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # taken note of, or asyncio would report it as lost
            raise

    return whole
