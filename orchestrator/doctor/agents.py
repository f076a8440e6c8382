"""What agents need: the record, a model, sound specs."""

import sqlite3
from collections.abc import Iterator, Mapping

from orchestrator.agents import check_spec
from orchestrator.catalogue import open_catalogue
from orchestrator.doctor.findings import Finding, failed, ok, warning
from orchestrator.doctor.machine import unwritable
from orchestrator.errors import (
    ModelNotConfiguredError,
    ModelSettingsError,
    OrchestratorError,
    SpecError,
)
from orchestrator.models.choice import require_key
from orchestrator.models.user_settings import FILE, load_model_settings
from orchestrator.record_url import sqlite_file
from orchestrator.settings import Settings
from orchestrator.store.database import database_address, database_revisions


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
        if name is not None:
            try:
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


def specs(settings: Settings) -> Iterator[Finding]:
    """Say how many agents there are, and name each whose spec is broken."""
    try:
        catalogue = open_catalogue(settings)
        names = catalogue.names()
    except SpecError as error:
        yield failed("agents", str(error))
        return
    sound = 0
    for name in names:
        try:
            check_spec(catalogue.get(name))
            sound += 1
        except SpecError as error:
            yield failed(f"agent {name}", str(error))
    yield ok("agents", f"{sound} of {len(names)} can be run")
