"""What pyproject.toml and the README say of the project."""

import re
import tomllib
from pathlib import Path
from typing import Any  # TOML

REPOSITORY = Path(__file__).resolve().parents[1]

SUMMARY = "One directory for AI agents, sandboxed; agents from spec files, every run on record."
"""At most 100 characters: the registry takes no more."""


def project() -> dict[str, Any]:
    """Return the table `project` of pyproject.toml."""
    table: dict[str, Any] = pyproject()["project"]
    return table


def pyproject() -> dict[str, Any]:
    """Return all of pyproject.toml."""
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))


def registry_name() -> str:
    """Return the name in the registry; the README of the package has to show it as well."""
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (name,) = re.findall(r"^<!-- mcp-name: (\S+) -->$", readme, re.MULTILINE)
    return str(name)
