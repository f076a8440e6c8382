"""OAuth 2.1 access tokens: JWTs that one issuer has signed for this server, and for no other."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import httpx2
import jwt
from mcp.server.auth.provider import AccessToken

from mcp_server.errors import InvalidInputError
from mcp_server.http.scopes import known_scopes

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Asymmetric ones alone: with `none` or a shared secret, whoever knows a public key could sign."""
_REFETCH_S = 30
"""However many tokens name unknown keys, the issuer is asked twice a minute at most."""
_FRESH_S = 300
"""A key that the issuer has taken back is good for so long at most, while it can be asked."""
_TRUSTED_S = 3600
"""While it cannot, for so long: then no key is known to be its own."""
_FETCH_S = 5
_MAX_JWKS_BYTES = 256 * 1024
_MAX_TOKEN_CHARS = 8192
_MAX_NAME_CHARS = 100

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are taken, and for which resource they must have been made."""

    issuer: str
    jwks_url: str
    resource: str
    allow_http: bool = False
    """Let keys come over plain HTTP: for tests on loopback."""

    def __post_init__(self) -> None:
        """Refuse keys that somebody on the way could exchange."""
        if urlsplit(self.jwks_url).scheme != "https" and not self.allow_http:
            raise InvalidInputError("The issuer's keys (--jwks-url) must come over https.")


class JwtVerifier:
    """Check tokens against an issuer's keys, which are fetched when one is not known."""

    def __init__(self, issuer: Issuer, clock: Callable[[], float] = time.monotonic) -> None:
        """Check tokens of `issuer`; nothing is fetched before the first one."""
        self._issuer = issuer
        self._clock = clock
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked_at = self._fetched_at = -float("inf")
        self._fetching = anyio.Lock()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return whom `token` speaks for, None when anything about it is wrong."""
        if len(token) > _MAX_TOKEN_CHARS:
            return None
        try:
            header = jwt.get_unverified_header(token)
            key = await self._key(header.get("kid"))
            if (
                key is None
                or header["alg"] not in ALGORITHMS
                or key.algorithm_name != header["alg"]
            ):
                return None
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[header["alg"]],
                audience=self._issuer.resource,
                issuer=self._issuer.issuer,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, KeyError, TypeError) as error:
            logger.info("a token was refused: %s", type(error).__name__)
            return None
        return self._accepted(claims)

    def _accepted(self, claims: dict[str, object]) -> AccessToken | None:
        subject, client = claims["sub"], claims.get("client_id", claims.get("azp", ""))
        names = (subject, client)
        if not all(isinstance(n, str) and len(n) <= _MAX_NAME_CHARS for n in names) or not subject:
            return None
        said = claims.get("scope", claims.get("scp", ""))
        scopes = said.split() if isinstance(said, str) else said
        if not isinstance(scopes, list):
            return None
        return AccessToken(
            token="",
            client_id=f"oauth:{client}",
            subject=str(subject),
            scopes=known_scopes(scope for scope in scopes if isinstance(scope, str)),
            expires_at=int(str(claims["exp"]).partition(".")[0]),
            resource=self._issuer.resource,
            claims={"iss": claims["iss"]},
        )

    async def _key(self, kid: object) -> jwt.PyJWK | None:
        if not isinstance(kid, str):
            return None
        if self._is_to_ask(kid):
            async with self._fetching:
                if self._is_to_ask(kid):  # others may have, meanwhile
                    self._asked_at = self._clock()
                    await self._fetch()
        return self._keys.get(kid) if self._age_s() < _TRUSTED_S else None

    def _is_to_ask(self, kid: str) -> bool:
        is_wanted = kid not in self._keys or self._age_s() > _FRESH_S
        return is_wanted and self._clock() - self._asked_at > _REFETCH_S

    def _age_s(self) -> float:
        return self._clock() - self._fetched_at

    async def _fetch(self) -> None:
        body = b""
        try:
            with anyio.fail_after(_FETCH_S):
                async with (
                    httpx2.AsyncClient(follow_redirects=False) as client,
                    client.stream("GET", self._issuer.jwks_url) as response,
                ):
                    response.raise_for_status()
                    async for chunk in response.aiter_bytes():
                        body += chunk
                        if len(body) > _MAX_JWKS_BYTES:
                            raise ValueError("too long")
            keys = jwt.PyJWKSet.from_json(body.decode()).keys
        except (
            httpx2.HTTPError,
            jwt.PyJWTError,
            ValueError,
            TimeoutError,
            AttributeError,
        ) as error:
            logger.error("the issuer's keys cannot be had: %s", type(error).__name__)
            return
        self._keys = {key.key_id: key for key in keys if key.key_id}
        self._fetched_at = self._clock()
