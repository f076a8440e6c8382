"""What can go wrong in the server, by who can act on it.

    ServerError
    ├── InvalidInputError      the caller can fix the call
    │   ├── PathEscapeError
    │   ├── PermissionDeniedError
    │   ├── NotTextError       it holds NULs
    │   ├── NotAFileError
    │   ├── PatternError
    │   └── EditConflictError  the text to replace is not there, or not just once
    ├── NotFoundError          names what is near
    ├── ConflictError          the call was right, the files are not as it expects
    │   └── StaleFileError
    ├── LimitError             says how to get the rest
    └── UnavailableError       the fault is outside: disk, search engine

Every message is written for the caller, often a model: what was asked, what is true, what to do.
It never holds a path outside the root.
"""


class ServerError(Exception):
    """The root of every error that the server raises on purpose."""


class InvalidInputError(ServerError):
    """The call cannot be done as it was made; the message says how to make it."""


class PathEscapeError(InvalidInputError):
    """The path leads out of the root: by `..`, through a link, or as a foreign absolute path."""


class PermissionDeniedError(InvalidInputError):
    """The grant does not allow this tool or this path."""


class NotTextError(InvalidInputError):
    """The file is not text: it holds NULs."""


class NotAFileError(InvalidInputError):
    """The path names something else than what the tool works on: a directory, a pipe, a device."""


class PatternError(InvalidInputError):
    """The search engine does not accept the pattern."""


class EditConflictError(InvalidInputError):
    """The text to replace is not in the file, or stands there more than once."""


class NotFoundError(ServerError):
    """There is nothing at this path."""


class ConflictError(ServerError):
    """The files are not as the call expects them; nothing has been changed."""


class StaleFileError(ConflictError):
    """The file has changed since the caller saw it."""


class LimitError(ServerError):
    """The answer or the input is over a limit; the message says how to stay below it."""

    def __init__(self, message: str, *, limit: float, actual: float, unit: str) -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual
        self.unit = unit


class UnavailableError(ServerError):
    """Something that the server depends on does not work."""
