"""What can go wrong in the orchestrator, by who can act on it.

    OrchestratorError
    ├── InvalidInputError      the caller can fix the call
    │   ├── SpecError          file, line, field
    │   ├── InputsError        the caller's inputs do not fit the spec's deps_schema
    │   ├── WrongRootError
    │   ├── SettingsFileError  file, line, key
    │   │   ├── ModelSettingsError
    │   │   └── ServerSettingsError
    │   └── ModelNotConfiguredError
    ├── NotFoundError          names what is near
    │   ├── ChangeNotFoundError
    │   └── ServerNotFoundError
    ├── ConflictError
    │   ├── SessionBusyError
    │   ├── LeaseLostError
    │   ├── StateConflictError
    │   ├── ExternalIdTakenError
    │   ├── DefinitionTakenError
    │   ├── DefinitionEditedError
    │   ├── NotResumableError
    │   ├── ApprovalNeededError
    │   ├── HistoryUnreadableError
    │   └── IllegalTransitionError
    ├── LimitError             a budget is used up
    ├── UnavailableError       the fault is outside
    │   ├── ModelUnavailableError
    │   ├── WorkspaceUnavailableError
    │   ├── ServerUnavailableError
    │   └── StoreUnavailableError
    │       └── SessionDamagedError
    ├── RunCancelledError
    └── RunCrashedError        a run met a bug of ours

Anything else that is raised is a bug.
"""

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path


class OrchestratorError(Exception):
    """The root of every error that the orchestrator raises on purpose."""

    @property
    def code(self) -> str:
        """The name of the error in the record and in JSON: its class, in snake case.

        >>> ModelUnavailableError("x").code
        'model_unavailable'
        """
        name = type(self).__name__.removesuffix("Error")
        return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class InvalidInputError(OrchestratorError):
    """The call cannot be done as it was made; the message says how to make it."""


class SpecError(InvalidInputError):
    """An agent spec cannot be used."""

    def __init__(
        self, problem: str, *, file: Path, line: int | None = None, field: str | None = None
    ) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        self.field = field
        where = f"{file}:{line}" if line else str(file)
        super().__init__(f"{where}: {field}: {problem}" if field else f"{where}: {problem}")


class InputsError(InvalidInputError):
    """The inputs given to an agent do not fit what its spec declares in `deps_schema`."""


class WrongRootError(InvalidInputError):
    """The session belongs to another directory: what its messages say of files is true there."""

    def __init__(self, session_id: str, *, root: str) -> None:
        self.session_id = session_id
        self.root = root
        super().__init__(f"Session {session_id!r} is at work in {root!r}; go on with that root.")


class SettingsFileError(InvalidInputError):
    """A file of the user's settings cannot be used."""

    def __init__(
        self, problem: str, *, file: Path, key: str | None = None, line: int | None = None
    ) -> None:
        self.problem = problem
        self.file = file
        self.key = key
        self.line = line
        where = f"{file}:{line}" if line else str(file)
        super().__init__(f"{where}: {self.without_place}")

    @property
    def without_place(self) -> str:
        """What is wrong, without the file."""
        return f"{self.key}: {self.problem}." if self.key else f"{self.problem}."


class ModelSettingsError(SettingsFileError):
    """`models.toml` cannot be used."""


class ServerSettingsError(SettingsFileError):
    """`servers.toml` cannot be used."""


class ModelNotConfiguredError(InvalidInputError):
    """No model can be used with what is configured; the message says what to set."""


class NotFoundError(OrchestratorError):
    """There is no such agent, session or run."""

    def __init__(self, kind: str, name: str, *, known: Iterable[str] = ()) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        super().__init__(f"There is no {kind} {name!r}{_hint(name, self.known)}")


class ChangeNotFoundError(NotFoundError):
    """No call in the journal of a root fits, or none that is not undone already."""

    def __init__(self, message: str) -> None:
        super().__init__("change", "")
        self.args = (message,)


class ServerNotFoundError(NotFoundError):
    """There is no such MCP server in `servers.toml`, or it has no such tool."""

    def __init__(self, what: str, name: str, *, known: Iterable[str], way_out: str) -> None:
        super().__init__("MCP server", name, known=known)
        self.args = (f"{what}{_hint(name, self.known)} {way_out}",)


