"""`workyard eval`: an agent put to the test, and laid beside another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

import orchestrator
from orchestrator.cli.exits import reported, run_until_signal
from orchestrator.cli.run import ModelOption, RootOption, SpecsOption
from orchestrator.cli.terminal import print_table, stderr
from orchestrator.errors import InvalidInputError
from orchestrator.words import in_words

FAILED = 1
"""Not all cases have passed."""

_PACKAGE = "pydantic_evals"


def evaluate(  # noqa: PLR0913 - each is an option of the command
    agent: Annotated[
        str, typer.Argument(help="An agent's name, a version of it (NAME@2), or its spec file.")
    ],
    dataset: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Cases; by default NAME.eval.yaml beside the spec, and for a definition in "
            "--specs, your own agents or the shipped ones.",
        ),
    ] = None,
    root: RootOption = ".",
    model: ModelOption = None,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Play the recorded answers there, and ask no model."),
    ] = None,
    other_model: Annotated[
        str | None, typer.Option("--compare", metavar="MODEL", help="Lay another model beside it.")
    ] = None,
    other_agent: Annotated[
        str | None,
        typer.Option(
            "--compare-spec",
            metavar="AGENT",
            help="Lay another agent beside it: a name, a version (NAME@1) or a spec file.",
        ),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="How many cases at a time.")] = 4,
    specs: SpecsOption = None,
) -> None:
    """Run an agent on the cases of a dataset, each in a copy of the root, and say what holds."""
    if other_model and other_agent:
        raise typer.BadParameter("compare with a model or with a spec, not with both.")
    with reported():
        if find_spec(_PACKAGE) is None:
            fitting = version("pydantic-ai-slim")
            raise InvalidInputError(
                f"This needs a package: pip install 'pydantic-evals=={fitting}', which is the one "
                "for the Pydantic AI that is installed."
            )
        trial = orchestrator.Trial(
            agent=agent,
            root=root,
            specs=specs,
            dataset=dataset,
            model=model,
            answers=answers,
            at_once=at_once,
        )
        trials = [_Named(agent, _of(trial, agent))]
        if other_model:
            beside = replace(trials[0].trial, model=other_model, answers=None)
            trials = [_Named(model or "as it is", trials[0].trial), _Named(other_model, beside)]
        if other_agent:
            trials.append(_Named(other_agent, _of(trial, other_agent)))
        told: list[_Told] = []
        run_until_signal(_evaluate, trials, told)
        _show(told, "model" if other_model else "agent")
    if any(each.failed for each in told):
        raise typer.Exit(FAILED)


class _Named(NamedTuple):
    """A trial, and what it is called beside others."""

    called: str
    trial: "orchestrator.Trial"


@dataclass(frozen=True)
class _Told:
    """One trial, and what has become of it."""

    called: str
    results: "Sequence[orchestrator.CaseResult]"

    @property
    def failed(self) -> list[str]:
        return [result.name for result in self.results if not result.has_passed]

    @property
    def passed(self) -> str:
        count = len(self.results)
        return f"{count - len(self.failed)} of {count} cases have passed"


def _of(trial: "orchestrator.Trial", agent: str) -> "orchestrator.Trial":
    """Return a trial of an agent by name, or of the one in a spec file."""
    if agent.endswith((".yaml", ".yml")):
        file = Path(agent)
        return replace(trial, agent=file.stem, specs=file.parent)
    return replace(trial, agent=agent)


async def _evaluate(trials: Sequence[_Named], told: list[_Told]) -> None:
    ready: list[_Named] = []
    for called, trial in trials:  # nothing is asked before all of it can be
        dataset = ready[0].trial.dataset if ready else trial.dataset
        prepared = await orchestrator.prepared(replace(trial, dataset=dataset))
        is_version = called == trial.agent and "@" in prepared.agent
        ready.append(_Named(prepared.agent if is_version else called, prepared))
    for called, trial in ready:
        told.append(_Told(called, await orchestrator.evaluate(trial)))


def _show(told: Sequence[_Told], beside: str) -> None:
    """Print what has become of each case, of several trials under one another."""
    first = told[0]
    if len(told) == 1:
        print_table(("case", "result", "model", "used", "session"), map(_row, first.results))
        stderr.print(f"{first.passed}.", markup=False)
        return
    rows = [
        (result.name, each.called, *_row(result)[1:])
        for results in zip(*(each.results for each in told), strict=True)
        for each, result in zip(told, results, strict=True)
    ]
    print_table(("case", beside, "result", "ran on", "used", "session"), rows)
    for each in told:
        stderr.print(f"{each.called}: {each.passed}{_changes(first, each)}.", markup=False)


def _changes(first: _Told, other: _Told) -> str:
    """Return which cases one has passed and the other has not."""
    lost = [name for name in other.failed if name not in first.failed]
    won = [name for name in first.failed if name not in other.failed]
    said = [("fails", lost), ("passes", won)]
    return "".join(f"; it {verb}, unlike the first: {', '.join(n)}" for verb, n in said if n)


def _row(result: "orchestrator.CaseResult") -> tuple[str, ...]:
    said = "passed" if result.has_passed else "FAILED: " + "; ".join(result.problems)
    return result.name, said, result.model, in_words(result.usage), result.session_id or ""
