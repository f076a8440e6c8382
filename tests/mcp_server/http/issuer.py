"""An issuer of access tokens on loopback: its keys, and tokens that are signed with them."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

RESOURCE, ISSUER = "https://yard.example/mcp", "https://as.example"
KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


class Keys(ThreadingHTTPServer):
    """An issuer's JWKS, which counts how often it is fetched."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.published = {"1": KEY}
        self.fetched = 0
        self.is_broken = False
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}/"
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True)


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Keys)
        self.server.fetched += 1
        published = [
            {
                **jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True),
                "kid": kid,
                "alg": "ES256",
            }
            for kid, key in self.server.published.items()
        ]
        body = json.dumps({"keys": published}).encode()
        self.send_response(503 if self.server.is_broken else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def publishing(tls: ssl.SSLContext | None = None) -> Iterator[Keys]:
    """Serve the issuer's keys meanwhile."""
    with Keys(tls) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def keys() -> Iterator[Keys]:
    """Return the issuer's keys, served over plain HTTP."""
    with publishing() as server:
        yield server


def claims(**changed: object) -> dict[str, object]:
    """Return the claims of a sound token, with some changed or, when None, left out."""
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": RESOURCE,
        "sub": "alice",
        "exp": now + 60,
        "scope": "files:read x",
    }
    return {k: v for k, v in {**said, **changed}.items() if v is not None}


def signed(key: ec.EllipticCurvePrivateKey = KEY, kid: str = "1", **changed: object) -> str:
    """Return a token with these claims."""
    return jwt.encode(claims(**changed), key, "ES256", headers={"kid": kid})
