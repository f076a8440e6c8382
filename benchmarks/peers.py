"""The peers' packages: one exact version of each, in an environment of its own.

They are no dependencies of Workyard, and their own may clash, so each is installed below
`.tools/peers/` on first use.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_TOOLS = Path(__file__).parents[1] / ".tools"
_UV = _TOOLS / "bin" / "uv"

# What their times depend on besides themselves.
_SQLALCHEMY = ("sqlalchemy[asyncio]==2.1.9", "aiosqlite==0.22.1")


class PeerMissingError(Exception):
    """A peer cannot be run here; the message says why in one sentence."""


@dataclass(frozen=True)
class Environment:
    """What is installed together."""

    name: str
    requirements: tuple[str, ...]

    def python(self) -> str:
        """Return the environment's interpreter; installs on first use.

        Raises:
            PeerMissingError: uv is missing, or cannot install it.
        """
        home = _TOOLS / "peers" / self.name
        wanted, done = "\n".join(self.requirements), home / "installed.txt"
        if not done.exists() or done.read_text(encoding="utf-8") != wanted:
            self._install(home)
            done.write_text(wanted, encoding="utf-8")
        return str(home / "bin" / "python")

    def _install(self, home: Path) -> None:
        if not _UV.exists():
            raise PeerMissingError(f"{self.name} needs {_UV.name}, which `make install` brings.")
        (home / "installed.txt").unlink(missing_ok=True)
        python = str(home / "bin" / "python")
        _run(self.name, ["venv", "--clear", "--python", sys.executable, str(home)])
        _run(self.name, ["pip", "install", "--python", python, *self.requirements])


@dataclass(frozen=True)
class Peer:
    """A store of somebody else's."""

    framework: str
    store: str
    environment: Environment
    """The framework's package comes first in it."""
    module: str
    """The module that knows how the framework uses its store."""

    @property
    def name(self) -> str:
        """Return the framework, its version and the store."""
        version = self.environment.requirements[0].partition("==")[2]
        return f"{self.framework} {version}, `{self.store}`"


_AGENTS = Environment("openai-agents", ("openai-agents==0.24.0", *_SQLALCHEMY))

SQLALCHEMY_SESSION = Peer("OpenAI Agents", "SQLAlchemySession", _AGENTS, "agents_sqlalchemy")

PEERS = (
    Peer(
        "Google ADK",
        "DatabaseSessionService",
        Environment("google-adk", ("google-adk==2.13.0", *_SQLALCHEMY)),
        "adk",
    ),
    SQLALCHEMY_SESSION,
    Peer("OpenAI Agents", "AdvancedSQLiteSession", _AGENTS, "agents_sqlite"),
    Peer(
        "LangGraph",
        "AsyncSqliteSaver",
        Environment(
            "langgraph",
            ("langgraph==1.2.22", "langgraph-checkpoint-sqlite==3.1.2", "aiosqlite==0.22.1"),
        ),
        "langgraph",
    ),
    Peer("agno", "AsyncSqliteDb", Environment("agno", ("agno==3.1.10", *_SQLALCHEMY)), "agno"),
    Peer(
        "pydantic-ai-harness",
        "SqliteStepStore",
        Environment(
            "pydantic-ai-harness", ("pydantic-ai-harness==0.62.0", "pydantic-ai-slim==2.62.0")
        ),
        "steps",
    ),
)


def _run(name: str, command: list[str]) -> None:
    kept = {"UV_SYSTEM_CERTS": "1", "UV_CACHE_DIR": str(_TOOLS / "cache")}
    done = subprocess.run(
        [str(_UV), "--quiet", *command],
        env={**kept, **os.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:200] or "no reason given"
        raise PeerMissingError(f"{name} cannot be installed: {reason}")
