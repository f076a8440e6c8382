"""Which access tokens are taken: signed by the issuer, for this resource, and for now."""

import hmac
import json
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mcp_server.errors import InvalidInputError
from mcp_server.http.oauth import Issuer, JwtVerifier

pytestmark = pytest.mark.anyio
RESOURCE, ISSUER = "https://yard.example/mcp", "https://as.example"
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


class Keys(ThreadingHTTPServer):
    """An issuer's JWKS on loopback, which counts how often it is fetched."""

    fetched = 0


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Keys)
        self.server.fetched += 1
        key = jwt.algorithms.ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
        body = json.dumps({"keys": [{**key, "kid": "1", "alg": "ES256"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def keys() -> Iterator[Keys]:
    """The issuer."""
    with Keys(("127.0.0.1", 0), _Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def _issuer(keys: Keys) -> Issuer:
    return Issuer(ISSUER, f"http://127.0.0.1:{keys.server_port}/", RESOURCE, allow_http=True)


def _claims(**changed: object) -> dict[str, object]:
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "alice",
        "exp": now + 60,
        "scope": "files:read x",
    }
    return {k: v for k, v in {**said, **changed}.items() if v is not None}


def _signed(key: ec.EllipticCurvePrivateKey = KEY, kid: str = "1", **changed: object) -> str:
    return jwt.encode(_claims(**changed), key, "ES256", headers={"kid": kid})


def _signed_with_secret(secret: bytes) -> str:
    """Return what an attacker makes of a public key; PyJWT itself refuses to."""
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "1"}, _claims())
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


async def test_a_sound_token_gives_the_scopes_that_are_known(keys: Keys) -> None:
    accepted = await JwtVerifier(_issuer(keys)).verify_token(_signed())
    assert accepted is not None
    assert (accepted.subject, accepted.scopes, accepted.token) == ("alice", ["files:read"], "")


async def test_any_other_token_is_refused(keys: Keys) -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    now = int(time.time())
    refused = {
        "audience": _signed(aud="https://other.example"),
        "no audience": _signed(aud=None),
        "issuer": _signed(iss="https://evil.example"),
        "expired": _signed(exp=now - 10),
        "no expiry": _signed(exp=None),
        "not yet": _signed(nbf=now + 600),
        "no subject": _signed(sub=None),
        "another's key": _signed(OTHER),
        "none": jwt.encode(_claims(), "", "none", headers={"kid": "1"}),
        "HS256 with the public key": _signed_with_secret(public),
        "rubbish": "a.b.c",
    }
    verifier = JwtVerifier(_issuer(keys))
    assert {name for name, token in refused.items() if await verifier.verify_token(token)} == set()


async def test_unknown_keys_make_it_fetch_once_in_a_while(keys: Keys) -> None:
    verifier = JwtVerifier(_issuer(keys))
    for number in range(20):
        assert await verifier.verify_token(_signed(kid=f"unknown {number}")) is None
    assert keys.fetched == 1


def test_keys_over_plain_http_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="https"):
        Issuer(ISSUER, "http://as.example/keys", RESOURCE)
