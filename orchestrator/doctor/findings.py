"""What a check has found, and the way out."""

from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    """It works, and less well than it could."""
    FAILED = "failed"
    """Something does not work."""


@dataclass(frozen=True)
class Finding:
    """The result of one check, for one line."""

    check: str
    status: Status
    detail: str
    """What is true."""
    advice: str = ""
    """What to do; empty if there is nothing to do, or `detail` says it."""


def ok(check: str, detail: str, advice: str = "") -> Finding:
    """Return that all is well."""
    return Finding(check, Status.OK, detail, advice)


def warning(check: str, detail: str, advice: str = "") -> Finding:
    """Return that something could be better."""
    return Finding(check, Status.WARNING, detail, advice)


def failed(check: str, detail: str, advice: str = "") -> Finding:
    """Return that something does not work."""
    return Finding(check, Status.FAILED, detail, advice)
