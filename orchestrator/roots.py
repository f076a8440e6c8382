"""The root: the directory that agents work in."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from orchestrator.errors import InvalidInputError
from orchestrator.settings import Settings

_BESIDE_DATABASE = ("", "-journal", "-wal", "-shm", "-lock", "-holders")


def resolve_root(root: str | Path) -> Path:
    """Return the absolute directory that is meant.

    Raises:
        InvalidInputError: If it is none.
    """
    if not str(root):
        raise InvalidInputError("The root is empty; name a directory, '.' for the current one.")
    try:
        place = Path(root).expanduser().resolve()
        str(place).encode()
        usable = place.is_dir()
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidInputError(f"The root {str(root)!r} cannot be used: {error}.") from None
    if not usable:
        what = "is not a directory" if place.exists() else "does not exist"
        raise InvalidInputError(f"The root {str(root)!r} {what}; name a directory with --root.")
    return place


def own_places(
    root: Path, settings: Settings, *, specs: Path | None, database: Path | None
) -> list[Path]:
    """Return what of ours lies under the root: no agent changes record, specs or this program.

    Args:
        root: The root, resolved.
        settings: Where ours is.
        specs: The directory of specs that the user names, if any.
        database: The file of the record, if it is one.
    """
    ours = [settings.data_dir, settings.config_dir, settings.state_dir]
    if sys.prefix != sys.base_prefix:
        # The environment that Workyard is installed in, as in a project's `.venv`: who writes there
        # writes what holds an agent in.
        ours.append(Path(sys.prefix))
    if specs is not None:
        ours.append(specs)
    if database is not None:
        ours += [database.with_name(database.name + end) for end in _BESIDE_DATABASE]
    places = [path.expanduser().resolve() for path in ours]
    return [path for path in places if path.is_relative_to(root)]


def as_globs(places: Iterable[Path], root: Path) -> tuple[str, ...]:
    """Return globs that name places under the root, each with all below it."""
    below = (path.relative_to(root).as_posix() for path in places)
    return tuple("**" if path == "." else _literal(path) for path in below)


def _literal(path: str) -> str:
    # A glob is text. What is none in a name is any one character: rather too much is denied.
    return re.sub("[\ud800-\udfff]", "?", re.sub(r"[\[*?]", r"[\g<0>]", path))
