"""What agents need: the record, a model, sound specs."""

import sqlite3
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from orchestrator.agents import check_spec
from orchestrator.catalogue import Catalogue, open_catalogue
from orchestrator.definitions.cast import cast_of
from orchestrator.definitions.definitions import Definitions, open_definitions
from orchestrator.doctor.findings import Finding, failed, ok, warning
from orchestrator.doctor.machine import unwritable
from orchestrator.errors import (
    LimitError,
    ModelNotConfiguredError,
    ModelSettingsError,
    NotFoundError,
    OrchestratorError,
    ServerSettingsError,
    SpecError,
)
from orchestrator.models.choice import require_key
from orchestrator.models.naming import check_model_name
from orchestrator.models.providers import OFFLINE
from orchestrator.models.user_settings import FILE, load_model_settings
from orchestrator.record_url import sqlite_file
from orchestrator.servers.checking import check_servers, servers_of
from orchestrator.servers.registry import load_servers
from orchestrator.settings import Settings
from orchestrator.specs import Spec
from orchestrator.store.database import database_address, database_revisions
from orchestrator.teams.members import check_team


async def record(url: str) -> Finding:
    """Say whether the record can be opened, and whether this Workyard knows it."""
    try:
        address = database_address(url)
        file = sqlite_file(url)
        at = await database_revisions(url)
    except OrchestratorError as error:
        return failed("record", str(error))
    if file is not None:
        address = f"{address} (SQLite {sqlite3.sqlite_version})"
        problem = unwritable(file.parent)
        if problem:
            return failed("record", problem, "name another place with WORKYARD_DATA_DIR")
    if at.found is not None and at.found > at.known:
        return failed("record", f"{address} is of a newer Workyard", "upgrade Workyard")
    if at.found == at.known:
        return ok("record", f"{address}, revision {at.found}")
    if file is not None:
        what = "is made" if at.found is None else f"is upgraded from revision {at.found}"
        return ok("record", f"{address} {what} by whatever opens it first")
    what = "holds no record" if at.found is None else f"is at revision {at.found}"
    return failed("record", f"{address} {what}", "run 'workyard db upgrade'")


def model(settings: Settings, environ: Mapping[str, str]) -> Finding:
    """Say which providers can be used now, and what is wrong with what the user has set."""
    try:
        known = load_model_settings(settings.config_dir)
    except ModelSettingsError as error:
        return failed("model", str(error))
    usable = [each.title for each in known.all_providers if each.is_usable(environ)]
    others = [f"{p.title}: {p.advice}" for p in known.all_providers if not p.is_usable(environ)]
    for name, place in ((settings.model, "WORKYARD_MODEL"), (known.default, FILE)):
        if name not in (None, OFFLINE):
            try:
                check_model_name(known.resolved(name), known)
                require_key(known.resolved(name), known, environ)
            except ModelNotConfiguredError as error:
                return failed("model", f"{error} ({place} names it.)")
    if usable:
        return ok("model", f"{', '.join(usable)} can be used here", "; ".join(others))
    return warning(
        "model",
        "no provider has a key here",
        f"{'; '.join(others)}; '--model client' asks the host's own, '--model offline' needs none",
    )


async def agents(settings: Settings) -> AsyncGenerator[Finding]:
    """Say how many agents there are, and name each that cannot be run: files and definitions.

    A record that is not this Workyard's yet is not opened: whoever opens it upgrades it.
    """
    try:
        files = open_catalogue(settings)
        names = files.names()
    except SpecError as error:
        yield failed("agents", str(error))
        return
    async with AsyncExitStack() as stack:
        definitions = None
        if await _is_current(settings.effective_database_url):
            opened = open_definitions(settings.effective_database_url, files)
            definitions = await stack.enter_async_context(opened)
            names += [each.reference for each in await definitions.own()]
        broken = 0
        for name in names:
            problem = await _problem_of(name, files, definitions, settings.config_dir)
            if problem:
                broken += 1
                yield failed(f"agent {name}", problem)
        yield ok("agents", f"{len(names) - broken} of {len(names)} can be run")


async def _is_current(url: str) -> bool:
    try:
        at = await database_revisions(url)
    except OrchestratorError:  # `record` has said so
        return False
    return at.found == at.known


async def _problem_of(
    name: str, files: Catalogue, definitions: Definitions | None, config_dir: Path
) -> str:
    """Return why an agent cannot be run; empty if it can."""

    async def get(reference: str) -> Spec:
        return files.get(reference) if definitions is None else await definitions.agent(reference)

    try:
        spec = await get(name)
        check_spec(spec)
        check_team(spec, (await cast_of(spec, get)).member)
        if any(servers_of(spec)):
            check_servers(spec, load_servers(config_dir))
    except (SpecError, NotFoundError, LimitError, ServerSettingsError) as error:
        return str(error)
    return ""
