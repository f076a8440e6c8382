"""An agent put to the test: a run for each case of a dataset, each in a copy of the root."""

from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any  # what evaluators give

import anyio.to_thread
from pydantic import JsonValue
from pydantic_ai.models import Model
from pydantic_evals import set_eval_attribute
from pydantic_evals.reporting import ReportCase

from orchestrator.agents import check_spec
from orchestrator.bootstrap import Orchestrator
from orchestrator.catalogue import open_catalogue
from orchestrator.definitions.cast import cast_of
from orchestrator.definitions.definitions import open_definitions
from orchestrator.errors import InvalidInputError
from orchestrator.evaluation.answers import answers_in
from orchestrator.evaluation.datasets import CHANGED, CaseInputs, load_dataset
from orchestrator.events import FileChanged, Usage
from orchestrator.failures import redact
from orchestrator.models.service import open_models
from orchestrator.offline import OfflineModel
from orchestrator.record_url import sqlite_file
from orchestrator.replay.copying import copied
from orchestrator.roots import own_places, resolve_root
from orchestrator.runner import RunHandle
from orchestrator.settings import load_settings
from orchestrator.specs import Spec
from orchestrator.teams.members import check_team


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What has become of a case."""

    name: str
    agent: str = ""
    """Which was put to it: a name, or `owner/name@version` of a definition."""
    problems: tuple[str, ...] = ()
    """What was expected and is not so; why the run has failed."""
    session_id: str | None = None
    """Where its run is on record; None if it could not begin."""
    model: str = ""
    usage: Usage = field(default_factory=Usage)

    @property
    def has_passed(self) -> bool:
        """Whether all is as expected."""
        return not self.problems


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An agent, what it is put to, and with which model."""

    agent: str
    """Its name, `owner/name`, or either with `@version`."""
    root: str | Path = "."
    specs: Path | None = None
    """A directory of specs to look in first."""
    dataset: Path | None = None
    """By default `NAME.eval.yaml`, where the agent's file lies, or where such files are found."""
    model: str | None = None
    answers: Path | None = None
    """A directory with recorded answers of each case; no model is asked then."""
    at_once: int = 4


async def evaluate(trial: Trial) -> list[CaseResult]:
    """Run an agent on each case of a dataset, and return the results in the order of the cases.

    The runs are on record like any others. Each works in a copy of the root, which is deleted.

    Raises:
        OrchestratorError: If there is no such agent or dataset, or the model cannot be used.
    """
    settings = load_settings()
    spec, file = await _found(trial)
    cases = _Cases(trial, spec, resolve_root(trial.root))
    async with open_models(settings) as models:
        judge = None
        if trial.answers is None:
            _, judge = models.choose(trial.model, spec.document.model)
            if isinstance(judge, OfflineModel):  # which judges nothing
                judge = None
        dataset = load_dataset(file, judge)
        report = await dataset.evaluate(
            cases.answer, name=trial.agent, max_concurrency=trial.at_once, progress=False
        )
    judged = {case.name: _problems(case) for case in report.cases}
    failed = {case.name: (case.error_message.partition(": ")[2],) for case in report.failures}
    return [
        cases.result(name, {**judged, **failed}[name])
        for name in (case.inputs.case for case in dataset.cases)
    ]


async def prepared(trial: Trial) -> Trial:
    """Return a trial of the very version of an agent, with its file of cases.

    Raises:
        OrchestratorError: If there is no such agent or file, it cannot be run, or its model cannot
            be used: nothing has been asked then.
    """
    spec, dataset = await _found(trial)
    async with open_models(load_settings()) as models:
        if trial.answers is None:
            models.choose(trial.model, spec.document.model)
    return replace(trial, agent=spec.pinned, dataset=dataset)


async def _found(trial: Trial) -> tuple[Spec, Path]:
    settings = load_settings()
    files = open_catalogue(settings, trial.specs)
    async with open_definitions(settings.effective_database_url, files) as definitions:
        spec = await definitions.agent(trial.agent)
        check_spec(spec)
        check_team(spec, (await cast_of(spec, definitions.agent)).member)
    return spec, trial.dataset or files.find_cases(spec)


def _problems(case: ReportCase[CaseInputs, Any, Any]) -> tuple[str, ...]:
    wrong = (result for result in case.assertions.values() if not result.value)
    # A judge's provider may repeat the key that it refuses.
    broken = (f"{one.name}: {redact(one.error_message)}" for one in case.evaluator_failures)
    return (*(f"{one.name}: {one.reason or 'is not so'}" for one in wrong), *broken)


@dataclass
class _Cases:
    trial: Trial
    spec: Spec
    root: Path
    _handles: dict[str, RunHandle] = field(default_factory=dict)

    async def answer(self, inputs: CaseInputs) -> JsonValue:
        """Run the agent on a case, and return its answer."""
        settings = load_settings()
        database = sqlite_file(settings.effective_database_url)
        own = own_places(self.root, settings, specs=self.trial.specs, database=database)
        async with copied(self.root, leave_out=own) as copy:
            await anyio.to_thread.run_sync(_put, copy.root, inputs.files)
            kept = settings.model_copy(update={"state_dir": copy.state_dir})
            async with Orchestrator.open(copy.root, specs=self.trial.specs, settings=kept) as yard:
                handle = await yard.start(
                    self.spec.pinned,  # an edit meanwhile changes no case
                    inputs.prompt,
                    inputs=inputs.inputs,
                    model=self._model(inputs, copy.root),
                )
                self._handles[inputs.case] = handle
                events = [recorded.event async for recorded in yard.follow(handle)]
                changed = {event.path for event in events if isinstance(event, FileChanged)}
                set_eval_attribute(CHANGED, sorted(changed))
                return (await handle.result()).output

    def _model(self, inputs: CaseInputs, root: Path) -> str | Model | None:
        if self.trial.answers is None:
            return self.trial.model
        return answers_in(self.trial.answers, inputs.case, root)

    def result(self, name: str, problems: tuple[str, ...]) -> CaseResult:
        handle = self._handles.get(name)
        if handle is None:
            return CaseResult(name=name, agent=self.spec.pinned, problems=problems)
        last = handle.last_event
        return CaseResult(
            name=name,
            agent=self.spec.pinned,
            problems=problems,
            session_id=handle.claimed.session_id,
            model=handle.model,
            usage=last.usage if last else Usage(),
        )


def _put(root: Path, files: dict[str, str]) -> None:
    """Write the files of a case into the copy, which nobody else is at."""
    for name, text in files.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise InvalidInputError(f"A file of a case is a path below the root, not {name!r}.")
        target = root.joinpath(*path.parts)
        above = [root.joinpath(*path.parts[:count]) for count in range(1, len(path.parts) + 1)]
        if any(place.is_symlink() for place in above):
            raise InvalidInputError(f"The file {name!r} of a case would be written through a link.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
