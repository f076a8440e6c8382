"""Point a subprocess at a served `Wire` by environment variables alone.

`tests.wire` has the table.
"""

import json
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.wire.gemini import TOKEN_PATH
from tests.wire.models import KEY

DIRECT = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
"""Keeps a developer's HTTP proxy out."""


def environment(provider: str, base_url: str, *, key: str = KEY) -> dict[str, str]:
    """Return the variables that make `Agent(f"{provider}:any-model")` talk to `base_url`.

    They hold no PATH or HOME; add what the subprocess needs besides.
    """
    match provider:
        case "openai" | "openai-chat" | "openai-responses":
            return {"OPENAI_BASE_URL": f"{base_url}/v1", "OPENAI_API_KEY": key, **DIRECT}
        case "ollama":
            return {"OLLAMA_BASE_URL": f"{base_url}/v1", "OLLAMA_API_KEY": key, **DIRECT}
        case "anthropic":
            return {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": key, **DIRECT}
        case "google":
            return {"GOOGLE_GEMINI_BASE_URL": base_url, "GOOGLE_API_KEY": key, **DIRECT}
        case "google-cloud":
            return {"GOOGLE_VERTEX_BASE_URL": base_url, "GOOGLE_API_KEY": key, **DIRECT}
        case "gateway":
            return {
                "PYDANTIC_AI_GATEWAY_BASE_URL": f"{base_url}/gateway",
                "PYDANTIC_AI_GATEWAY_API_KEY": key,
                **DIRECT,
            }
    raise ValueError(f"No way is known to point provider {provider!r} elsewhere by environment.")


def service_account_environment(directory: Path, base_url: str) -> dict[str, str]:
    """Return the variables for `google-cloud:` with a service account.

    Its file goes to `directory`; its token comes from the served `Wire` as well.
    """
    private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "type": "service_account",
        "project_id": "pretend-project",
        "private_key_id": "pretend",
        "private_key": pem.decode(),
        "client_email": "pretend@pretend-project.iam.gserviceaccount.com",
        "token_uri": f"{base_url}{TOKEN_PATH}",
    }
    path = directory / "service-account.json"
    path.write_text(json.dumps(account), encoding="utf-8")
    return {
        "GOOGLE_VERTEX_BASE_URL": base_url,
        "GOOGLE_APPLICATION_CREDENTIALS": str(path),
        "GOOGLE_CLOUD_PROJECT": "pretend-project",
        "GOOGLE_CLOUD_LOCATION": "europe-west1",
        **DIRECT,
    }
