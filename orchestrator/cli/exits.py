"""Errors → one line on stderr and an exit code: the edge of the command line."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio
import typer

from orchestrator.errors import (
    ConflictError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    OrchestratorError,
    RunCancelledError,
    UnavailableError,
)
from orchestrator.words import printable

DIFFERS = 7
"""No error: a replay has found that something is not as it was."""

EXIT_CODES: dict[type[OrchestratorError], int] = {
    InvalidInputError: 2,
    NotFoundError: 3,
    ConflictError: 4,
    LimitError: 5,
    UnavailableError: 6,
    RunCancelledError: 130,
    OrchestratorError: 1,
}
"""By branch, the particular before the general. 130 is what a shell gives what Ctrl-C ended."""


def exit_code(error: OrchestratorError) -> int:
    """Return the exit code of an error."""
    return next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))


@contextmanager
def reported() -> Iterator[None]:
    """Turn an error of ours into its line and its exit code."""
    try:
        with stoppable():
            yield
    except OrchestratorError as error:
        typer.echo(f"workyard: {printable(str(error))}", err=True)
        raise typer.Exit(exit_code(error)) from None


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn Ctrl-C into an error like any other.

    Raises:
        RunCancelledError: If the user stopped the command.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise RunCancelledError("Stopped.") from None


def run_until_signal(work: Callable[..., Awaitable[None]], *arguments: object) -> None:
    """Run `work` to its end; a signal cancels it once, and it still ends in good order.

    A second Ctrl-C would otherwise tear down what is just being written, and a terminal that is
    closed or a `kill` would leave the run open.

    Raises:
        RunCancelledError: If a signal came.
    """

    async def until_signal() -> None:
        loop = asyncio.get_running_loop()
        with anyio.CancelScope() as scope:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                loop.add_signal_handler(number, scope.cancel)
            await work(*arguments)
        if scope.cancel_called:
            raise RunCancelledError("Stopped.")

    try:
        with stoppable():
            anyio.run(until_signal)
    except RunCancelledError:
        # What is left is to say so: one more Ctrl-C would kill Python while it takes itself down.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise
