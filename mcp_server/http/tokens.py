"""Static bearer tokens: a file of their SHA-256, one JSON object a line.

    python -m mcp_server.http.tokens FILE NAME --scope files:read --days 90

A token is 256 random bits: nobody guesses one from its hash, so a slow hash would protect nothing.
A line that is removed is a token revoked; the file is read again whenever it has changed.
"""

import argparse
import hashlib
import hmac
import logging
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread
from mcp.server.auth.provider import AccessToken
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mcp_server.errors import InvalidInputError, UnavailableError
from mcp_server.http.scopes import FILES_READ, SCOPES, known_scopes

PREFIX = "wy_"
_DAY_S = 86_400

logger = logging.getLogger(__name__)


class KnownToken(BaseModel):
    """What the file keeps of one token."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    name: str = Field(pattern=r"^[A-Za-z0-9_.@-]{1,64}$")
    scopes: tuple[str, ...]
    expires_at: int
    """Seconds since 1970."""


class StaticTokens:
    """The tokens of one file."""

    def __init__(self, file: Path, root: Path) -> None:
        """Read `file`, which must not lie below `root`: there a caller could write it.

        Raises:
            InvalidInputError: it lies there, it cannot be read, or a line of it is broken.
        """
        self._file, self._root = file, root.resolve()
        self._check_place()
        self._stamp, self._known = _stamp(file), _read(file)

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return who holds `token`, None for one that is unknown or has expired."""
        found = _find(token, await anyio.to_thread.run_sync(self._current))
        if found is None or found.expires_at <= time.time():
            return None
        return AccessToken(
            token="",  # nothing behind this point needs it, and what is not there cannot leak
            client_id=f"token:{found.name}",
            subject=found.name,
            scopes=known_scopes(found.scopes),
            expires_at=found.expires_at,
        )

    def _current(self) -> list[KnownToken]:
        try:
            # At every request: a link on the way to it can be turned without changing the file.
            self._check_place()
            stamp = _stamp(self._file)
            if stamp != self._stamp:
                self._known, self._stamp = _read(self._file), stamp
        except InvalidInputError as error:
            logger.error("no static token is taken: %s", error)
            return []
        return self._known

    def _check_place(self) -> None:
        names = (self._file.absolute(), self._file.resolve())
        if any(name.is_relative_to(self._root) for name in names):
            raise InvalidInputError("The token file lies below the root. Keep it outside.")


def add_token(file: Path, name: str, scopes: Sequence[str], *, days: float) -> str:
    """Return a new token, after its hash has been appended to `file`.

    Raises:
        InvalidInputError: the name, a scope or the days are none, or the file cannot be read.
        UnavailableError: the file cannot be written.
    """
    unknown = [scope for scope in scopes if scope not in SCOPES]
    if unknown or not 0 < days < 36_500:
        raise InvalidInputError(f"Scopes are {', '.join(SCOPES)}; days are above 0.")
    if file.exists() and any(known.name == name for known in _read(file)):
        raise InvalidInputError(f"{name!r} has a token already; remove its line first.")
    token = PREFIX + secrets.token_urlsafe(32)
    try:
        known = KnownToken(
            sha256=_hash(token),
            name=name,
            scopes=tuple(scopes),
            expires_at=int(time.time() + days * _DAY_S),
        )
    except ValidationError:
        raise InvalidInputError("A name is 1 to 64 of A-Z a-z 0-9 _ . @ -.") from None
    try:
        file.touch(0o600)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(known.model_dump_json() + "\n")
    except OSError as error:
        raise UnavailableError(f"{str(file)!r} cannot be written: {error.strerror}.") from error
    return token


def main(argv: Sequence[str] | None = None) -> int:
    """Make a token, print it once, and keep its hash."""
    parser = argparse.ArgumentParser(
        prog="python -m mcp_server.http.tokens",
        description="Make a bearer token for --http. It is printed once; FILE keeps its hash.",
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("name", metavar="NAME", help="who will hold it")
    parser.add_argument("--scope", action="append", choices=SCOPES, help=f"default: {FILES_READ}")
    parser.add_argument("--days", type=float, default=90, help="until it expires; default: 90")
    given = parser.parse_args(argv)
    try:
        print(add_token(given.file, given.name, given.scope or [FILES_READ], days=given.days))
    except (InvalidInputError, UnavailableError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInputError) else 6
    return 0


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _find(token: str, known: list[KnownToken]) -> KnownToken | None:
    digest = _hash(token)
    # All are compared: how long it takes says nothing about which are there.
    same = [each for each in known if hmac.compare_digest(each.sha256, digest)]
    return same[0] if same else None


def _stamp(file: Path) -> tuple[int, int, int]:
    try:
        status = file.stat()
    except OSError as error:
        raise InvalidInputError(f"The token file cannot be read: {error.strerror}.") from error
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(file: Path) -> list[KnownToken]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return [KnownToken.model_validate_json(line) for line in lines if line.strip()]
    except OSError as error:
        raise InvalidInputError(f"The token file cannot be read: {error.strerror}.") from error
    except ValueError:  # what stands there may be a token that somebody pasted: do not quote it
        raise InvalidInputError("The token file has a line that is no token's record.") from None


if __name__ == "__main__":
    sys.exit(main())
