"""The catalogue as the MCP server wants it: `mcp_server.ports.AgentCatalog`, from spec files.

`workyard serve` loads this module at every start, and a host waits for that: nothing here imports
`pydantic_ai`, and a test looks that nothing does.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pydantic_handlebars
from pydantic import JsonValue

from mcp_server import errors as server_errors
from mcp_server.fence.grant import Grant
from mcp_server.ports import AgentGrant, AgentInput
from orchestrator.catalogue import Catalogue, load_agent_file
from orchestrator.errors import (
    ConflictError,
    InvalidInputError,
    LimitError,
    NotFoundError,
    OrchestratorError,
    SpecError,
)
from orchestrator.reach import WORKSPACE_TOOLS
from orchestrator.specs import Spec

_PATH_FORMATS = ("path", "file-path", "directory-path")
_PATH_NAMES = ("path", "file", "directory", "dir")
_SHOWN_CHARS = 80

logger = logging.getLogger(__name__)


@contextmanager
def server_errors_raised() -> Iterator[None]:
    """Let what the orchestrator raises be what the server can tell a client.

    Raises:
        ServerError: in the place of an `OrchestratorError`, by who can act.
    """
    try:
        yield
    except OrchestratorError as error:
        _raise(error)


def _raise(error: OrchestratorError) -> NoReturn:
    message = str(error)
    match error:
        case SpecError():
            raise server_errors.InvalidInputError(_without_place(error)) from error
        case InvalidInputError():
            raise server_errors.InvalidInputError(message) from error
        case NotFoundError():
            raise server_errors.NotFoundError(message) from error
        case ConflictError():
            raise server_errors.ConflictError(message) from error
        case LimitError():
            raise server_errors.LimitError(
                message, limit=float(error.limit), actual=float(error.actual), unit=error.unit
            ) from error
        case _:
            raise server_errors.UnavailableError(message) from error


def _without_place(error: SpecError) -> str:
    """Return what is wrong with a spec, without saying where on the host its directory is."""
    line = f", line {error.line}" if error.line else ""
    field = f"{error.field}: " if error.field else ""
    return f"Spec {error.file.name!r} cannot be used{line}: {field}{error.problem}"


@dataclass(frozen=True)
class SpecCard:
    """One agent, as its spec file tells; `mcp_server.ports.AgentCard`."""

    spec: Spec
    source: str
    grant: AgentGrant

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.spec.name

    @property
    def description(self) -> str:
        """What it does."""
        return self.spec.document.description

    @property
    def inputs(self) -> Sequence[AgentInput]:
        """The properties of its `deps_schema`."""
        required = self.spec.required_inputs
        return [_input(name, schema, required) for name, schema in self.spec.inputs.items()]

    def checked(self, inputs: Mapping[str, str]) -> dict[str, JsonValue]:
        """Return inputs given as text as their schema has them, with its defaults."""
        with server_errors_raised():
            pairs = [f"{name}={text}" for name, text in inputs.items()]
            return self.spec.complete_inputs(self.spec.read_inputs(pairs))

    def render(self, inputs: Mapping[str, JsonValue]) -> str:
        """Return the instructions as Pydantic AI renders them: a test compares the two."""
        written = self.spec.document.instructions
        texts = [written] if isinstance(written, str) else written
        return "\n\n".join(
            pydantic_handlebars.render(text, dict(inputs)) if "{{" in text else text
            for text in texts
        )


class SpecCatalog:
    """The agents of a catalogue; `mcp_server.ports.AgentCatalog`.

    A spec that cannot be used is left out of the list and said in the log, once for each change.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._lock = threading.Lock()
        self._version: str | None = None
        self._cards: Sequence[SpecCard] = ()

    def list(self) -> Sequence[SpecCard]:
        """Return the agents that can be used."""
        with self._lock:
            version = self.version()
            if version != self._version:
                self._cards, self._version = tuple(self._usable()), version
            return self._cards

    def get(self, name: str) -> SpecCard:
        """Return an agent.

        Raises:
            NotFoundError: There is none of that name.
            InvalidInputError: Its spec cannot be used.
        """
        files = self._files()
        with server_errors_raised():
            if name not in files:
                raise NotFoundError("agent", name[:_SHOWN_CHARS], known=files)
            return _read(files[name])

    def version(self) -> str:
        """Return a hash of what the system says of each spec file."""
        facts: list[object] = []
        for file in self._files().values():
            try:
                state = file.stat()
            except OSError:  # gone, or a link that leads nowhere: reading it says so
                facts.append((str(file), None))
            else:
                facts.append((str(file), state.st_mtime_ns, state.st_size, state.st_ino))
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def places(self) -> Sequence[str]:
        """Return the directories, whether they are there or not, and each spec file."""
        return [*map(str, self._catalogue.directories), *map(str, self._files().values())]

    def _usable(self) -> Iterator[SpecCard]:
        for _, file in sorted(self._files().items()):
            try:
                yield _read(file)
            except SpecError as error:
                logger.warning("left out: %s", error)

    def _files(self) -> dict[str, Path]:
        """Return the file of each agent; a directory that cannot be read hides no other."""
        found: dict[str, Path] = {}
        for directory in reversed(self._catalogue.directories):
            try:
                found |= Catalogue((directory,)).files()
            except SpecError as error:
                logger.debug("left out: %s", error)
        return found


def _read(file: Path) -> SpecCard:
    spec = load_agent_file(file)
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # exchanged since
        raise SpecError("the file cannot be read.", file=file) from None
    return SpecCard(spec, source, _grant(spec))


def _grant(spec: Spec) -> AgentGrant:
    """Return what the spec's `WorkspaceTools` grant."""
    for index, entry in enumerate(spec.document.capabilities):
        given = entry.get(WORKSPACE_TOOLS) if isinstance(entry, dict) else None
        if given is None:
            continue
        try:
            grant = Grant.from_values(given)
        except server_errors.InvalidInputError as error:
            raise spec.error(str(error), ("capabilities", index)) from None
        return AgentGrant(tools=grant.tools, read=grant.read, write=grant.write)
    return AgentGrant()


def _input(name: str, schema: Mapping[str, JsonValue], required: frozenset[str]) -> AgentInput:
    values = schema.get("enum")
    if schema.get("type") == "boolean":
        values = [True, False]
    return AgentInput(
        name=name,
        description=str(schema.get("description", "")),
        is_required=name in required,
        default=_as_text(schema["default"]) if "default" in schema else None,
        choices=tuple(map(_as_text, values)) if isinstance(values, list) else (),
        is_path=schema.get("format") in _PATH_FORMATS or name.split("_")[-1] in _PATH_NAMES,
    )


def _as_text(value: JsonValue) -> str:
    """Return a value as a user types it, and `Spec.read_inputs` reads it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
