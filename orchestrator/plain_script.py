"""An agent run from a script that knows nothing of async."""

from pathlib import Path
from typing import Unpack

import anyio

from orchestrator.bootstrap import Orchestrator
from orchestrator.orders import RunOptions
from orchestrator.runner import RunResult


def run_sync(
    agent: str, prompt: str, *, root: str | Path = ".", **options: Unpack[RunOptions]
) -> RunResult:
    """Run an agent from a plain script; see `Orchestrator.open` and `Orchestrator.run`.

    Raises:
        OrchestratorError: If the run cannot begin or fails.
    """

    async def run() -> RunResult:
        async with Orchestrator.open(root) as yard:
            return await yard.run(agent, prompt, **options)

    return anyio.run(run)
