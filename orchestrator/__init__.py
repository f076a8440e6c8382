"""Workyard's orchestrator: agents from spec files, at work in one directory, every run on record.

from orchestrator import Orchestrator

async with Orchestrator.open(root="~/project") as yard:
    run = await yard.run("code_reviewer", "Review src/")
    print(run.output)
"""

from importlib import import_module
from typing import TYPE_CHECKING

from orchestrator.garbage import left_alone

if TYPE_CHECKING:
    from orchestrator.agents import check_spec
    from orchestrator.bootstrap import Orchestrator
    from orchestrator.capabilities import CAPABILITIES
    from orchestrator.definitions.definitions import Definitions, open_definitions
    from orchestrator.doctor.examining import examine
    from orchestrator.evaluation.evaluating import CaseResult, Trial, evaluate, prepared
    from orchestrator.history.history import History
    from orchestrator.mapping import Task, TaskResult
    from orchestrator.models.naming import check_model_name
    from orchestrator.models.prices import facts_of, models_of
    from orchestrator.plain_script import run_sync
    from orchestrator.probing import ask_models
    from orchestrator.runner import RunHandle, RunResult
    from orchestrator.servers.asking import ask_servers
    from orchestrator.serving import granted_by
    from orchestrator.spec_schema import editor_schema
    from orchestrator.store.approvals import Answer, Question
    from orchestrator.store.database import (
        database_address,
        database_revisions,
        shareable_url,
        upgrade_database,
    )
    from orchestrator.store.store import open_store
    from orchestrator.validation import Finding, examined, fault, findings_of

__all__ = [
    "CAPABILITIES",
    "Answer",
    "CaseResult",
    "Definitions",
    "Finding",
    "History",
    "Orchestrator",
    "Question",
    "RunHandle",
    "RunResult",
    "Task",
    "TaskResult",
    "Trial",
    "ask_models",
    "ask_servers",
    "check_model_name",
    "check_spec",
    "database_address",
    "database_revisions",
    "editor_schema",
    "evaluate",
    "examine",
    "examined",
    "facts_of",
    "fault",
    "findings_of",
    "granted_by",
    "models_of",
    "open_definitions",
    "open_store",
    "prepared",
    "run_sync",
    "shareable_url",
    "upgrade_database",
]

# The lazy seam. `workyard serve`, `workyard agents list` and `workyard --help` come through this
# package and must not wait seconds for pydantic_ai and sqlmodel, which they do not use. The names
# below load on first use; the command line takes them from here and imports nothing in functions.
_HOMES = {
    "Definitions": "orchestrator.definitions.definitions",
    "Finding": "orchestrator.validation",
    "examined": "orchestrator.validation",
    "fault": "orchestrator.validation",
    "findings_of": "orchestrator.validation",
    "editor_schema": "orchestrator.spec_schema",
    "open_definitions": "orchestrator.definitions.definitions",
    "CAPABILITIES": "orchestrator.capabilities",
    "Answer": "orchestrator.store.approvals",
    "Question": "orchestrator.store.approvals",
    "CaseResult": "orchestrator.evaluation.evaluating",
    "Trial": "orchestrator.evaluation.evaluating",
    "evaluate": "orchestrator.evaluation.evaluating",
    "prepared": "orchestrator.evaluation.evaluating",
    "History": "orchestrator.history.history",
    "Orchestrator": "orchestrator.bootstrap",
    "RunHandle": "orchestrator.runner",
    "RunResult": "orchestrator.runner",
    "Task": "orchestrator.mapping",
    "TaskResult": "orchestrator.mapping",
    "ask_models": "orchestrator.probing",
    "check_model_name": "orchestrator.models.naming",
    "ask_servers": "orchestrator.servers.asking",
    "check_spec": "orchestrator.agents",
    "database_address": "orchestrator.store.database",
    "database_revisions": "orchestrator.store.database",
    "examine": "orchestrator.doctor.examining",
    "facts_of": "orchestrator.models.prices",
    "granted_by": "orchestrator.serving",
    "models_of": "orchestrator.models.prices",
    "open_store": "orchestrator.store.store",
    "run_sync": "orchestrator.plain_script",
    "shareable_url": "orchestrator.store.database",
    "upgrade_database": "orchestrator.store.database",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with left_alone():
        module = import_module(_HOMES[name])
    return getattr(module, name)
