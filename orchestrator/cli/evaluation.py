"""`workyard eval`: an agent put to the test, and laid beside another."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

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
    spec: Annotated[str, typer.Argument(help="An agent's name, or its spec file.")],
    dataset: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Cases; by default NAME.eval.yaml beside the spec."),
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
    other_spec: Annotated[
        Path | None,
        typer.Option("--compare-spec", metavar="FILE", help="Lay another spec file beside it."),
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=16, help="How many cases at a time.")] = 4,
    specs: SpecsOption = None,
) -> None:
    """Run an agent on the cases of a dataset, each in a copy of the root, and say what holds."""
    if other_model and other_spec:
        raise typer.BadParameter("compare with a model or with a spec, not with both.")
    with reported():
        if find_spec(_PACKAGE) is None:
            fitting = version("pydantic-ai-slim")
            raise InvalidInputError(
                f"This needs a package: pip install 'pydantic-evals=={fitting}', which is the one "
                "for the Pydantic AI that is installed."
            )
        order = _Order()
        trial = orchestrator.Trial(
            agent=spec,
            root=root,
            specs=specs,
            dataset=dataset,
            model=model,
            answers=answers,
            at_once=at_once,
        )
        trials = [_of_file(trial, Path(spec)) if spec.endswith((".yaml", ".yml")) else trial]
        if other_model:
            trials.append(replace(trials[0], model=other_model, answers=None))
        if other_spec:
            trials.append(replace(_of_file(trials[0], other_spec), dataset=_dataset(trials[0])))
        run_until_signal(_evaluate, trials, order)
    if order.failed:
        raise typer.Exit(FAILED)


@dataclass
class _Order:
    failed: int = 0


def _of_file(trial: "orchestrator.Trial", file: Path) -> "orchestrator.Trial":
    return replace(trial, agent=file.stem, specs=file.parent)


def _dataset(trial: "orchestrator.Trial") -> Path:
    """Return the cases of the first agent, which the other one is put to as well."""
    return trial.dataset or orchestrator.dataset_of(trial)


async def _evaluate(trials: Sequence["orchestrator.Trial"], order: _Order) -> None:
    for trial in trials:
        results = await orchestrator.evaluate(trial)
        if len(trials) > 1:
            stderr.print(_title(trial), markup=False)
        print_table(("case", "result", "model", "used", "session"), map(_row, results))
        failed = sum(not result.has_passed for result in results)
        order.failed += failed
        stderr.print(f"{len(results) - failed} of {len(results)} cases have passed.", markup=False)


def _title(trial: "orchestrator.Trial") -> str:
    return f"{trial.agent} with {trial.model}:" if trial.model else f"{trial.agent}:"


def _row(result: "orchestrator.CaseResult") -> tuple[str, ...]:
    said = "passed" if result.has_passed else "FAILED: " + "; ".join(result.problems)
    return result.name, said, result.model, in_words(result.usage), result.session_id or ""
