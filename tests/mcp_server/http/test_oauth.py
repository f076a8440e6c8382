"""Which access tokens are taken: signed by the issuer, for this resource, and for now."""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from mcp import Client

from mcp_server.errors import InvalidInputError
from mcp_server.http.oauth import Issuer, JwtVerifier
from tests.listening import ACCEPT, INITIALIZE, bearer, connected, listening_here
from tests.mcp_server.conftest import Yard
from tests.mcp_server.http.issuer import ISSUER, KEY, OTHER, RESOURCE, Keys, claims, keys, signed

__all__ = ["keys"]
pytestmark = pytest.mark.anyio


@dataclass
class Clock:
    """A time that a test sets."""

    now: float = 0

    def __call__(self) -> float:
        return self.now


def _issuer(keys: Keys) -> Issuer:
    return Issuer(ISSUER, keys.url, RESOURCE, allow_http=True)


def _signed_with_secret(secret: bytes) -> str:
    """Return what an attacker makes of a public key; PyJWT itself refuses to."""
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "1"}, claims())
    signed = ".".join(_base64(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _base64(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")


async def test_a_sound_token_gives_the_scopes_that_are_known(keys: Keys) -> None:
    accepted = await JwtVerifier(_issuer(keys)).verify_token(signed())
    assert accepted is not None
    assert (accepted.subject, accepted.scopes, accepted.token) == ("alice", ["files:read"], "")


async def test_any_other_token_is_refused(keys: Keys) -> None:
    public = KEY.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    now = int(time.time())
    refused = {
        "audience": signed(aud="https://other.example"),
        "no audience": signed(aud=None),
        "issuer": signed(iss="https://evil.example"),
        "expired": signed(exp=now - 10),
        "no expiry": signed(exp=None),
        "not yet": signed(nbf=now + 600),
        "no subject": signed(sub=None),
        "another's key": signed(OTHER),
        "none": jwt.encode(claims(), "", "none", headers={"kid": "1"}),
        "HS256 with the public key": _signed_with_secret(public),
        "rubbish": "a.b.c",
    }
    verifier = JwtVerifier(_issuer(keys))
    assert {name for name, token in refused.items() if await verifier.verify_token(token)} == set()


async def test_unknown_keys_make_it_fetch_once_in_a_while(keys: Keys) -> None:
    verifier = JwtVerifier(_issuer(keys))
    for number in range(20):
        assert await verifier.verify_token(signed(kid=f"unknown {number}")) is None
    assert keys.fetched == 1


def test_keys_over_plain_http_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="https"):
        Issuer(ISSUER, "http://as.example/keys", RESOURCE)


async def test_new_key_of_the_issuer_is_found_and_one_taken_back_is_not_used(keys: Keys) -> None:
    clock = Clock()
    verifier = JwtVerifier(_issuer(keys), clock)
    assert await verifier.verify_token(signed()) is not None

    keys.published = {"2": OTHER}
    clock.now = 31
    assert await verifier.verify_token(signed(OTHER, kid="2")) is not None
    assert await verifier.verify_token(signed()) is None

    keys.published = {"3": OTHER}
    clock.now = 200
    assert await verifier.verify_token(signed(OTHER, kid="2")) is not None
    clock.now = 400  # nobody has named an unknown key, and it is asked for them all the same
    assert await verifier.verify_token(signed(OTHER, kid="2")) is None
    assert keys.fetched == 3


async def test_keys_of_an_issuer_that_is_gone_are_not_trusted_for_ever(keys: Keys) -> None:
    clock = Clock()
    verifier = JwtVerifier(_issuer(keys), clock)
    assert await verifier.verify_token(signed()) is not None
    keys.is_broken = True
    for clock.now, is_trusted in ((1000, True), (3000, True), (4000, False)):
        assert (await verifier.verify_token(signed()) is not None) is is_trusted
    keys.is_broken = False
    clock.now = 4031
    assert await verifier.verify_token(signed()) is not None


async def test_access_token_opens_what_its_scopes_say_of_the_whole_server(
    yard: Yard, keys: Keys
) -> None:
    async with listening_here(yard.root, trusts=_issuer(keys)) as url:
        names = {}
        for scope in ("files:read", "files:write"):
            async with connected(url, signed(scope=scope)) as client:
                names[scope] = await _tool_names(client)
        async with httpx2.AsyncClient(headers=ACCEPT) as http:
            statuses = {}
            for what, token in {
                "audience": signed(aud="https://other.example/mcp"),
                "expired": signed(exp=int(time.time()) - 1),
                "another's key": signed(OTHER),
                "no scope": signed(scope="openid"),
            }.items():
                answer = await http.post(url, json=INITIALIZE, headers=bearer(token))
                statuses[what] = answer.status_code

    assert "write_file" not in names["files:read"]
    assert names["files:read"] < names["files:write"]
    assert statuses == {"audience": 401, "expired": 401, "another's key": 401, "no scope": 403}


async def test_subject_of_one_client_is_not_that_of_another(yard: Yard, keys: Keys) -> None:
    """Two clients of one issuer may both have a user of this name."""
    one, other = signed(client_id="one"), signed(client_id="other")
    async with (
        listening_here(yard.root, trusts=_issuer(keys)) as url,
        httpx2.AsyncClient(headers=ACCEPT) as http,
    ):
        opened = await http.post(url, json=INITIALIZE, headers=bearer(one))
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"]}
        ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
        answers = [
            await http.post(url, json=ping, headers=bearer(token) | session)
            for token in (one, other)
        ]
    assert [answer.status_code for answer in answers] == [200, 404]


async def _tool_names(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}