def _hint(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if near:
        return f"; did you mean {' or '.join(map(repr, near))}?"
    return f"; known: {', '.join(known)}." if known else "."


class ConflictError(OrchestratorError):
    """The call does not fit the present state."""


class SessionBusyError(ConflictError):
    """Another run has claimed the session; it has to end or be cancelled first."""

    def __init__(self, session_id: str, run_id: str, *, waited_s: float | None = None) -> None:
        self.session_id = session_id
        self.run_id = run_id
        self.waited_s = waited_s
        """How long the caller has waited for it, if that was wished."""
        still = "" if waited_s is None else f" still, after {waited_s:g} s"
        super().__init__(
            f"Session {session_id!r} is busy with run {run_id!r}{still}; wait until it ends "
            "(--when-busy queue), go on in a fork (--when-busy fork), or start without a session."
        )


class LeaseLostError(ConflictError):
    """Another process has taken the session over: this one was taken for dead."""

    def __init__(self, session_id: str, run_id: str) -> None:
        self.session_id = session_id
        self.run_id = run_id
        super().__init__(f"Run {run_id!r} no longer holds session {session_id!r}.")


class StateConflictError(ConflictError):
    """Somebody else has changed a session's state since the caller read it."""

    def __init__(self, session_id: str, *, expected: int, actual: int) -> None:
        self.session_id = session_id
        self.expected = expected
        self.actual = actual
        super().__init__(
            f"The state of session {session_id!r} is at version {actual}, not {expected}; "
            "read it again and decide anew."
        )


class ExternalIdTakenError(ConflictError):
    """The owner has a session of this external id already."""

    def __init__(self, external_id: str, session_id: str) -> None:
        self.external_id = external_id
        self.session_id = session_id
        super().__init__(f"Session {session_id!r} has the external id {external_id!r} already.")


class DefinitionTakenError(ConflictError):
    """The owner has a definition of this name already."""

    def __init__(self, owner: str, name: str, version: int) -> None:
        self.owner = owner
        self.name = name
        self.version = version
        super().__init__(
            f"{owner!r} has a definition {name!r} already, at version {version}; edit it, or give "
            "the new one another name."
        )


class DefinitionEditedError(ConflictError):
    """Somebody else has edited a definition since the caller read it."""

    def __init__(self, name: str, *, made_from: int, version: int) -> None:
        self.name = name
        self.made_from = made_from
        self.version = version
        super().__init__(
            f"Definition {name!r} is at version {version}, and the edit was made from {made_from}; "
            "look at what has changed and make it anew."
        )


class NotResumableError(ConflictError):
    """There is nothing left to do in a session's last run, or it has none."""

    def __init__(self, session_id: str, status: str | None) -> None:
        self.session_id = session_id
        self.status = status
        true = "has no run of its own" if status is None else f"has a last run that {status}"
        super().__init__(
            f"Session {session_id!r} {true}: there is nothing to resume. "
            "Go on in it with a new prompt."
        )


class ApprovalNeededError(ConflictError):
    """A run waits for a person's yes; its questions are on record."""

    def __init__(self, run_id: str, questions: int = 0) -> None:
        self.run_id = run_id
        calls = "a call" if questions == 1 else f"{questions or 'some'} calls"
        super().__init__(
            f"Run {run_id!r} waits for a person's yes to {calls}: 'workyard approvals list' shows "
            "them, 'workyard approvals approve' or 'deny' answers."
        )


class HistoryUnreadableError(ConflictError):
    """A stored message or event cannot be read; it stays where it is and is not passed over."""

    def __init__(
        self, session_id: str, seq: int, *, what: str = "Message", fork_at: int = 0
    ) -> None:
        self.session_id = session_id
        self.seq = seq
        self.what = what
        self.fork_at = fork_at
        """The last message before it after which a history can go on; 0 if there is none."""
        super().__init__(
            f"{what} {seq} of session {session_id!r} cannot be read; the session cannot go on. "
            f"{self._way_on()}"
        )

    def _way_on(self) -> str:
        command = f"'workyard sessions fork {self.session_id}"
        if self.what == "Compaction":  # the messages that it stands for are all there
            return f"{command}' begins one with all of its messages."
        if self.fork_at:
            return f"{command} --at {self.fork_at}' begins one with what is before."
        return "Start a new one."


class IllegalTransitionError(ConflictError):
    """A run cannot go from its status in the way that was asked."""

    def __init__(self, run_id: str, status: str, event: str) -> None:
        self.run_id = run_id
        self.status = status
        self.event = event
        super().__init__(f"Run {run_id!r} is {status} and cannot take {event!r}.")


class LimitError(OrchestratorError):
    """A budget is used up."""

    def __init__(self, message: str, *, limit: float, actual: float, unit: str) -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual
        self.unit = unit


class UnavailableError(OrchestratorError):
    """Something outside does not answer or does not work."""


class ModelUnavailableError(UnavailableError):
    """The model's provider refused, failed or did not answer."""


class WorkspaceUnavailableError(UnavailableError):
    """The MCP server that holds the workspace could not be started or has gone."""


class ServerUnavailableError(UnavailableError):
    """An MCP server of `servers.toml` cannot be started or reached, or has gone."""

    def __init__(self, server: str, problem: str) -> None:
        self.server = server
        self.problem = problem
        super().__init__(f"MCP server {server!r} {problem}")


class StoreUnavailableError(UnavailableError):
    """The database cannot be opened, read or written."""


class SessionDamagedError(StoreUnavailableError):
    """A session's own row cannot be read; it stays as it is, and the others go on."""

    def __init__(self, session_id: str, problem: str) -> None:
        self.session_id = session_id
        self.problem = problem
        super().__init__(
            f"Session {session_id!r} is damaged ({problem}). It stays as it is, and no other is "
            "touched; put its row right, take it from a copy of the database, or delete it with "
            f"'workyard sessions delete {session_id}'."
        )


class RunCancelledError(OrchestratorError):
    """Somebody cancelled the run; what it had done is in the record."""


class RunCrashedError(OrchestratorError):
    """A fault of Workyard's own ended the run; the log has the details."""


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what is in it if it is a group, and what it was raised from."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from causes(inner)
    elif error.__cause__ is not None:
        yield from causes(error.__cause__)
