"""TLS, to the server and from it to the issuer: certificates are checked, plain HTTP is none."""

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from tests.listening import FILES_ALONE, bearer, listening
from tests.mcp_server.conftest import Yard
from tests.mcp_server.http.issuer import ISSUER, RESOURCE, publishing, signed

pytestmark = pytest.mark.anyio


def _certified(place: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine, signed by its own key, and that key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = place / "cert.pem", place / "key.pem"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


async def test_server_and_issuer_are_reached_over_tls_alone(yard: Yard, tmp_path: Path) -> None:
    certificate, key = _certified(tmp_path)
    of_issuer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    of_issuer.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    env = {"WORKYARD_STATE_DIR": str(yard.outside / "state"), "SSL_CERT_FILE": str(certificate)}
    with publishing(of_issuer) as keys:
        flags = ("--issuer", ISSUER, "--jwks-url", keys.url, "--resource", RESOURCE)
        tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
        with listening(FILES_ALONE, yard.root, *flags, *tls, env={**os.environ, **env}) as (url, _):
            async with (
                httpx2.AsyncClient(headers=bearer(signed()), verify=trusting) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                read = await client.call_tool("read_file", {"path": "src/app.py"})
            with pytest.raises(httpx2.TransportError):
                await httpx2.AsyncClient().post(url.replace("https:", "http:"))
            with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                await httpx2.AsyncClient().post(url)

    assert "def main" in str(read.content)
    assert keys.fetched == 1
