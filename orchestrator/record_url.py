"""The URL that names the record's database, read without SQLAlchemy, which takes long to load.

What is out of agents' reach and what is opened must be one file: there is one reader of its name.
"""

import re
from pathlib import Path
from urllib.parse import unquote

from orchestrator.errors import InvalidInputError

_SQLITE = re.compile(
    r"sqlite(?:\+\w+)?://(?P<host>[^/?]*)(?:/(?P<place>[^?]*))?(?:\?(?P<query>.*))?", re.DOTALL
)
_NAMED_CHARS = 40
"""How much of an option is shown: its name, and not what it may be set to."""


def sqlite_url(file: Path) -> str:
    """Return the URL of an SQLite record.

    >>> sqlite_url(Path("/srv/100%?/workyard.db"))
    'sqlite+aiosqlite:////srv/100%25%3F/workyard.db'
    """
    place = str(file).replace("%", "%25").replace("?", "%3F")
    return f"sqlite+aiosqlite:///{place}"


def sqlite_file(url: str) -> Path | None:
    """Return the file of an SQLite database, or None if the URL names none.

    Raises:
        InvalidInputError: If it names one that cannot be, or asks for what is not done.
    """
    found = _SQLITE.fullmatch(url)
    if found is None:
        return None
    place = unquote(found["place"] or "")
    if place in ("", ":memory:"):
        return None
    if found["host"]:
        raise unusable("a file has no host: a path follows three slashes, an absolute one four")
    if found["query"]:
        raise unusable(
            f"a record in SQLite has no options, and this one is to have {_named(found)}"
        )
    # By its own name, whichever link leads there: so are the locks beside it.
    try:
        return Path(place).expanduser().resolve()
    except (RuntimeError, ValueError, OSError):  # `~` of nobody; a NUL; a name too long
        raise unusable("there can be no file of this name") from None


def unusable(problem: object) -> InvalidInputError:
    """Return the error of a URL that cannot be used; no part of it that may be secret is told."""
    return InvalidInputError(
        f"The database URL cannot be used ({problem}); write sqlite+aiosqlite:///PATH or "
        "postgresql+asyncpg://USER@HOST/NAME."
    )


def _named(found: re.Match[str]) -> str:
    names = (unquote(option.partition("=")[0]) for option in found["query"].split("&"))
    return ", ".join(repr(name[:_NAMED_CHARS]) for name in names)
