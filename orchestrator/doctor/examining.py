"""All checks, one after the other."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

from orchestrator.doctor import agents, machine
from orchestrator.doctor.findings import Finding, failed, ok
from orchestrator.doctor.hosts import Hosts
from orchestrator.doctor.servers import servers
from orchestrator.errors import InvalidInputError
from orchestrator.install.machine import Machine
from orchestrator.roots import resolve_root
from orchestrator.settings import load_settings


async def examine(root: str | None) -> AsyncGenerator[Finding]:
    """Yield a finding for each check, as soon as it is there.

    Args:
        root: A directory to be served, for what depends on it.
    """
    yield machine.python()
    yield machine.command()
    yield machine.ripgrep()
    try:
        settings, here = load_settings(), Machine.here()
    except InvalidInputError as error:
        yield failed("settings", str(error))
        return
    place = None
    if root is not None:
        try:
            place = resolve_root(root)
            yield ok("root", str(place))
        except InvalidInputError as error:
            yield failed("root", str(error))
    yield machine.confinement(place or Path.home())
    yield machine.journal(settings.state_dir, place)
    yield await agents.record(settings.effective_database_url)
    yield agents.model(settings, os.environ)
    async for finding in agents.agents(settings):
        yield finding
    async for finding in servers(settings):
        yield finding
    async for finding in Hosts(here, place).findings():
        yield finding
