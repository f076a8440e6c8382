"""Files of cases, in the format of `pydantic-evals`, and evaluators for what agents do.

cases:
  - name: rounding
    inputs: {prompt: Review src/till.py, inputs: {focus: rounding}, files: {src/new.py: "…"}}
    evaluators:
      - States: [src/till.py, round]
      - Changes: []
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any  # Any: what evaluators are given

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, ValidationError
from pydantic_ai.models import Model
from pydantic_evals import Dataset
from pydantic_evals.evaluators import EvaluationReason, Evaluator, EvaluatorContext, GEval, LLMJudge

from orchestrator.errors import InvalidInputError

MAX_DATASET_BYTES = 10_000_000

CHANGED = "changed"
"""The attribute of a case's run that holds the paths of the files which it has changed."""


class CaseInputs(BaseModel):
    """What an agent is asked in a case, and where."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(min_length=1)
    inputs: dict[str, JsonValue] = {}
    files: dict[str, str] = {}
    """Files that are there beside those of the root: their text, by path."""
    _case: str = PrivateAttr(default="")

    @property
    def case(self) -> str:
        """The name of the case."""
        return self._case


@dataclass(repr=False)
class States(Evaluator[CaseInputs, Any, Any]):
    """Holds if the answer states all of these words, in any case and wherever lines break."""

    facts: list[str]

    def evaluate(self, ctx: EvaluatorContext[CaseInputs, Any, Any]) -> EvaluationReason:
        """Name what is missing."""
        said = _words(str(ctx.output))
        missing = [fact for fact in self.facts if _words(fact) not in said]
        reason = f"missing: {', '.join(map(repr, missing))}" if missing else None
        return EvaluationReason(not missing, reason)


@dataclass(repr=False)
class Changes(Evaluator[CaseInputs, Any, Any]):
    """Holds if the run has changed these files and no others."""

    paths: list[str] = field(default_factory=list)

    def evaluate(self, ctx: EvaluatorContext[CaseInputs, Any, Any]) -> EvaluationReason:
        """Name what was changed."""
        changed = sorted(ctx.attributes[CHANGED])
        fits = changed == sorted(self.paths)
        return EvaluationReason(fits, None if fits else f"changed: {changed}")


_Judge = LLMJudge | GEval
AgentDataset = Dataset[CaseInputs, Any, Any]


def load_dataset(file: Path, judge: Model | None) -> AgentDataset:
    """Read a file of cases.

    Args:
        file: YAML.
        judge: The model that judges where the file names none; without one, nobody judges: what was
            asked of a language model is left out.

    Raises:
        InvalidInputError: If it cannot be read, or holds what a dataset must not.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MAX_DATASET_BYTES + 1)
        if len(content) > MAX_DATASET_BYTES:
            raise InvalidInputError(f"{str(file)!r} is larger than {MAX_DATASET_BYTES:,} bytes.")
        found: AgentDataset = AgentDataset.from_text(
            content.decode(), custom_evaluator_types=(States, Changes), default_name=file.stem
        )
    except OSError as error:
        raise InvalidInputError(f"{str(file)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{str(file)!r} is not UTF-8 text.") from None
    except yaml.YAMLError as error:
        raise InvalidInputError(f"{str(file)!r} is not YAML: {_one_line(error)}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidInputError(f"{str(file)!r}: {where}: {first['msg']}.") from None
    except (ValueError, ExceptionGroup) as error:  # an evaluator that there is not
        raise InvalidInputError(f"{str(file)!r}: {_innermost(error)}.") from None
    return _completed(file, found, judge)


def _completed(file: Path, dataset: AgentDataset, judge: Model | None) -> AgentDataset:
    """Return the dataset with names for its cases, and judges for what is to be judged."""
    if not dataset.cases:
        raise InvalidInputError(f"{str(file)!r} has no cases.")
    for number, case in enumerate(dataset.cases, 1):
        case.name = case.name or f"case {number}"
        case.inputs._case = case.name
        case.evaluators = _judged(case.evaluators, judge)
    dataset.evaluators = _judged(dataset.evaluators, judge)
    names = [case.name for case in dataset.cases]
    if len(set(names)) < len(names):
        raise InvalidInputError(f"{str(file)!r} has two cases of one name.")
    return dataset


def _judged(evaluators: Sequence[Evaluator[Any, Any, Any]], judge: Model | None) -> list[Any]:
    kept = [one for one in evaluators if judge is not None or not isinstance(one, _Judge)]
    return [
        replace(one, model=judge) if isinstance(one, _Judge) and one.model is None else one
        for one in kept
    ]


def _words(text: str) -> str:
    return " ".join(text.split()).casefold()


def _innermost(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return _one_line(error)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".")
