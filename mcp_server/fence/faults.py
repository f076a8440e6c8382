"""What the system's refusals mean to a caller."""

import errno
import os

from mcp_server.errors import (
    InvalidInputError,
    NotAFileError,
    PermissionDeniedError,
    ServerError,
    UnavailableError,
)
from mcp_server.text import shown

_NOT_A_FILE = (
    NotAFileError,
    "Path {path} is neither a file nor a directory; nothing else is opened.",
)
_NOT_PERMITTED = (
    PermissionDeniedError,
    "The operating system does not let the server at {path}: look at the file's permissions.",
)

_BY_ERRNO: dict[int, tuple[type[ServerError], str]] = {
    errno.ENOTDIR: (
        NotAFileError,
        "Path {path} passes through a file as if it were a directory. Leave out what follows it.",
    ),
    errno.EISDIR: (
        NotAFileError,
        "Path {path} is a directory. See what it holds with list_directory.",
    ),
    errno.ENXIO: _NOT_A_FILE,
    errno.ENODEV: _NOT_A_FILE,
    errno.ELOOP: (
        InvalidInputError,
        "Path {path} passes through too many links, or one that is not followed here. Give the "
        "path that they lead to.",
    ),
    errno.ENAMETOOLONG: (InvalidInputError, "Path {path} is too long for the file system."),
    errno.EINVAL: (InvalidInputError, "Path {path} is not a name that the file system takes."),
    errno.EACCES: _NOT_PERMITTED,
    errno.EPERM: _NOT_PERMITTED,
}


def translated(error: OSError, path: str) -> ServerError:
    """Return what a caller is told when the system refuses to work on `path`.

    What is not in the table is an outside fault: a full or broken disk, no descriptors left.
    """
    code = error.errno or 0
    if code in _BY_ERRNO:
        kind, sentence = _BY_ERRNO[code]
        return kind(sentence.format(path=shown(path)))
    return UnavailableError(f"The file system failed at {shown(path)}: {os.strerror(code)}.")
