"""The root: the directory that agents work in."""

from pathlib import Path

from orchestrator.errors import InvalidInputError


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
