"""Where agents are found: directories of spec files, the first that has a name wins."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.errors import InvalidInputError, NotFoundError, SpecError
from orchestrator.settings import Settings
from orchestrator.specs import Spec, load_spec

SHIPPED_SPECS = Path(__file__).resolve().parent.parent / "agent_specs"
"""The agents that come with Workyard: beside this package in a checkout and in an installation."""

_SUFFIXES = (".yaml", ".yml")
_CASES = ".eval"
"""What a file of cases for an agent, beside its spec, has before its suffix."""


@dataclass(frozen=True)
class Catalogue:
    """Every agent that can be run, by name.

    An agent is named after its file, so that finding one reads one file: a broken file beside it
    does no harm. Files are read when they are asked for: an edit counts from the next run on.
    """

    directories: Sequence[Path] = field(default=(SHIPPED_SPECS,))

    def names(self) -> list[str]:
        """Return the names of all agents, sorted; a broken spec is among them."""
        return sorted(self.files())

    def files(self) -> dict[str, Path]:
        """Return the file of each agent; of two with one name, the one found first."""
        found: dict[str, Path] = {}
        for file in self._files():
            found.setdefault(file.stem, file)
        return found

    def get(self, name: str) -> Spec:
        """Return the spec of an agent.

        Raises:
            NotFoundError: If there is none of that name; it names the near ones.
            SpecError: If its file cannot be used.
        """
        file = self.find(name)
        if file is None:
            raise NotFoundError("agent", name, known=self.names())
        return load_agent_file(file)

    def find(self, name: str) -> Path | None:
        """Return the file of an agent, the one found first; None if there is none."""
        return next((file for file in self._files() if file.stem == name), None)

    def find_cases(self, spec: Spec) -> Path:
        """Return the file of cases for an agent, `NAME.eval.yaml`.

        It lies beside the file of the agent; for a definition, where files of specs are found.

        Raises:
            InvalidInputError: There is none.
        """
        name = f"{spec.name}{_CASES}{_SUFFIXES[0]}"
        places = self.directories if spec.origin.owner else [spec.file.parent]
        found = next((place / name for place in places if (place / name).is_file()), None)
        if found is None:
            looked = " or ".join(map(str, places))
            raise InvalidInputError(
                f"There are no cases for agent {spec.name!r}: {name!r} is not in {looked}. Put it "
                "there, or name a file with --dataset."
            )
        return found

    def _files(self) -> Iterator[Path]:
        for directory in self.directories:
            try:
                found = sorted(directory.iterdir()) if directory.is_dir() else []
            except OSError as error:
                problem = f"the directory cannot be read: {error.strerror}."
                raise SpecError(problem, file=directory) from None
            yield from (file for file in found if _is_spec(file))


def _is_spec(file: Path) -> bool:
    return file.suffix in _SUFFIXES and not file.stem.endswith(_CASES)


def load_agent_file(file: Path) -> Spec:
    """Read a spec file whose name is the agent's.

    Raises:
        SpecError: If the file cannot be used, or is named differently.
    """
    spec = load_spec(file)
    for problem in name_problems(spec):
        raise problem
    return spec


def name_problems(spec: Spec) -> list[SpecError]:
    """Return that a spec's name is not that of its file, if so."""
    if spec.name == spec.file.stem:
        return []
    problem = f"the name {spec.name!r} is not that of the file, {spec.file.stem!r}."
    return [spec.error(problem, ("name",))]


def open_catalogue(settings: Settings, specs: Path | None = None) -> Catalogue:
    """Return the agents there are: those in `specs`, the user's own, the shipped ones.

    Raises:
        SpecError: If `specs` is given and is not a directory.
    """
    own = settings.config_dir / "agents"
    if specs is None:
        return Catalogue((own, SHIPPED_SPECS))
    if not os.path.isdir(specs):
        raise SpecError("this is not a directory of specs.", file=specs)
    return Catalogue((specs, own, SHIPPED_SPECS))
