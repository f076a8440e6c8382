"""The MCP Inspector's command line: one process a request. It has no method for completions."""

import json
import subprocess
from pathlib import Path
from typing import Any

from tests.clients.contract import CALL, PROMPT, README, Found, Server

ERAS = {"auto": "modern", "legacy": "legacy"}
_RUN_S = 120


def talk(era: str, server: Server, *, node: Path, modules: Path, home: Path) -> Found:
    """Return what it finds; `home` is where it keeps its settings."""

    def asked(method: str, *options: str) -> Any:  # JSON
        program = modules / "@modelcontextprotocol/inspector/clients/launcher/build/index.js"
        headers = [f"{name}: {value}" for name, value in server.headers.items()]
        done = subprocess.run(
            [
                *(str(node), str(program), "--cli", "-q", "--format", "json"),
                *("--protocol-era", ERAS[era], "--method", method, *options),
                *(["--header", *headers] if headers else []),
                *(["--server-url", server.url, "--transport", "http"] if server.url else []),
                *(["--", *server.command] if server.command else []),
            ],
            env={"HOME": str(home), "PATH": "/usr/bin:/bin", **server.env},
            capture_output=True,
            text=True,
            timeout=_RUN_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{method}: exit code {done.returncode}: {done.stderr[-1000:]}")
        return json.loads(done.stdout)["result"]

    tool, arguments = CALL
    prompt, given = PROMPT
    pairs = [f"{name}={value}" for name, value in given.items()]
    return {
        "protocol": str(asked("initialize")["protocolVersion"]),
        "tools": [each["name"] for each in asked("tools/list", "--strict")["tools"]],
        "call": str(
            asked(
                *("tools/call", "--tool-name", tool),
                *("--tool-args-json", json.dumps(arguments)),
            )
        ),
        "prompts": [each["name"] for each in asked("prompts/list")["prompts"]],
        "prompt": str(asked("prompts/get", "--prompt-name", prompt, "--prompt-args", *pairs)),
        "resources": [each["uri"] for each in asked("resources/list")["resources"]],
        "read": str(asked("resources/read", "--uri", README)),
    }
