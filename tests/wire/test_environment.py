"""A subprocess is led to the local server by environment variables alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.wire.conftest import Served
from tests.wire.environment import environment, service_account_environment
from tests.wire.gemini import ACCESS_TOKEN
from tests.wire.script import Say, always

PROGRAM = """
import json, os, sys
from pydantic_ai import Agent
from tests.wire.loopback_only import loopback_only

own = dict(os.environ)
with loopback_only():
    for model, variables in json.loads(sys.argv[1]):
        os.environ.clear()
        os.environ.update({**own, **variables})
        print(Agent(model).run_sync("hello").output)
"""

PATHS = {
    "openai:gpt-5": "/v1/responses",
    "openai-chat:gpt-4o": "/v1/chat/completions",
    "ollama:qwen3": "/v1/chat/completions",
    "anthropic:claude-sonnet-4-6": "/v1/messages",
    "google:gemini-2.5-flash": "/v1beta/models/gemini-2.5-flash:generateContent",
    "google-cloud:gemini-2.5-flash": (
        "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent"
    ),
}


def ask(*asked: tuple[str, dict[str, str]]) -> str:
    """Ask models in a fresh process that knows PATH and, for each in turn, its variables only."""
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(asked)],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert told.returncode == 0, told.stderr
    return told.stdout


def test_variables_lead_a_subprocess_here(served: Served) -> None:
    wire = served.play(always(Say("hello yourself")))
    asked = {model: model.partition(":") for model in PATHS}

    answers = ask(
        *(
            (model, environment(provider, served.base_url, key="my-key"))
            for model, (provider, _, _) in asked.items()
        )
    )

    assert answers == "hello yourself\n" * len(PATHS)
    assert [(request.path, request.model, request.key) for request in wire.requests] == [
        (PATHS[model], name, "my-key") for model, (_, _, name) in asked.items()
    ]


def test_service_account_gets_its_token_here(served: Served, tmp_path: Path) -> None:
    """Google's own way without an API key: no metadata server, no oauth2.googleapis.com."""
    wire = served.play(always(Say("hello yourself")))

    variables = service_account_environment(tmp_path, served.base_url)
    answer = ask(("google-cloud:gemini-2.5-flash", variables))

    assert answer == "hello yourself\n"
    (request,) = wire.requests
    assert request.path == (
        "/v1beta1/projects/pretend-project/locations/europe-west1"
        "/publishers/google/models/gemini-2.5-flash:generateContent"
    )
    assert request.key == ACCESS_TOKEN


def test_unknown_provider_is_named() -> None:
    with pytest.raises(ValueError, match="'telepathy'"):
        environment("telepathy", "http://127.0.0.1:1")
