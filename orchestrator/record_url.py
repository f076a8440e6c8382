"""The URL that names the record's database, read without SQLAlchemy, which takes long to load.

What is out of agents' reach and what is opened must be one file: there is one reader of its name.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

from orchestrator.errors import InvalidInputError

_SQLITE = re.compile(
    r"sqlite(?:\+\w+)?://(?P<host>[^/?]*)(?:/(?P<place>[^?]*))?(?:\?(?P<query>.*))?", re.DOTALL
)
_NAMED_CHARS = 40
"""How much of an option is shown: its name, and not what it may be set to."""

POSTGRES_OPTIONS = (
    *("host", "port", "user", "password", "database", "passfile", "service", "servicefile"),
    *("ssl", "direct_tls", "target_session_attrs", "krbsrvname", "gsslib"),
    "prepared_statement_cache_size",
)
"""What a URL of PostgreSQL may set: of what the driver takes, that which is text in a URL."""


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
        names = [unquote(option.partition("=")[0]) for option in found["query"].split("&")]
        raise unusable(
            f"a record in SQLite has no options, and this one is to have {_named(names)}"
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


def check_postgres_options(names: Iterable[str], *, may_be_named: bool) -> None:
    """Refuse options that the driver does not know, or not as text.

    Args:
        names: The options of a URL.
        may_be_named: Whether none of them can be a part of its password.

    Raises:
        InvalidInputError: If there is one.
    """
    unknown = [name for name in names if name not in POSTGRES_OPTIONS]
    if unknown:
        which = _named(unknown) if may_be_named else "of the name of one that it has"
        hint = " (what libpq calls sslmode is ssl)" if "sslmode" in unknown else ""
        raise unusable(f"there is no option {which}; there are {', '.join(POSTGRES_OPTIONS)}{hint}")


def _named(names: Iterable[str]) -> str:
    return ", ".join(repr(name[:_NAMED_CHARS]) for name in names)
